//! Checks that promotion makes progress, and lists rows that it refused.

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::PgConnection;

use super::finding::{Findings, Verdict};

/// Domains whose oldest staged row has waited for five minutes, in which nothing was promoted.
const STANDING: &str = "
select b.domain, sum(e.staged)::bigint, min(b.received_at)
from core.batches b
join core.batch_entities e on e.batch_id = b.batch_id
left join core.domain_state d on d.domain = b.domain
where b.state = 'staged'
group by b.domain, d.promoted_at
having greatest(min(b.received_at), d.promoted_at) < now() - interval '5 minutes'
order by b.domain";

/// Messages that keep their contract and are open in quarantine all the same.
const REFUSED: &str = "
select q.code, count(*)
from core.quarantine_open o
join raw.quarantine q on q.message_id = o.message_id and q.day = o.day
where q.code in ('id_reused', 'merge_refused', 'refused_by_database')
group by q.code order by q.code";

/// An instant to the second.
fn time(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Adds findings about staged rows and about valid messages in quarantine.
pub(super) async fn examine(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let standing: Vec<(String, i64, DateTime<Utc>)> =
        sqlx::query_as(STANDING).fetch_all(&mut *connection).await?;
    let told = |(domain, rows, since): &(String, i64, DateTime<Utc>)| {
        format!("{rows} rows of {domain} since {}", time(*since))
    };
    let waiting: Vec<_> = standing.iter().map(told).collect();
    findings.require(
        "staged rows",
        waiting.is_empty(),
        if waiting.is_empty() {
            "none waits for long".to_owned()
        } else {
            format!("wait for promotion: {}", waiting.join(", "))
        },
        "Start the worker; if it runs, /readyz and event loop.failed of its log say why loop promote fails.",
    );
    let refused: Vec<(String, i64)> = sqlx::query_as(REFUSED).fetch_all(connection).await?;
    let told = |(code, rows): &(String, i64)| format!("{rows} {code}");
    let codes: Vec<_> = refused.iter().map(told).collect();
    let (verdict, found) = if codes.is_empty() {
        (Verdict::Ok, "no valid message is open".to_owned())
    } else {
        (
            Verdict::Warn,
            format!("valid messages, open: {}", codes.join(", ")),
        )
    };
    findings.add(
        "quarantine",
        verdict,
        found,
        "See docs/runbooks/AcequiaValidMessagesRefused.md: tell the publisher, or repair the table, then `worker quarantine replay`.",
    );
    Ok(())
}
