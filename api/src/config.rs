//! Settings of serving.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

/// How calls are served, and their limits.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving")]
pub struct ServeArgs {
    /// Address to listen on
    #[arg(
        long,
        env = "API_HTTP_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    pub http_addr: SocketAddr,
    /// A proxy in front speaks TLS with callers: listen beyond this machine, and send cookies that need TLS
    #[arg(long, env = "API_BEHIND_TLS")]
    pub behind_tls: bool,
    /// Listen beyond this machine without TLS, as in the private network of containers
    #[arg(long, env = "API_PLAIN_NETWORK")]
    pub plain_network: bool,
    /// Connections to the database, at most, for each of its two logins
    #[arg(long, env = "API_DATABASE_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub database_connections: u16,
    /// Longest time of a statement, in seconds
    #[arg(long, env = "API_STATEMENT_MAX_S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600), value_name = "SECONDS")]
    statement_max_s: u32,
    /// Longest time of a call, in seconds; event streams have a limit of their own, a minute
    #[arg(long, env = "API_CALL_MAX_S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600), value_name = "SECONDS")]
    call_max_s: u32,
    /// Largest body of a call, in MiB
    #[arg(long, env = "API_BODY_MAX_MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256), value_name = "MIB")]
    body_max_mib: u32,
    /// Connections that callers may have open, at most
    #[arg(long, env = "API_CONNECTIONS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Calls per second of one token or session, unless the token has a rate of its own
    #[arg(long, env = "API_RATE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Hours after which a session of the console ends; it also ends when it was idle for a quarter of that
    #[arg(long, env = "API_SESSION_HOURS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=720), value_name = "HOURS")]
    session_hours: u32,
}

impl ServeArgs {
    /// Longest time of a statement.
    #[must_use]
    pub fn statement_max(&self) -> Duration {
        Duration::from_secs(self.statement_max_s.into())
    }

    /// Longest time of a call.
    #[must_use]
    pub fn call_max(&self) -> Duration {
        Duration::from_secs(self.call_max_s.into())
    }

    /// Largest body, in bytes.
    #[must_use]
    pub const fn body_max(&self) -> usize {
        self.body_max_mib as usize * 1024 * 1024
    }

    /// Longest session.
    #[must_use]
    pub fn session_max(&self) -> Duration {
        Duration::from_secs(u64::from(self.session_hours) * 3600)
    }

    /// Refuses to send tokens and data over a network in plain text.
    ///
    /// # Errors
    /// When the address is not of this machine and nobody said that TLS is in front.
    pub fn check(&self) -> anyhow::Result<()> {
        let ip = self.http_addr.ip();
        if ip.to_canonical().is_loopback() || self.behind_tls || self.plain_network {
            return Ok(());
        }
        bail!(
            "refused: on {ip} passwords, tokens and data would pass the network in plain text. Listen on 127.0.0.1, or put a proxy with TLS in front and say --behind-tls (API_BEHIND_TLS=true); in a private network, --plain-network"
        )
    }
}
