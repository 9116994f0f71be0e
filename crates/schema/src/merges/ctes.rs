//! The common table expressions of a merge, which is a single statement; those that write are in `writes`.

use super::lines::{list, wrap, wrap_from};
use super::names::{Names, Reference};
use super::writes::{
    changed, counted, deferred, inferred, released, released_by_inference, settled, written,
};

/// The common table expressions in their order, each with its comment.
pub fn all(names: &Names) -> Vec<String> {
    let mut ctes = if names.waits() {
        vec![candidates_and_waiting(names), linked(names)]
    } else {
        vec![candidates(names)]
    };
    if names.waits() && !names.appends() {
        ctes.push(ranked(names));
    }
    ctes.push(verdict(names));
    ctes.push(written(names));
    if !names.appends() {
        ctes.push(changed(names));
    }
    if names.awaited {
        ctes.push(released(names));
    }
    for (number, reference) in std::iter::zip(1.., &names.infers) {
        ctes.push(inferred(number, reference));
        if reference.awaited {
            ctes.push(released_by_inference(number, reference));
        }
    }
    if names.waits() {
        ctes.push(deferred(names));
        ctes.push(settled(names));
    }
    if !names.hook.is_empty() {
        ctes.push(counted(names));
    }
    ctes
}

/// The fields of a staged row, with their defaults.
fn fields(names: &Names) -> impl Iterator<Item = String> {
    let key = names.key.iter().map(|key| format!("s.{}", key.field));
    let values = names.values.iter().map(|value| match &value.default {
        // A deleted key has no values.
        Some(default) if names.deletes() => format!(
            "case when not s.deleted then coalesce(s.{name}, {default}) end as {name}",
            name = value.name
        ),
        Some(default) => format!("coalesce(s.{name}, {default}) as {name}", name = value.name),
        None => format!("s.{}", value.name),
    });
    key.chain(values)
        .chain(names.deletes().then(|| "s.deleted".to_owned()))
}

/// `row_number() over (...) as age`, the newest first.
fn age(names: &Names, table: &str, also: &str) -> String {
    let key = list(names.key.iter().map(|key| format!("{table}.{}", key.field)));
    format!(
        "row_number() over (partition by {key}{also} order by {table}.event_at desc, {table}.message_id desc) as age"
    )
}

fn candidates(names: &Names) -> String {
    let envelope = ["s.message_id", "s.batch_id", "s.event_at"].map(ToOwned::to_owned);
    let mut columns: Vec<_> = envelope.into_iter().chain(fields(names)).collect();
    let comment = if names.appends() {
        "-- The staged messages."
    } else {
        columns.push(age(names, "s", ""));
        "-- The staged versions, the newest of each key first."
    };
    format!(
        "{comment}\ncandidate as (\n    select {}\n    from {} s\n    \
         where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)\n)",
        wrap(&columns, 11),
        names.contract.staging
    )
}

fn candidates_and_waiting(names: &Names) -> String {
    let columns = |waited: &str| {
        let envelope = ["s.message_id", "s.day", "s.batch_id", "s.event_at"];
        let envelope = envelope.map(ToOwned::to_owned).into_iter();
        let columns: Vec<_> = envelope
            .chain(fields(names))
            .chain([waited.to_owned()])
            .collect();
        wrap(&columns, 11)
    };
    format!(
        "-- The staged rows, and those that waited for a parent that has come.\n\
         candidate as (\n    select {}\n    from {} s\n    \
         where s.batch_id = any (p_batches) and s.day >= v_first and (s.day < v_last or s.day = v_last)\n    \
         union all\n    select {}\n    from unnest(v_waited) s\n)",
        columns("false as waited"),
        names.contract.staging,
        columns("true"),
    )
}

/// `n.id_x is not null and p1.id is null`: the parent is missing.
fn is_missing(number: usize, reference: &Reference) -> String {
    let given = reference.optional.iter();
    let mut given: Vec<_> = given
        .map(|field| format!("n.{field} is not null"))
        .collect();
    given.extend(
        reference
            .columns
            .first()
            .map(|(_, key)| format!("p{number}.{key} is null")),
    );
    given.join(" and ")
}

/// The key as text: how `core.pending` identifies a parent.
pub fn key_text(fields: &[String]) -> String {
    match fields {
        [field] => format!("{field}::text"),
        fields => format!("({})::text", fields.join(", ")),
    }
}

