//! Settings: command line or environment, secrets also by file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acequia_args::{ArchiveLogin, duration};
use acequia_store::housekeeping::Periods;
use anyhow::Context;
use clap::Args;

use crate::settings::{self, cron};

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
    /// Password for role acequia_archive; left as it is when not given
    #[arg(
        long,
        env = "ACEQUIA_ARCHIVE_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    archive_password: Option<String>,
    /// File that holds it
    #[arg(long, env = "ACEQUIA_ARCHIVE_PASSWORD_FILE", value_name = "FILE")]
    archive_password_file: Option<PathBuf>,
    /// Password for role acequia_operator; left as it is when not given
    #[arg(
        long,
        env = "ACEQUIA_OPERATOR_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    operator_password: Option<String>,
    /// File that holds it
    #[arg(long, env = "ACEQUIA_OPERATOR_PASSWORD_FILE", value_name = "FILE")]
    operator_password_file: Option<PathBuf>,
    /// Password for role acequia_api; left as it is when not given
    #[arg(
        long,
        env = "ACEQUIA_API_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    api_password: Option<String>,
    /// File that holds it
    #[arg(long, env = "ACEQUIA_API_PASSWORD_FILE", value_name = "FILE")]
    api_password_file: Option<PathBuf>,
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
                "acequia_archive",
                &self.archive_password,
                &self.archive_password_file,
            ),
            (
                "acequia_operator",
                &self.operator_password,
                &self.operator_password_file,
            ),
            ("acequia_api", &self.api_password, &self.api_password_file),
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

/// How long data are kept: what `migrate` sets.
#[derive(Debug, Clone, Args)]
pub struct KeepArgs {
    /// How long promoted rows stay in staging, where duplicates are recognised: at least 1d; left as
    /// it is (at first 30d) when not given
    #[arg(long, env = "STAGING_KEEP", value_parser = duration, value_name = "TIME")]
    staging_keep: Option<Duration>,
    /// How long messages stay in quarantine once they are replayed or discarded, and entries in the
    /// audit log: at least 30d, at first 365d
    #[arg(long, env = "QUARANTINE_KEEP", value_parser = duration, value_name = "TIME")]
    quarantine_keep: Option<Duration>,
    /// How long runs, refreshes and data quality results are kept: at least 7d, at first 90d
    #[arg(long, env = "LOG_KEEP", value_parser = duration, value_name = "TIME")]
    log_keep: Option<Duration>,
}

impl KeepArgs {
    /// The periods that are given, with their rows of `core.retention`.
    #[must_use]
    pub fn given(&self) -> Vec<(&'static str, Duration)> {
        [
            ("staging", self.staging_keep),
            ("quarantine", self.quarantine_keep),
            ("logs", self.log_keep),
        ]
        .into_iter()
        .filter_map(|(what, keep)| Some((what, keep?)))
        .collect()
    }
}

/// How data quality rules run.
#[derive(Debug, Clone, Copy, Args)]
pub struct RuleArgs {
    /// Longest time for one data quality rule; one that takes longer counts as an error
    #[arg(long, env = "RULE_MAX", default_value = "60s", value_name = "TIME", value_parser = |text: &str| settings::RULE_MAX.parse(text))]
    pub rule_max: Duration,
}

