//! The refresh loop: materialized marts, when the core they read has changed.

use std::time::Instant;

use acequia_contracts::Domain;
use chrono::Utc;
use sqlx::PgConnection;

use crate::run::Shared;
use crate::worker_loop::{Step, Work};

/// The materialized marts of a domain that show an older core than there is, in their order.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn due(connection: &mut PgConnection, domain: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select mart from core.mart_status where domain = $1 and needs_refresh order by position",
    )
    .bind(domain)
    .fetch_all(connection)
    .await
}

/// Refreshes one mart; returns its rows, `None` when another process is at it. A failure is
/// kept in the refresh log.
///
/// # Errors
/// Whatever PostgreSQL answers.
pub async fn refresh(connection: &mut PgConnection, mart: &str) -> sqlx::Result<Option<i64>> {
    let started = Utc::now();
    let refreshed = sqlx::query_scalar("select core.refresh_mart($1)")
        .bind(mart)
        .fetch_one(&mut *connection)
        .await;
    if let Err(failed) = &refreshed {
        sqlx::query("select core.refresh_failed($1, $2, $3)")
            .bind(mart)
            .bind(started)
            .bind(failed.to_string())
            .execute(connection)
            .await?;
    }
    refreshed
}

/// The refresh loop.
pub struct Refresh;

impl Work for Refresh {
    const NAME: &'static str = "refresh";
    const SHORT: bool = false;

    async fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> sqlx::Result<Step> {
        for mart in due(connection, domain.name).await? {
            let begun = Instant::now();
            // One broken mart must not keep the others old.
            match refresh(connection, &mart).await {
                Ok(rows) => shared.metrics.marts.refreshed(&mart, rows, begun.elapsed()),
                Err(failed) => shared.metrics.marts.failed(&mart, &failed),
            }
        }
        Ok(Step::Idle(shared.settings.refresh_every))
    }
}