fn linked(names: &Names) -> String {
    let cases = |what: &dyn Fn(&Reference) -> String| {
        let cases = std::iter::zip(1.., &names.waits_for);
        let cases: Vec<_> = cases
            .map(|(number, reference)| {
                format!(
                    "when {} then {}",
                    is_missing(number, reference),
                    what(reference)
                )
            })
            .collect();
        cases.join("\n                ")
    };
    let joins: String = std::iter::zip(1.., &names.waits_for)
        .map(|(number, reference)| {
            let columns = reference.columns.iter();
            let columns: Vec<_> = columns
                .map(|(field, key)| format!("p{number}.{key} = n.{field}"))
                .collect();
            format!(
                "    left join {} p{number} on {}\n",
                reference.parent.core,
                columns.join(" and ")
            )
        })
        .collect();
    let comment = if names.appends() {
        "-- Which parent is missing, if any."
    } else {
        "-- Which parent is missing, if any; then the newest version of each key among the complete rows."
    };
    let missing = cases(&|reference| format!("'{}'", reference.name));
    let missing_key = cases(&|reference| {
        let columns = reference.columns.iter();
        key_text(
            &columns
                .map(|(field, _)| format!("n.{field}"))
                .collect::<Vec<_>>(),
        )
    });
    format!(
        "{comment}\nlinked as (\n    select n.*,\n           case {missing} end as missing,\n           \
         case {missing_key} end as missing_key\n    from candidate n\n{joins})"
    )
}

fn ranked(names: &Names) -> String {
    format!(
        "ranked as (\n    select l.*,\n           {}\n    from linked l\n)",
        age(names, "l", ", l.missing is null")
    )
}

fn verdict(names: &Names) -> String {
    let entity = names.contract;
    let mut cases = Vec::new();
    if names.waits() {
        cases.push("when n.missing is not null then 'pending'".to_owned());
    }
    if names.appends() {
        cases.push("when c.message_id is null then 'inserted'".to_owned());
        cases.push("else 'unchanged' end as outcome".to_owned());
    } else {
        cases.push("when n.age > 1 then 'stale'".to_owned());
        if let Some(key) = names.key.first() {
            // A key that goes before it came is kept too: an older version that comes later must stay out.
            let outcome = if names.deletes() {
                "case when n.deleted then 'deleted' else 'inserted' end"
            } else {
                "'inserted'"
            };
            cases.push(format!("when c.{} is null then {outcome}", key.column));
        }
        cases.push(
            "when (n.event_at, n.message_id) <= (c.event_at, c.message_id) then 'stale'".to_owned(),
        );
        cases.push(unchanged(names));
        if names.deletes() {
            cases.push("when n.deleted then 'deleted'".to_owned());
        }
        cases.push("else 'updated' end as outcome".to_owned());
    }
    let source = match (names.waits(), names.appends()) {
        (true, true) => "linked",
        (true, false) => "ranked",
        (false, _) => "candidate",
    };
    let (before, whole) = match (names.hook.is_empty(), entity.merge_spec.partitioned) {
        (true, _) => ("", ""),
        (false, false) => (" c as before,", ""),
        (false, true) => (" c.before,", ", t as before"),
    };
    let fresh = match names.key.first() {
        Some(key) if names.deletes() => format!(" c.{} is null as fresh,", key.column),
        _ => String::new(),
    };
    let lookup = if entity.merge_spec.partitioned {
        format!(
            "    -- Looked up row by row: the planner takes one look into many partitions for many, and would rather\n    \
             -- read the whole table, which grows.\n    \
             left join lateral (\n        select t.*{whole} from {} t where {} offset 0\n    ) c on true\n",
            entity.core,
            names.join("t")
        )
    } else {
        format!("    left join {} c on {}\n", entity.core, names.join("c"))
    };
    format!(
        "-- What becomes of each row, seen against the domain table.\n\
         verdict as materialized (\n    select n.*,{before}{fresh}\n           case {}\n    from {source} n\n{lookup})",
        cases.join("\n                ")
    )
}

/// The case of a row whose values equal the current ones.
fn unchanged(names: &Names) -> String {
    let values = |table: &str, gone: &str| {
        let gone = names.deletes().then(|| gone.to_owned());
        let values = names.values.iter();
        let values = values.map(|value| format!("{table}.{}", value.name));
        let values: Vec<_> = gone.into_iter().chain(values).collect();
        match values.as_slice() {
            [one] => one.clone(),
            _ => format!("({})", wrap_from(&values, 48, 22)),
        }
    };
    // Only a key: every later message says the same.
    if names.values.is_empty() && !names.deletes() {
        return "when true then 'unchanged'".to_owned();
    }
    format!(
        "when {}\n                    is not distinct from {} then 'unchanged'",
        values("n", "n.deleted"),
        values("c", "c.deleted_at is not null")
    )
}
