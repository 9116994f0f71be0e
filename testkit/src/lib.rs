//! Real servers for tests: one private PostgreSQL and one private RabbitMQ for each test process,
//! one database and one virtual host for each test.
//!
//! The servers are started by `scripts/services.sh run`, which stops and wipes them when this
//! process ends, in whatever way: it reads from a pipe that the end of the process closes.

mod broker;
mod database;
mod services;

pub use broker::VirtualHost;
pub use database::TestDatabase;
pub use services::Services;

use std::time::{Duration, Instant};

/// Waits until a condition holds; looks every 20 ms.
///
/// # Errors
/// When it does not hold within a minute; the error says what was waited for.
pub async fn wait_for<F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if condition().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("waited a minute in vain for {what}")
}

/// A port of the loopback interface that nobody uses now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