/// How the loops run.
#[derive(Debug, Clone, Args)]
pub struct LoopArgs {
    /// Address of /metrics, /livez and /readyz
    #[arg(long, env = "HTTP_ADDR", default_value = "127.0.0.1:9464")]
    pub http_addr: SocketAddr,
    /// Domains to process, separated by commas; all of the catalog when not given
    #[arg(long, env = "DOMAINS", value_delimiter = ',', value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Most messages in one staging transaction
    #[arg(long, env = "BATCH_MAX", default_value = "3000", value_name = "MESSAGES", value_parser = |text: &str| settings::BATCH_MAX.parse(text))]
    pub batch_max: u16,
    /// Most body bytes in one staging transaction
    #[arg(long, env = "BATCH_BYTES", default_value = "16MiB", value_name = "BYTES", value_parser = |text: &str| settings::BATCH_BYTES.parse(text))]
    pub batch_bytes: usize,
    /// Most body bytes of a queue in memory; fewer messages are in flight when they are large
    #[arg(long, env = "IN_FLIGHT_BYTES", default_value = "64MiB", value_name = "BYTES", value_parser = |text: &str| settings::IN_FLIGHT_BYTES.parse(text))]
    pub in_flight_bytes: usize,
    /// Longest wait for a batch to fill once its first message is there
    #[arg(long, env = "BATCH_WAIT", default_value = "50ms", value_name = "TIME", value_parser = |text: &str| settings::BATCH_WAIT.parse(text))]
    pub batch_wait: Duration,
    /// Longest time a batch is kept while the database refuses it; then its messages go back to
    /// the queue until it works again. Must be below the broker's consumer timeout (30 min)
    #[arg(long, env = "HOLD_MAX", default_value = "10m", value_name = "TIME", value_parser = |text: &str| settings::HOLD_MAX.parse(text))]
    pub hold_max: Duration,
    /// Most staged rows merged in one transaction
    #[arg(long, env = "PROMOTE_MAX", default_value = "80000", value_name = "ROWS", value_parser = |text: &str| settings::PROMOTE_MAX.parse(text))]
    pub promote_max: i32,
    /// Ingest pauses while more rows than this wait for promotion
    #[arg(long, env = "STAGED_MAX", default_value = "500000", value_name = "ROWS", value_parser = |text: &str| settings::STAGED_MAX.parse(text))]
    pub staged_max: i64,
    /// Longest time between two polls for work that was not notified
    #[arg(long, env = "POLL_EVERY", default_value = "5s", value_name = "TIME", value_parser = |text: &str| settings::POLL_EVERY.parse(text))]
    pub poll_every: Duration,
    /// Time between two runs of the data quality rules
    #[arg(long, env = "CHECK_EVERY", default_value = "60s", value_name = "TIME", value_parser = |text: &str| settings::CHECK_EVERY.parse(text))]
    pub check_every: Duration,
    /// How data quality rules run
    #[command(flatten)]
    pub rules: RuleArgs,
    /// Shortest time between two refreshes of a mart
    #[arg(long, env = "REFRESH_EVERY", default_value = "5s", value_name = "TIME", value_parser = |text: &str| settings::REFRESH_EVERY.parse(text))]
    pub refresh_every: Duration,
    /// How long a row may wait for the row it refers to before it goes to quarantine
    #[arg(long, env = "ORPHAN_TTL", default_value = "24h", value_name = "TIME", value_parser = |text: &str| settings::ORPHAN_TTL.parse(text))]
    pub orphan_ttl: Duration,
    /// How long promoted rows stay in staging, where duplicates are recognised, if that is longer
    /// than the owner's period (worker migrate --staging-keep)
    #[arg(long, env = "STAGING_KEEP", default_value = "0s", value_name = "TIME", value_parser = |text: &str| settings::STAGING_KEEP.parse(text))]
    pub staging_keep: Duration,
    /// How long messages stay in quarantine once they are replayed or discarded, if longer than the
    /// owner's period
    #[arg(long, env = "QUARANTINE_KEEP", default_value = "0s", value_name = "TIME", value_parser = |text: &str| settings::QUARANTINE_KEEP.parse(text))]
    pub quarantine_keep: Duration,
    /// How long runs, refreshes and data quality results are kept, if longer than the owner's period
    #[arg(long, env = "LOG_KEEP", default_value = "0s", value_name = "TIME", value_parser = |text: &str| settings::LOG_KEEP.parse(text))]
    pub log_keep: Duration,
    /// Object store of the archives: file:///folder, or s3://bucket/prefix with the usual AWS_
    /// variables
    #[arg(long, env = "ARCHIVE_URL", value_name = "URL")]
    pub archive_url: Option<String>,
    /// When closed partitions are archived, as a cron expression in UTC: 30 3 * * * is each day at
    /// 03:30; never when empty
    #[arg(long, env = "ARCHIVE_SCHEDULE", default_value = "", value_parser = cron, value_name = "CRON")]
    pub archive_schedule: String,
    /// Login of the archive.
    #[command(flatten)]
    pub archive_login: ArchiveLogin,
    /// How long a partition that was brought back for late rows stays
    #[arg(long, env = "ARCHIVE_HOLD", default_value = "7d", value_name = "TIME", value_parser = |text: &str| settings::ARCHIVE_HOLD.parse(text))]
    pub archive_hold: Duration,
    /// /readyz answers 503 when a loop makes no progress for this long
    #[arg(long, env = "STALL_AFTER", default_value = "30s", value_name = "TIME", value_parser = |text: &str| settings::STALL_AFTER.parse(text))]
    pub stall_after: Duration,
}

impl LoopArgs {
    /// How long this worker keeps data, where that is longer than the owner says.
    #[must_use]
    pub const fn periods(&self) -> Periods {
        Periods {
            staging: self.staging_keep,
            quarantine: self.quarantine_keep,
            logs: self.log_keep,
        }
    }
}
