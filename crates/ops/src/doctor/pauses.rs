//! Paused streams: nothing is broken, but operators should know.

use sqlx::PgConnection;

use super::finding::{Findings, Verdict};

/// Names each of them, with the way back.
pub(super) async fn examine(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let paused: Vec<(String, String, String, String)> = sqlx::query_as(
        "select s.domain, to_char(s.paused_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'), s.paused_by, s.reason
         from core.stream_pauses s where s.resumed_at is null order by s.domain",
    )
    .fetch_all(connection)
    .await?;
    if paused.is_empty() {
        findings.add("streams", Verdict::Ok, "none is paused", "");
    }
    for (domain, since, who, reason) in paused {
        let found = format!("paused since {since} by {who}, not broken: {reason}");
        let remedy = format!("`worker resume {domain}` lets workers take its messages again.");
        findings.add(&format!("stream {domain}"), Verdict::Warn, found, &remedy);
    }
    Ok(())
}
