//! Merge functions made from the catalog: the SQL text of each, as a routine file of its domain.
//!
//! The texts stand in `sql/generated` as well, for people to read and for reviews to show; a test
//! compares them with what is made here, `ACEQUIA_REWRITE=1` writes them.

mod ctes;
mod lines;
mod names;
mod writes;

use acequia_contracts::{Change, Domain, Entity, MergeKind};

use names::Names;

/// The SQL that creates the merge function of an entity of this domain; none when that is written by hand.
#[must_use]
pub fn merge_sql(domain: &Domain, entity: &Entity) -> Option<String> {
    if entity.merge_spec.kind == MergeKind::Custom {
        return None;
    }
    let names = Names::of(domain, entity);
    let mut text = header(&names);
    let ctes = ctes::all(&names);
    let mut statement = String::from("with ");
    // Comments stand before the name, so the first one goes in front of `with`.
    let (first, rest) = ctes.split_first()?;
    let (comment, cte) = first.split_at(first.find("candidate as").unwrap_or(0));
    let comment = comment.to_owned();
    statement.push_str(cte);
    for cte in rest {
        statement.push_str(",\n");
        statement.push_str(cte);
    }
    statement.push('\n');
    if names.hook.is_empty() {
        text.push_str("-- plpgsql keeps the plan for the session; planning anew would cost more than a small merge.\n");
        text.push_str("return query\n");
        text.push_str(&comment);
        text.push_str(&statement);
        text.push_str(&format!("select {}\n", counts(&names)));
        text.push_str("from verdict n\ngroup by n.batch_id;\n");
    } else {
        text.push_str(&comment);
        text.push_str(&statement);
        text.push_str(&call(&names));
    }
    text.push_str(&format!(
        "end\n$$;\ncomment on function {}(bigint[]) is 'Merges staged {}, {}; one row of counts per batch';\n",
        entity.merge,
        names.entity,
        match entity.merge_spec.kind {
            MergeKind::Append => "a row for each",
            MergeKind::Upsert | MergeKind::Custom => "newer wins",
        }
    ));
    Some(text)
}

/// File of the text in `sql`, and its name in `core.routines`.
pub(super) fn path(entity: &Entity) -> String {
    let function = entity.merge.split('.').next_back().unwrap_or(entity.merge);
    format!("generated/{}/{function}.sql", entity.domain)
}

/// Everything before the statement: the function's head, the days of its batches, rows that waited.
fn header(names: &Names) -> String {
    let entity = names.contract;
    let what = match entity.merge_spec.kind {
        MergeKind::Append => "a row for each message",
        MergeKind::Upsert | MergeKind::Custom => "the newest version of each key wins",
    };
    let mut text = format!(
        "-- Merges staged messages {name} into {core}: {what}.\n\
         -- Made from the catalog: change the declaration of the message, or how merges are made, not this text.\n\n\
         create or replace function {merge}(p_batches bigint[]) returns setof core.merge_outcome\n\
         language plpgsql security definer set search_path = pg_catalog, pg_temp as $$\n\
         declare\n    v_first date;\n    v_last date;\n",
        name = names.entity,
        core = entity.core,
        merge = entity.merge,
    );
    if names.waits() {
        text.push_str(&format!("    v_waited {}[];\n", entity.staging));
    }
    if !names.hook.is_empty() {
        text.push_str("    v_outcomes core.merge_outcome[];\n");
        text.push_str(&format!(
            "    v_before {core}[];\n    v_after {core}[];\n",
            core = entity.core
        ));
    }
    text.push_str(
        "begin\n\
         -- The days of the rows: the other partitions of staging are not even opened. Of `between` PostgreSQL expects\n\
         -- next to no rows where it has no statistics, and would look up the parents row by row.\n\
         select coalesce(min(coalesce(b.first_day, '-infinity')), '-infinity'), coalesce(max(coalesce(b.last_day, 'infinity')), 'infinity')\n\
         into v_first, v_last\n\
         from core.batches b where b.batch_id = any (p_batches);\n",
    );
    if names.waits() {
        text.push_str(&format!(
            "-- Rows that waited and may go on now, a bounded number at a time. Mostly there are none, and then no partition\n\
             -- is opened to find them.\n\
             if exists (select from core.pending p where p.entity = '{name}' and p.ready) then\n    \
                 v_waited := array(\n        \
                     select s from core.pending p\n        \
                     join {staging} s on s.message_id = p.message_id and s.day = p.day\n        \
                     where p.entity = '{name}' and p.ready limit {READY_ROWS});\n\
             end if;\n",
            name = names.entity,
            staging = entity.staging,
        ));
    }
    text
}

/// Maximum number of waiting rows that a merge takes at once; the next promotion takes more.
const READY_ROWS: u32 = 50_000;

/// The columns of `core.merge_outcome`, counted over the rows of a batch.
fn counts(names: &Names) -> String {
    let outcome = |outcome: &str| format!("(count(*) filter (where n.outcome = '{outcome}'))::int");
    let staged = if names.waits() {
        "(count(*) filter (where not n.waited))::int"
    } else {
        "count(*)::int"
    };
    let pending = if names.waits() {
        "(count(*) filter (where n.outcome = 'pending' and not n.waited)\n           \
             - count(*) filter (where n.waited and n.outcome <> 'pending'))::int"
    } else {
        "0"
    };
    let columns = [
        "n.batch_id".to_owned(),
        staged.to_owned(),
        outcome("inserted"),
        outcome("updated"),
        outcome("unchanged"),
        outcome("stale"),
        pending.to_owned(),
        if names.deletes() {
            outcome("deleted")
        } else {
            "0".to_owned()
        },
    ];
    columns.join(",\n       ")
}

/// The end of a merge with a hook: it stores its counts, calls the hook, and returns the counts.
fn call(names: &Names) -> String {
    let hears = |change| names.hears(change);
    let mut sources = Vec::new();
    if hears(Change::Inserted) || hears(Change::Deleted) {
        let which = match (hears(Change::Inserted), hears(Change::Deleted)) {
            _ if !names.deletes() => "",
            (true, false) => " where (w.after).deleted_at is null",
            (false, true) => " where (w.after).deleted_at is not null",
            _ => "",
        };
        sources.push(format!(
            "select null::{} as before, w.after from written w{which}",
            names.contract.core
        ));
    }
    let changes = [
        (Change::Updated, "'updated'"),
        (Change::Deleted, "'deleted'"),
    ];
    let changes = changes.iter().filter(|(change, _)| hears(*change));
    let changes: Vec<_> = changes.map(|(_, outcome)| *outcome).collect();
    if !changes.is_empty() {
        let which = match changes.as_slice() {
            [one] => format!("= {one}"),
            _ => format!("in ({})", changes.join(", ")),
        };
        sources.push(format!(
            "select c.before, c.after from changed c where c.outcome {which}"
        ));
    }
    format!(
        "select (select array_agg(c.outcome) from counted c), array_agg(h.before), array_agg(h.after)\n\
         into v_outcomes, v_before, v_after\n\
         from (\n    {sources}\n) h;\n\
         if v_after is not null then\n    \
             perform {hook}(v_before, v_after);\n\
         end if;\n\
         return query select o.* from unnest(v_outcomes) o;\n",
        sources = sources.join("\n    union all\n    "),
        hook = names.hook_name(),
    )
}
