//! Traces as text: a headline, then the events in their order.

use std::fmt::Write as _;

use acequia_ops::trace::staged::{Batch, Outcome, Staged, seconds};
use acequia_ops::trace::{CoreRow, KeyTrace, Mart, Merged, MessageTrace, Quarantined};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::output::one_line as printable;

/// Events with their times, aligned.
#[derive(Default)]
struct Timeline(Vec<(Option<DateTime<Utc>>, &'static str, String)>);

impl Timeline {
    fn add(&mut self, at: Option<DateTime<Utc>>, what: &'static str, text: impl Into<String>) {
        self.0.push((at, what, text.into()));
    }

    fn write(&self, to: &mut String) {
        let width = self
            .0
            .iter()
            .map(|(_, what, _)| what.len())
            .max()
            .unwrap_or(0);
        for (at, what, text) in &self.0 {
            let at = at.map(time).unwrap_or_default();
            let line = format!("  {at:<24}  {what:<width$}  {}", printable(text));
            let _ = writeln!(to, "{}", line.trim_end());
        }
    }
}

/// The trace of a message.
pub fn message(trace: &MessageTrace) -> String {
    let mut text = format!("message {}\n", trace.message_id);
    if trace.asked.trim() != trace.message_id.to_string() {
        let _ = writeln!(text, "  made of {}", printable(&trace.asked));
    }
    for row in &trace.rows {
        let Merged {
            staged,
            core,
            archived,
        } = row;
        let _ = writeln!(
            text,
            "\n{} {}: {}",
            staged.entity,
            printable(&key_of(&staged.key)),
            fate(staged, core.as_ref())
        );
        let mut line = Timeline::default();
        if let Some(at) = staged.published_at {
            line.add(Some(at), "published", "");
        }
        received(&mut line, &staged.batch, staged.lag_s);
        line.add(
            None,
            "staged",
            format!("{}, event time {}", staged.table, time(staged.event_at)),
        );
        promoted(&mut line, staged);
        if let Some(core) = core {
            let own = matches!(staged.outcome, Outcome::Current | Outcome::Deleted);
            in_core(&mut line, core, own);
        }
        if let Some(away) = archived {
            let text = format!("{} is {}, see {}", away.partition, away.state, away.object);
            line.add(None, "core", text);
        }
        line.write(&mut text);
        if let Some(values) = &staged.values {
            let _ = writeln!(text, "  values  {}", printable(values.get()));
        }
    }
    for row in trace.quarantine.iter().chain(&trace.more_quarantine) {
        quarantined(&mut text, row);
    }
    text
}

/// The trace of a key.
pub fn key(trace: &KeyTrace) -> String {
    let key = Value::Object(trace.key.clone());
    let mut text = format!("{} {}\n", trace.entity, printable(&key_of(&key)));
    let mut line = Timeline::default();
    match &trace.core {
        Some(core) => in_core(&mut line, core, true),
        None => line.add(
            None,
            "core",
            trace.archived.as_ref().map_or_else(
                || "has no such row".to_owned(),
                |away| format!("{} is {}, see {}", away.partition, away.state, away.object),
            ),
        ),
    }
    line.write(&mut text);
    if let Some(values) = trace.core.as_ref().and_then(|core| core.values.as_ref()) {
        let _ = writeln!(text, "  values  {}", printable(values.get()));
    }
    let _ = writeln!(
        text,
        "\nversions in staging, by event time: {}",
        trace.versions.len()
    );
    for staged in &trace.versions {
        let _ = writeln!(
            text,
            "  {:<24}  {}  {}",
            time(staged.event_at),
            staged.message_id,
            fate(staged, None)
        );
        if let Some(values) = &staged.values {
            let _ = writeln!(text, "{:28}{}", "", printable(values.get()));
        }
    }
    if !trace.waiting.is_empty() {
        let _ = writeln!(text, "\nrows that wait for it: {}", trace.waiting.len());
        for row in &trace.waiting {
            let _ = writeln!(
                text,
                "  {:<24}  {}  {}",
                time(row.since),
                row.message_id,
                row.entity
            );
        }
    }
    text
}

/// The fate of a row, in words.
fn fate(staged: &Staged, core: Option<&CoreRow>) -> String {
    match (staged.outcome, &staged.pending) {
        (Outcome::Staged, _) => "waits for promotion".to_owned(),
        (Outcome::Pending, Some(waits)) if waits.ready => {
            format!(
                "{} {} has come; the next promotion takes it",
                waits.parent,
                printable(&waits.parent_key)
            )
        }
        (Outcome::Pending, Some(waits)) => {
            format!(
                "waits for {} {}",
                waits.parent,
                printable(&waits.parent_key)
            )
        }
        (Outcome::Current, _) => "in the core, the current version".to_owned(),
        (Outcome::Deleted, _) => "said that its key is gone, which holds".to_owned(),
        (Outcome::Superseded, _) => match core {
            Some(core) => format!("superseded by message {}", core.message_id),
            None => "superseded by a newer version".to_owned(),
        },
        (Outcome::Archived, _) => {
            "was merged; its range is archived: worker restore brings it back".to_owned()
        }
        (Outcome::Purged, _) => "was merged; its range was archived and purged".to_owned(),
        (Outcome::Replayed, _) => "replayed from quarantine, not seen again yet".to_owned(),
        (Outcome::Discarded, _) => "in quarantine, discarded".to_owned(),
        (Outcome::Resolved, _) => "refused, then accepted under the same id".to_owned(),
        (Outcome::Quarantined, _) => "in quarantine".to_owned(),
        _ => "was merged, but the core has neither it nor a newer version: deleted by hand?"
            .to_owned(),
    }
}

fn received(line: &mut Timeline, batch: &Batch, lag_s: Option<f64>) {
    let Some(queue) = &batch.queue else {
        let text = format!("batch {}, whose ledger rows were settled", batch.batch_id);
        return line.add(None, "received", text);
    };
    let worker = batch.worker.as_deref().unwrap_or("?");
    let lag = lag_s
        .map(|lag| format!(", {} after publishing", span(lag)))
        .unwrap_or_default();
    let text = format!("from {queue} by {worker}, batch {}{lag}", batch.batch_id);
    line.add(batch.received_at, "received", text);
}

fn promoted(line: &mut Timeline, staged: &Staged) {
    let batch = &staged.batch;
    if let Some(waits) = &staged.pending {
        let has = if waits.ready {
            "has come"
        } else {
            "is missing"
        };
        let text = format!("{} {}, which {has}", waits.parent, waits.parent_key);
        return line.add(Some(waits.since), "waits for", text);
    }
    // The others of its batch were promoted without a row that is in quarantine.
    let merged = matches!(
        staged.outcome,
        Outcome::Current
            | Outcome::Deleted
            | Outcome::Superseded
            | Outcome::NotInCore
            | Outcome::Archived
            | Outcome::Purged
    );
    if let Some(at) = batch.promoted_at
        && merged
    {
        let after = batch.received_at.map(|received| seconds(received, at));
        let after = after.map(|after| format!(", {} after", span(after)));
        let text = format!("batch {}{}", batch.batch_id, after.unwrap_or_default());
        line.add(Some(at), "promoted", text);
    }
}

/// The core's row. `own` when it is the traced version itself.
fn in_core(line: &mut Timeline, core: &CoreRow, own: bool) {
    let newer = if own { "" } else { "the newer " };
    let gone = core.deleted_at.map_or("", |_| ", which deletes it");
    let text = format!(
        "{} {} shows {newer}message {}{gone}, event time {}",
        core.table,
        key_of(&core.key),
        core.message_id,
        time(core.event_at)
    );
    line.add(core.in_core_by, "core", text);
    for Mart {
        mart,
        kind,
        refreshed_at,
        shows_it,
        has_row,
    } in &core.marts
    {
        let (since, reads) = match kind.as_str() {
            "view" => (None, "reads it live"),
            _ => (*refreshed_at, "was refreshed since"),
        };
        let text = match (shows_it, has_row) {
            (true, Some(_)) => format!("{mart} {reads}, shows its row"),
            (true, None) => format!("{mart} {reads}, counts it"),
            (false, Some(false)) => format!("{mart} has no row of it"),
            (false, _) => format!("{mart} not refreshed since"),
        };
        line.add(since, "mart", text);
    }
}

fn quarantined(text: &mut String, row: &Quarantined) {
    let _ = writeln!(
        text,
        "\n{}: in quarantine, row {}, {}",
        row.entity, row.quarantine_id, row.status
    );
    let mut line = Timeline::default();
    let from = format!(
        "from {} by {}, batch {}",
        row.queue,
        row.worker.as_deref().unwrap_or("?"),
        row.batch_id
    );
    line.add(Some(row.received_at), "received", from);
    let code = match &row.sqlstate {
        Some(sqlstate) => format!("{} {}, SQLSTATE {sqlstate}", row.stage, row.code),
        None => format!("{} {}", row.stage, row.code),
    };
    line.add(None, "refused", code);
    let part = |violation: &Value, name: &str| violation[name].as_str().unwrap_or("").to_owned();
    for violation in row.violations.as_array().into_iter().flatten() {
        let path = part(violation, "path");
        let path = if path.is_empty() { "body" } else { &path };
        let message = part(violation, "message");
        line.add(
            None,
            "",
            format!("{path}: {message} ({})", part(violation, "code")),
        );
    }
    if row.occurrences > 1 {
        let times = format!("{} times in all", row.occurrences);
        line.add(Some(row.last_seen_at), "last seen", times);
    }
    if let Some(batch) = row.accepted_batch_id
        && row.status == "resolved"
    {
        let note = row.note.as_deref().unwrap_or("");
        line.add(
            row.resolved_at,
            "resolved",
            format!("by batch {batch}: {note}"),
        );
    }
    for version in &row.versions {
        let note = version.note.as_deref().unwrap_or("");
        let by = format!("body {} by {}: {note}", version.version, version.by);
        line.add(Some(version.at), "edited", by);
    }
    for entry in row.history.iter().filter(|entry| entry.action != "edit") {
        let what = if entry.action == "replay" {
            "replayed"
        } else {
            "discarded"
        };
        let reason = entry.reason.as_deref().unwrap_or("");
        line.add(Some(entry.at), what, format!("by {}: {reason}", entry.who));
    }
    line.write(text);
    if let Some(body) = &row.body {
        let _ = writeln!(text, "  body    {}", printable(body));
    }
}

/// The values of a key, in the order of its columns' names.
fn key_of(key: &Value) -> String {
    let values = key.as_object().into_iter().flatten();
    let values = values.map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    values.collect::<Vec<_>>().join(" ")
}

fn time(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn span(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 600.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}
