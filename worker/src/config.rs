//! Settings: command line or environment, secrets also by file.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use url::Url;

/// A URL that may hold a password. Shown without it, in `Debug` too.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Parses a URL of one of the given schemes.
    ///
    /// # Errors
    /// When it is no URL or has another scheme. The error does not repeat the text.
    pub fn parse(text: &str, schemes: &[&str]) -> anyhow::Result<Self> {
        let url = Url::parse(text.trim()).context("is not a URL")?;
        if !schemes.contains(&url.scheme()) {
            bail!("must begin with {}://", schemes.join(":// or "));
        }
        Ok(Self(url))
    }

    /// The URL with its password, for the client library only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return f.write_str("(url)");
        }
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where PostgreSQL is.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// PostgreSQL: postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// File that holds the URL, instead of DATABASE_URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The URL from the option, the variable or the file.
    ///
    /// # Errors
    /// When none is given, the file cannot be read, or it is no PostgreSQL URL.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        secret(
            self.database_url.as_deref(),
            self.database_url_file.as_ref(),
            "DATABASE_URL",
            "postgres://acequia_worker:password@127.0.0.1:5432/payments",
            &["postgres", "postgresql"],
        )
    }
}

/// Where RabbitMQ is.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// RabbitMQ: amqp://user:password@host:port/vhost
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// File that holds the URL, instead of AMQP_URL
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    amqp_url_file: Option<PathBuf>,
}

impl BrokerArgs {
    /// The URL from the option, the variable or the file.
    ///
    /// # Errors
    /// When none is given, the file cannot be read, or it is no AMQP URL.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        secret(
            self.amqp_url.as_deref(),
            self.amqp_url_file.as_ref(),
            "AMQP_URL",
            "amqp://app:password@127.0.0.1:5672/%2f",
            &["amqp", "amqps"],
        )
    }
}

fn secret(
    text: Option<&str>,
    file: Option<&PathBuf>,
    name: &str,
    example: &str,
    schemes: &[&str],
) -> anyhow::Result<SecretUrl> {
    let text = match (text, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("{name}_FILE: cannot read {}", file.display()))?,
        (None, None) => bail!("{name} is not set. Set it, for example {name}={example}"),
    };
    SecretUrl::parse(&text, schemes).with_context(|| format!("{name}, for example {example}"))
}

/// How the loops run.
#[derive(Debug, Clone, Args)]
pub struct LoopArgs {
    /// Address of /metrics, /livez and /readyz
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:9464")]
    pub http_addr: SocketAddr,
    /// Domains to work for; all of the catalog when empty
    #[arg(long, env = "DOMAINS", value_delimiter = ',', value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Most messages in one staging transaction
    #[arg(long, env = "BATCH_MAX", default_value_t = 5_000, value_parser = clap::value_parser!(u16).range(1..=30_000))]
    pub batch_max: u16,
    /// Most body bytes in one staging transaction
    #[arg(long, env = "BATCH_BYTES", default_value_t = 16 * 1024 * 1024, value_name = "BYTES")]
    pub batch_bytes: usize,
    /// Most body bytes of a queue in memory; fewer messages are in flight when they are large
    #[arg(long, env = "IN_FLIGHT_BYTES", default_value_t = 64 * 1024 * 1024, value_name = "BYTES")]
    pub in_flight_bytes: usize,
    /// Longest wait for a batch to fill once its first message is there
    #[arg(long, env = "BATCH_WAIT", default_value = "50ms", value_parser = duration)]
    pub batch_wait: Duration,
    /// Longest time a batch is kept while the database refuses it; then its messages go back to
    /// the queue until it works again. Must be below the broker's consumer timeout (30 min)
    #[arg(long, env = "HOLD_MAX", default_value = "10m", value_parser = duration)]
    pub hold_max: Duration,
    /// Most staged rows merged in one transaction
    #[arg(
        long,
        env = "PROMOTE_MAX",
        default_value_t = 20_000,
        value_name = "ROWS"
    )]
    pub promote_max: i32,
    /// Ingest pauses while more rows than this wait for promotion
    #[arg(
        long,
        env = "STAGED_MAX",
        default_value_t = 500_000,
        value_name = "ROWS"
    )]
    pub staged_max: i64,
    /// Time between two looks for work that other processes staged
    #[arg(long, env = "POLL_EVERY", default_value = "250ms", value_parser = duration)]
    pub poll_every: Duration,
    /// Time between two runs of the data quality rules
    #[arg(long, env = "CHECK_EVERY", default_value = "60s", value_parser = duration)]
    pub check_every: Duration,
    /// Shortest time between two refreshes of a mart
    #[arg(long, env = "REFRESH_EVERY", default_value = "5s", value_parser = duration)]
    pub refresh_every: Duration,
    /// How long a row may wait for the row it refers to before it goes to quarantine
    #[arg(long, env = "ORPHAN_TTL", default_value = "24h", value_parser = duration)]
    pub orphan_ttl: Duration,
    /// How long promoted rows stay in staging, where duplicates are recognised
    #[arg(long, env = "STAGING_KEEP", default_value = "30d", value_parser = duration)]
    pub staging_keep: Duration,
    /// How long messages stay in quarantine
    #[arg(long, env = "QUARANTINE_KEEP", default_value = "365d", value_parser = duration)]
    pub quarantine_keep: Duration,
    /// How long runs, refreshes and data quality results are kept
    #[arg(long, env = "LOG_KEEP", default_value = "90d", value_parser = duration)]
    pub log_keep: Duration,
    /// /readyz turns bad when a loop makes no progress for this long
    #[arg(long, env = "STALL_AFTER", default_value = "30s", value_parser = duration)]
    pub stall_after: Duration,
}

/// A duration as `250ms`, `30s`, `5m` or `24h`.
///
/// # Errors
/// When it is none of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "must be a number with a unit, as 250ms, 30s, 5m or 24h".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        "d" => Ok(Duration::from_secs(number * 86_400)),
        _ => Err("the unit must be ms, s, m, h or d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let url = SecretUrl::parse("amqp://app:s3cret@host:5672/%2f", &["amqp"]).unwrap();
        assert_eq!(url.to_string(), "amqp://app:***@host:5672/%2f");
        assert!(!format!("{url:?}").contains("s3cret"));
        let error = SecretUrl::parse("http://app:s3cret@host", &["amqp"]).unwrap_err();
        assert!(!format!("{error:#}").contains("s3cret"));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert!(duration("5").is_err());
        assert!(duration("fast").is_err());
    }
}
