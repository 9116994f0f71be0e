//! A connection that listens for notifications.

use std::time::Duration;

use acequia_net::SecretUrl;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::{all_refused, no_answer, options, with_remedy, within};
use crate::failure::Unfit;

/// Listens on a channel, by the first server of the URL that lets us in and writes. The listener does not connect
/// again by itself: it would come back to the same server.
///
/// # Errors
/// As [`super::open`].
pub async fn listen(url: &SecretUrl, channel: &str) -> sqlx::Result<PgListener> {
    let hosts = options(url, "listen")?;
    let within = within(&hosts);
    let mut refusals = Vec::new();
    for host in &hosts {
        let heard = tokio::time::timeout(within, enter(host, channel, within));
        match heard.await.unwrap_or_else(|_| Err(no_answer(within))) {
            Ok(listener) => return Ok(listener),
            Err(error) => refusals.push((host, with_remedy(error))),
        }
    }
    Err(all_refused(refusals))
}

async fn enter(
    host: &PgConnectOptions,
    channel: &str,
    within: Duration,
) -> sqlx::Result<PgListener> {
    // sqlx gives notifications to a listener only, and that has its connection of a pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(within)
        // It would be logged as if somebody waited for others.
        .acquire_slow_threshold(within)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(host.clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    let standby: bool = sqlx::query_scalar("select pg_is_in_recovery()")
        .fetch_one(&mut listener)
        .await?;
    if standby {
        // Nothing is announced there.
        return Err(Unfit::Standby.into());
    }
    listener.listen(channel).await?;
    Ok(listener)
}
