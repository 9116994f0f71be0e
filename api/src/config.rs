//! Settings: command line or environment, secrets also by file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use acequia_net::tls::TlsFiles;
use acequia_net::{AllowPlaintext, BrokerTls, SecretUrl, broker};
use acequia_store::db;
use anyhow::{Context, bail};
use clap::Args;

const SCHEMES: &[&str] = &["postgres", "postgresql"];

/// Where PostgreSQL is, as role acequia_api.
#[derive(Clone, Args)]
pub struct DatabaseArgs {
    /// PostgreSQL, as role acequia_api; DATABASE_URL when not given
    #[arg(
        long,
        env = "API_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: Option<String>,
    /// File that holds the URL; read again for each connection
    #[arg(long, env = "API_DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// CA that signed the server's certificate (PEM), trusted beside the system's CAs
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    database_ca_file: Option<PathBuf>,
    #[command(flatten)]
    plaintext: AllowPlaintext,
}

impl DatabaseArgs {
    /// The URL from the option, the variable or the file, or that of `DATABASE_URL`.
    ///
    /// # Errors
    /// When none is given, the file cannot be read, it is no PostgreSQL URL, or it leads to another machine without TLS.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        const NAME: &str = "API_DATABASE_URL";
        let general = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let (mut text, mut file) = (given(&self.database_url), self.database_url_file.clone());
        if text.is_none() && file.is_none() {
            text = general("DATABASE_URL");
            file = general("DATABASE_URL_FILE").map(PathBuf::from);
        }
        let example = "postgresql://acequia_api:password@127.0.0.1:5432/payments";
        let url =
            SecretUrl::from_setting(text.as_deref(), file.as_deref(), NAME, example, SCHEMES)?;
        self.secure(url, NAME)
    }

    fn secure(&self, url: SecretUrl, name: &str) -> anyhow::Result<SecretUrl> {
        let tls = TlsFiles {
            ca: self.database_ca_file.clone(),
            ..TlsFiles::default()
        };
        let url = url.with_tls(tls).with_plaintext(self.plaintext.0);
        db::options(&url, "check").context(name.to_owned())?;
        Ok(url)
    }
}

/// The login by which people's decisions are carried out, and the broker that messages go to. Both may be left out: then
/// the routes that need them say so.
#[derive(Clone, Args)]
pub struct ActionArgs {
    /// PostgreSQL, as role acequia_operator: for replay, discard and gates
    #[arg(
        long,
        env = "OPERATOR_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    operator_database_url: Option<String>,
    /// File that holds the URL; read again for each connection
    #[arg(long, env = "OPERATOR_DATABASE_URL_FILE", value_name = "FILE")]
    operator_database_url_file: Option<PathBuf>,
    /// RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// with TLS
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// File that holds the URL, instead of AMQP_URL; read again for each connection
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    amqp_url_file: Option<PathBuf>,
    #[command(flatten)]
    tls: BrokerTls,
}

impl ActionArgs {
    /// The operator's login, if it is given.
    ///
    /// # Errors
    /// As [`DatabaseArgs::url`].
    pub fn operator(&self, database: &DatabaseArgs) -> anyhow::Result<Option<SecretUrl>> {
        const NAME: &str = "OPERATOR_DATABASE_URL";
        let (text, file) = (
            given(&self.operator_database_url),
            self.operator_database_url_file.as_deref(),
        );
        if text.is_none() && file.is_none() {
            return Ok(None);
        }
        let example = "postgresql://acequia_operator:password@127.0.0.1:5432/payments";
        let url = SecretUrl::from_setting(text.as_deref(), file, NAME, example, SCHEMES)?;
        database.secure(url, NAME).map(Some)
    }

    /// The broker, if it is given.
    ///
    /// # Errors
    /// When a file cannot be read, it is no AMQP URL, or it leads to another machine without TLS.
    pub fn broker(&self, database: &DatabaseArgs) -> anyhow::Result<Option<SecretUrl>> {
        const NAME: &str = "AMQP_URL";
        let (text, file) = (given(&self.amqp_url), self.amqp_url_file.as_deref());
        if text.is_none() && file.is_none() {
            return Ok(None);
        }
        let example = "amqp://app:password@127.0.0.1:5672/%2f";
        let url = SecretUrl::from_setting(text.as_deref(), file, NAME, example, broker::SCHEMES)?;
        let url = url
            .with_tls(self.tls.clone().into())
            .with_plaintext(database.plaintext.0);
        broker::check(&url).context(NAME)?;
        Ok(Some(url))
    }
}

macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
hidden!(DatabaseArgs, ActionArgs);

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
    /// Longest time of a call, in seconds; streams have none
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

/// A text that is not empty.
fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}
