//! Checks that ticks run at their intervals and succeed.

use sqlx::PgConnection;

use super::finding::{Findings, Verdict};

/// Ticks whose last call failed, or that have not succeeded for three intervals.
const TROUBLED: &str = "
select t.function, t.failures, coalesce(t.error, ''),
       coalesce(to_char(t.ran_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'), 'never'),
       (extract(epoch from t.every))::float8
from core.tick_status t
where t.failures > 0 or t.late > 2 * t.every
order by t.function";

/// Names each tick that fails or is late.
pub(super) async fn examine(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let troubled: Vec<(String, i32, String, String, f64)> =
        sqlx::query_as(TROUBLED).fetch_all(&mut *connection).await?;
    if troubled.is_empty() {
        let registered: i64 = sqlx::query_scalar("select count(*) from core.ticks")
            .fetch_one(connection)
            .await?;
        let found = format!("{registered} registered, none fails or is late");
        findings.add("ticks", Verdict::Ok, found, "");
    }
    for (function, failures, error, last, every) in troubled {
        let check = format!("tick {function}");
        if failures > 0 {
            let found = format!("failed {failures} times, last success {last}: {error}");
            findings.add(
                &check,
                Verdict::Warn,
                found,
                "See docs/runbooks/AcequiaTickFailing.md: repair the function or its data; it is tried again by itself.",
            );
        } else {
            let found = format!("last success {last}, to be called every {every:.0} s");
            findings.add(
                &check,
                Verdict::Warn,
                found,
                "See docs/runbooks/AcequiaTickLate.md: start a worker for its domain.",
            );
        }
    }
    Ok(())
}
