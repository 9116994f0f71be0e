//! Real servers for tests: one private PostgreSQL and one private RabbitMQ for each test process,
//! one database and one virtual host for each test.
//!
//! The servers are started by `scripts/services.sh run`, which stops and wipes them when this
//! process ends, in whatever way: it reads from a pipe that the end of the process closes.

mod broker;
mod certificates;
mod collector;
mod database;
mod environment;
pub mod metrics;
mod proxy;
pub mod raw;
pub mod rules;
mod server;
mod services;

pub use broker::VirtualHost;
pub use certificates::Certificates;
pub use collector::{Collected, Collector};
pub use database::TestDatabase;
pub use environment::TestEnv;
pub use proxy::{Lost, Proxy};
pub use server::Server;
pub use services::{ROLES, Services};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The folder of the project.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Waits until a condition holds; looks every 20 ms.
///
/// # Errors
/// When it does not hold within a minute; the error names the condition.
pub async fn wait_for(
    what: &str,
    condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    wait_within(Duration::from_secs(60), what, condition).await
}

/// The same with another limit, for what takes long by its nature.
///
/// # Errors
/// Same as [`wait_for`].
pub async fn wait_within(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if condition().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("waited {} s in vain for {what}", limit.as_secs())
}

/// A port of the loopback interface that is free now. It lies below the range of outgoing
/// connections, so none of these can take it in the meantime, and this process hands it out once.
///
/// # Errors
/// When none is left.
pub fn free_port() -> std::io::Result<u16> {
    use std::sync::atomic::{AtomicU16, Ordering};
    const FIRST: u16 = 10_000;
    const PORTS: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(7919);
    for _ in 0..PORTS {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset =
            u16::try_from((begin % u32::from(PORTS) + step) % u32::from(PORTS)).unwrap_or(0);
        match std::net::TcpListener::bind(("127.0.0.1", FIRST + offset)) {
            Ok(_) => return Ok(FIRST + offset),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::ErrorKind::AddrInUse.into())
}
