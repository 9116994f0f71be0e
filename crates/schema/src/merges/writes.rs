//! The steps of a merge that write.

use acequia_contracts::Change;

use super::ctes::key_text;
use super::lines::{list, wrap, wrap_from};
use super::names::{Names, Reference};

/// The version of inferred rows, which are known by a reference only: older than any message.
const INFERRED: &str =
    "timestamptz '0001-01-01 00:00:00+00', uuid '00000000-0000-0000-0000-000000000000'";

/// When the key was deleted, or null.
const DELETED_AT: &str = "case when n.deleted then n.event_at end";

/// Columns that a merge writes, and where they come from.
fn columns(names: &Names) -> (Vec<String>, Vec<String>) {
    let version = ["event_at", "message_id", "batch_id"];
    let key = names.key.iter().map(|key| (key.column, key.field));
    let values = names.values.iter().map(|value| (value.name, value.name));
    let mut columns: (Vec<_>, Vec<_>) = key
        .chain(values)
        .chain(version.map(|name| (name, name)))
        .map(|(column, field)| (column.to_owned(), format!("n.{field}")))
        .unzip();
    if names.deletes() {
        columns.0.push("deleted_at".to_owned());
        columns.1.push(DELETED_AT.to_owned());
    }
    columns
}

pub fn written(names: &Names) -> String {
    let core = names.contract.core;
    let (columns, fields) = columns(names);
    let hears = names.hears(Change::Inserted) || names.hears(Change::Deleted);
    let (alias, returning) = if hears {
        (" as t", "\n    returning t as after")
    } else {
        ("", "")
    };
    format!(
        "written as (\n    insert into {core}{alias} ({})\n    select {}\n    from verdict n\n    where {}{returning}\n)",
        wrap_from(&columns, 18 + core.len() + alias.len(), 8),
        wrap(&fields, 11),
        is_new(names)
    )
}

/// The rows that the domain table did not have.
const fn is_new(names: &Names) -> &'static str {
    if names.deletes() {
        "n.fresh and n.outcome in ('inserted', 'deleted')"
    } else {
        "n.outcome = 'inserted'"
    }
}

pub fn changed(names: &Names) -> String {
    let values = names.values.iter();
    let mut sets: Vec<_> = values
        .map(|value| format!("{name} = n.{name}", name = value.name))
        .collect();
    let gone = if names.deletes() {
        format!(", deleted_at = {DELETED_AT}")
    } else {
        String::new()
    };
    let version =
        format!("event_at = n.event_at, message_id = n.message_id, batch_id = n.batch_id{gone}");
    if let Some(last) = sets.last_mut() {
        last.push(',');
    }
    // The last value has its own comma: the version begins a line.
    let values = wrap(&sets, 8);
    let sets = if sets.is_empty() {
        version
    } else {
        format!("{values}\n        {version}")
    };
    let returning = if names.hears(Change::Updated) || names.hears(Change::Deleted) {
        "\n    returning n.outcome, n.before, c as after"
    } else {
        ""
    };
    format!(
        "-- An unchanged row still brings its version: an older one that comes later must stay out.\n\
         changed as (\n    update {} c\n    set {sets}\n    from verdict n\n    \
         where {} and {}{returning}\n)",
        names.contract.core,
        if names.deletes() {
            "not n.fresh and n.outcome in ('updated', 'unchanged', 'deleted')"
        } else {
            "n.outcome in ('updated', 'unchanged')"
        },
        names.join("c")
    )
}

pub fn released(names: &Names) -> String {
    let key: Vec<_> = names
        .key
        .iter()
        .map(|key| format!("n.{}", key.field))
        .collect();
    format!(
        "-- Rows that waited for one of these may go on.\n\
         released as (\n    update core.pending p set ready = true\n    from verdict n\n    \
         where {} and p.parent = '{}' and p.parent_key = {} and not p.ready\n)",
        is_new(names),
        names.entity,
        key_text(&key)
    )
}

pub fn inferred(number: usize, reference: &Reference) -> String {
    let columns = list(reference.columns.iter().map(|(_, key)| *key));
    let fields = list(
        reference
            .columns
            .iter()
            .map(|(field, _)| format!("n.{field}")),
    );
    let given: String = reference
        .optional
        .iter()
        .map(|field| format!(" and n.{field} is not null"))
        .collect();
    let same: Vec<_> = reference
        .columns
        .iter()
        .map(|(field, key)| format!("p.{key} = n.{field}"))
        .collect();
    let core = reference.parent.core;
    format!(
        "-- A parent of which nothing but its key is known, for each version that names it: also a stale one, or the\n\
         -- result would depend on the order.\n\
         inferred_{number} as (\n    insert into {core} ({columns}, event_at, message_id, batch_id)\n    \
         select {fields}, {INFERRED}, min(n.batch_id)\n    from verdict n\n    \
         where n.outcome <> 'pending'{given}\n      and not exists (select from {core} p where {})\n    \
         group by {fields}\n    on conflict do nothing\n    returning {columns}\n)",
        same.join(" and ")
    )
}

pub fn released_by_inference(number: usize, reference: &Reference) -> String {
    let key: Vec<_> = reference
        .columns
        .iter()
        .map(|(_, key)| format!("i.{key}"))
        .collect();
    format!(
        "released_{number} as (\n    update core.pending p set ready = true\n    from inferred_{number} i\n    \
         where p.parent = '{}' and p.parent_key = {} and not p.ready\n)",
        reference.name,
        key_text(&key)
    )
}

pub fn deferred(names: &Names) -> String {
    format!(
        "deferred as (\n    insert into core.pending as p (entity, message_id, day, batch_id, parent, parent_key)\n    \
         select '{}', n.message_id, n.day, n.batch_id, n.missing, n.missing_key\n    from verdict n\n    \
         where n.outcome = 'pending'\n    on conflict (entity, message_id, day) do update\n    \
         set parent = excluded.parent, parent_key = excluded.parent_key, ready = false\n)",
        names.entity
    )
}

pub fn settled(names: &Names) -> String {
    format!(
        "settled as (\n    delete from core.pending p\n    using verdict n\n    \
         where v_waited is not null and n.waited and n.outcome <> 'pending'\n      \
         and p.entity = '{}' and p.message_id = n.message_id and p.day = n.day\n)",
        names.entity
    )
}

pub fn counted(names: &Names) -> String {
    let columns = super::counts(names).replace("\n       ", "\n        ");
    format!(
        "counted as (\n    select row({columns})::core.merge_outcome as outcome\n    from verdict n\n    group by n.batch_id\n)"
    )
}
