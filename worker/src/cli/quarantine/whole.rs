//! A row of the quarantine for people.

use acequia_ops::quarantine::{Body, Whole};

use crate::cli::output::time;

/// The row as text.
///
/// # Errors
/// When its properties cannot be written as JSON.
pub fn text(row: &Whole) -> anyhow::Result<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut lines = vec![
        match row.identity {
            None => format!("{} {}", row.quarantine_id, row.message_id),
            Some(id) => format!(
                "{} {}, a message of id {id}, which another one has too",
                row.quarantine_id, row.message_id
            ),
        },
        format!(
            "status      {}, seen {} times, replayed {} times",
            row.status, row.occurrences, row.replays
        ),
        format!(
            "message of  {}.{} from queue {}, batch {}",
            row.domain,
            row.entity.as_deref().unwrap_or("?"),
            row.queue,
            row.batch_id
        ),
        format!(
            "arrived     {}, last {}",
            time(row.received_at),
            time(row.last_seen_at)
        ),
        format!(
            "reason      {} {}, field {}, SQLSTATE {}, contract version {}, fingerprint {}",
            row.stage,
            row.code,
            or_none(&row.field_path),
            or_none(&row.sqlstate),
            row.contract_version,
            row.fingerprint
        ),
    ];
    for violation in row.violations.as_array().into_iter().flatten() {
        let part = |name: &str| violation[name].as_str().unwrap_or("").to_owned();
        lines.push(format!(
            "            {} {}: {}",
            part("code"),
            part("path"),
            part("message")
        ));
    }
    if let (Some(at), Some(by)) = (row.resolved_at, &row.resolved_by) {
        let note = or_none(&row.note);
        lines.push(format!("resolved    {} by {by}: {note}", time(at)));
    }
    for entry in &row.history {
        lines.push(format!(
            "history     {} {} by {} ({}), with {} rows: {}",
            time(entry.at),
            entry.action,
            entry.who,
            entry.login,
            entry.row_count,
            or_none(&entry.reason)
        ));
    }
    let properties = serde_json::to_string_pretty(&row.properties)?;
    lines.push(format!("properties  {properties}"));
    lines.push(body_text("body", &row.body));
    for version in &row.versions {
        let about = format!(
            "version {} by {} at {}, {}",
            version.version,
            version.by,
            time(version.at),
            or_none(&version.note)
        );
        lines.push(body_text(&about, &version.body));
    }
    Ok(lines.join("\n"))
}

fn body_text(about: &str, body: &Body) -> String {
    match body {
        Body::Text(text) => format!("{about}:\n{text}"),
        Body::Base64(text) => format!("{about}, no text, in base64:\n{text}"),
    }
}
