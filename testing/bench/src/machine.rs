//! The machine on which the figures were taken.

use std::collections::BTreeMap;

use acequia_testkit::Services;
use anyhow::Context;
use serde::Serialize;
use sqlx::{Connection, PgConnection};

/// Machine, versions and settings.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// Memory in gigabytes.
    pub memory_gb: f64,
    /// Name and release of the system.
    pub system: String,
    /// Programs and their versions.
    pub versions: BTreeMap<String, String>,
    /// PostgreSQL's settings that are not its defaults.
    pub postgresql_settings: BTreeMap<String, String>,
}

impl Machine {
    /// Looks at it.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn look(services: &Services) -> anyhow::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let processor = value(&cpuinfo, "model name")
            .unwrap_or("unknown")
            .to_owned();
        let kilobytes = value(&meminfo, "MemTotal").and_then(|text| text.split(' ').next());
        let kilobytes: f64 = kilobytes.and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let release = read("/proc/sys/kernel/osrelease");
        let mut machine = Self {
            processor,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gb: (kilobytes / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            system: format!("Linux {}", release.trim()),
            ..Self::default()
        };
        let mut admin = PgConnection::connect(services.var("ADMIN_DATABASE_URL")?).await?;
        let version: String = sqlx::query_scalar("show server_version")
            .fetch_one(&mut admin)
            .await?;
        let settings: Vec<(String, String)> = sqlx::query_as(
            "select name, current_setting(name) from pg_settings where source = 'configuration file'
             and name !~ '(directories|directory|_file|port|listen_addresses|lc_|log_|timezone|text_search)'",
        )
        .fetch_all(&mut admin)
        .await?;
        machine.postgresql_settings = settings.into_iter().collect();
        let short = version.split(' ').next().unwrap_or(&version).to_owned();
        machine.versions.insert("PostgreSQL".to_owned(), short);
        let broker = services.rabbitmqctl(&["version"]).await?;
        let broker = broker.lines().last().context("rabbitmqctl version")?;
        machine
            .versions
            .insert("RabbitMQ".to_owned(), broker.trim().to_owned());
        let own = env!("CARGO_PKG_VERSION").to_owned();
        machine.versions.insert("Acequia".to_owned(), own);
        Ok(machine)
    }
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
