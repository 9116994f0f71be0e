//! Settings: command line or environment, secrets also by file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acequia_link::tls::TlsFiles;
use acequia_link::{AllowPlaintext, BrokerTls, broker};
use anyhow::Context;
use clap::Args;

use crate::archive::cron;
use crate::archive::store::Store;
use crate::db;

pub use acequia_link::SecretUrl;

/// Where PostgreSQL is.
#[derive(Clone, Args)]
pub struct DatabaseArgs {
    /// PostgreSQL: postgresql://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// File that holds the URL, instead of DATABASE_URL; read again for each connection
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// CA that signed the server's certificate (PEM), trusted beside the system's CAs
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    database_ca_file: Option<PathBuf>,
    #[command(flatten)]
    plaintext: AllowPlaintext,
}

impl std::fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseArgs").finish_non_exhaustive()
    }
}

impl DatabaseArgs {
    /// The URL from the option, the variable or the file.
    ///
    /// # Errors
    /// When none is given, the file cannot be read, it is no PostgreSQL URL, or it leads to
    /// another machine without TLS.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        const NAME: &str = "DATABASE_URL";
        let url = SecretUrl::from_setting(
            self.database_url.as_deref(),
            self.database_url_file.as_deref(),
            NAME,
            "postgresql://acequia_worker:password@127.0.0.1:5432/payments",
            &["postgres", "postgresql"],
        )?;
        let tls = TlsFiles {
            ca: self.database_ca_file.clone(),
            ..TlsFiles::default()
        };
        let url = url.with_tls(tls).with_plaintext(self.plaintext.0);
        db::options(&url, "check").context(NAME)?;
        Ok(url)
    }
}

/// Where RabbitMQ is.
#[derive(Clone, Args)]
pub struct BrokerArgs {
    /// RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// with TLS
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// File that holds the URL, instead of AMQP_URL; read again for each connection
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    amqp_url_file: Option<PathBuf>,
    #[command(flatten)]
    tls: BrokerTls,
    #[command(flatten)]
    plaintext: AllowPlaintext,
}

impl std::fmt::Debug for BrokerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerArgs").finish_non_exhaustive()
    }
}

impl BrokerArgs {
    /// The URL from the option, the variable or the file.
    ///
    /// # Errors
    /// When none is given, a file cannot be read, it is no AMQP URL, or it leads to another
    /// machine without TLS.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        const NAME: &str = "AMQP_URL";
        let url = SecretUrl::from_setting(
            self.amqp_url.as_deref(),
            self.amqp_url_file.as_deref(),
            NAME,
            "amqp://app:password@127.0.0.1:5672/%2f",
            broker::SCHEMES,
        )?;
        let url = url
            .with_tls(self.tls.clone().into())
            .with_plaintext(self.plaintext.0);
        broker::check(&url).context(NAME)?;
        Ok(url)
    }
}

/// Passwords that `migrate` sets.
#[derive(Clone, Args)]
pub struct PasswordArgs {
    /// Password for role acequia_worker; left as it is when not given
    #[arg(
        long,
        env = "ACEQUIA_WORKER_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    worker_password: Option<String>,
    /// File that holds it
    #[arg(long, env = "ACEQUIA_WORKER_PASSWORD_FILE", value_name = "FILE")]
    worker_password_file: Option<PathBuf>,
    /// Password for role acequia_analyst; left as it is when not given
    #[arg(
        long,
        env = "ACEQUIA_ANALYST_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    analyst_password: Option<String>,
    /// File that holds it
    #[arg(long, env = "ACEQUIA_ANALYST_PASSWORD_FILE", value_name = "FILE")]
    analyst_password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// Roles with their passwords, those that are given.
    ///
    /// # Errors
    /// When a file cannot be read or is empty.
    pub fn passwords(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let roles = [
            (
                "acequia_worker",
                &self.worker_password,
                &self.worker_password_file,
            ),
            (
                "acequia_analyst",
                &self.analyst_password,
                &self.analyst_password_file,
            ),
        ];
        let mut passwords = Vec::new();
        for (role, text, file) in roles {
            let password = match (text.as_deref(), file) {
                (Some(text), _) if !text.is_empty() => text.to_owned(),
                (_, Some(file)) => read_password(file)
                    .with_context(|| format!("password of role {role}: {}", file.display()))?,
                _ => continue,
            };
            passwords.push((role, password));
        }
        Ok(passwords)
    }
}

impl std::fmt::Debug for PasswordArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordArgs").finish_non_exhaustive()
    }
}

/// The first line: editors and `echo` end it with a line break.
fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)?;
    let password = text.lines().next().unwrap_or_default();
    anyhow::ensure!(!password.is_empty(), "the file is empty");
    Ok(password.to_owned())
}

/// Where archives are.
#[derive(Debug, Clone, Default, Args)]
pub struct ArchiveUrl {
    /// Object store of the archives: file:///folder, or s3://bucket/prefix with the usual AWS_
    /// variables
    #[arg(long, env = "ARCHIVE_URL", value_name = "URL")]
    archive_url: Option<String>,
}

impl ArchiveUrl {
    /// Whether there is one.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.archive_url
            .as_deref()
            .is_some_and(|url| !url.is_empty())
    }

    /// Opens the store.
    ///
    /// # Errors
    /// When no URL is given, or it is wrong.
    pub fn open(&self) -> anyhow::Result<Store> {
        let url = self.archive_url.as_deref().filter(|url| !url.is_empty());
        Store::open(url.context(
            "say where archives are: --archive-url or ARCHIVE_URL, as file:///var/lib/acequia/archive or s3://bucket/prefix",
        )?)
    }
}

/// How data quality rules run.
#[derive(Debug, Clone, Copy, Args)]
pub struct RuleArgs {
    /// Longest time for one data quality rule; one that takes longer could not run
    #[arg(long, env = "RULE_MAX", default_value = "60s", value_parser = duration)]
    pub rule_max: Duration,
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
    #[arg(long, env = "BATCH_MAX", default_value_t = 3_000, value_parser = clap::value_parser!(u16).range(1..=30_000))]
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
        default_value_t = 80_000,
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
    /// How data quality rules run
    #[command(flatten)]
    pub rules: RuleArgs,
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
    /// Object store of the archives: file:///folder, or s3://bucket/prefix with the usual AWS_
    /// variables
    #[arg(long, env = "ARCHIVE_URL", value_name = "URL")]
    pub archive_url: Option<String>,
    /// When closed partitions are archived, as a cron expression in UTC: 30 3 * * * is each day at
    /// 03:30; never when empty
    #[arg(long, env = "ARCHIVE_SCHEDULE", default_value = "", value_parser = cron, value_name = "CRON")]
    pub archive_schedule: String,
    /// How long a partition that was brought back for late rows stays
    #[arg(long, env = "ARCHIVE_HOLD", default_value = "7d", value_parser = duration)]
    pub archive_hold: Duration,
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
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert!(duration("5").is_err());
        assert!(duration("fast").is_err());
    }
}
