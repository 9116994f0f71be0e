//! Time that PostgreSQL spends per statement, including statements inside functions.

use sqlx::Connection;

use crate::environment::TestEnv;

/// Maximum number of statements that are reported.
const TOLD: i64 = 30;

/// Resets the statistics, and counts statements inside functions from now on.
///
/// # Errors
/// When the server refuses.
pub async fn begin(environment: &TestEnv<'_>) -> sqlx::Result<()> {
    let mut admin = environment.admin().await?;
    for statement in [
        "alter system set pg_stat_statements.track = 'all'",
        "select pg_reload_conf()",
        "create extension if not exists pg_stat_statements",
        "select pg_stat_statements_reset()",
    ] {
        sqlx::query(statement).execute(&mut admin).await?;
    }
    admin.close().await
}

/// Writes to standard error where the time went. The time of a function's call contains that of
/// the statements in it.
///
/// # Errors
/// When the server refuses.
pub async fn tell(environment: &TestEnv<'_>, messages: usize) -> sqlx::Result<()> {
    let mut admin = environment.admin().await?;
    let rows: Vec<(f64, i64, i64, i64, String)> = sqlx::query_as(
        "select s.total_exec_time + s.total_plan_time, s.calls, s.rows, s.wal_bytes::bigint,
                left(regexp_replace(s.query, '\\s+', ' ', 'g'), 150)
         from pg_stat_statements s join pg_database d on d.oid = s.dbid and d.datname = current_database()
         order by 1 desc limit $1",
    )
    .bind(TOLD)
    .fetch_all(&mut admin)
    .await?;
    eprintln!("  µs/message   calls      rows  WAL MB  statement");
    for (milliseconds, calls, rows, wal, query) in rows {
        let each = milliseconds * 1000.0 / messages as f64;
        let wal = wal as f64 / 1e6;
        eprintln!("  {each:10.2} {calls:7} {rows:9} {wal:7.1}  {query}");
    }
    admin.close().await
}
