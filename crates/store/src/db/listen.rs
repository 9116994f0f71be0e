//! A connection that listens for notifications.

use std::time::Duration;

use acequia_net::SecretUrl;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::{first_of, must_write, no_answer, options};

/// Listens on a channel, by the first server of the URL that lets us in and writes. The listener does not connect
/// again by itself: it would come back to the same server.
///
/// # Errors
/// Same as [`super::open`].
pub async fn listen(url: &SecretUrl, channel: &str) -> sqlx::Result<PgListener> {
    let hosts = options(url, "listen")?;
    first_of(&hosts, |host, within| enter(host, channel, within)).await
}

/// Asks the server a trivial question, to see whether the listening connection lives.
///
/// # Errors
/// When it does not, or there is no answer within that time.
pub async fn probe(listener: &mut PgListener, within: Duration) -> sqlx::Result<()> {
    let probe = sqlx::query("select 1").execute(listener);
    tokio::time::timeout(within, probe)
        .await
        .unwrap_or_else(|_| Err(no_answer(within)))?;
    Ok(())
}

async fn enter(
    host: PgConnectOptions,
    channel: &str,
    within: Duration,
) -> sqlx::Result<PgListener> {
    // sqlx gives notifications to a listener only, and that has its connection of a pool.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(within)
        // It would be logged as if a session waited for others.
        .acquire_slow_threshold(within)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(host)
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    // Nothing is announced by a server that does not write.
    const ROLE: &str =
        "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";
    let (standby, read_only) = sqlx::query_as(ROLE).fetch_one(&mut listener).await?;
    must_write(standby, read_only)?;
    listener.listen(channel).await?;
    Ok(listener)
}
