//! A Prometheus of one's own, and the exporter of PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use acequia_testkit::free_port;
use anyhow::Context;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::settings::{TimeScale, scaled, settings};
use crate::environment::TestEnv;

/// Time limit of its start on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A Prometheus at work. It ends with this value.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    _processes: [Child; 2],
}

impl Prometheus {
    /// Starts it over the workers at some addresses and the servers of a test environment.
    ///
    /// # Errors
    /// When a program is missing (`scripts/services.sh install --observability`) or does not
    /// start.
    pub async fn start(
        environment: &TestEnv,
        workers: &[String],
        scale: TimeScale,
    ) -> anyhow::Result<Self> {
        let folder = environment.folder.join("prometheus");
        std::fs::create_dir_all(folder.join("rules"))?;
        let services = environment.services();
        let exporter = format!("127.0.0.1:{}", free_port()?);
        let admin = services.var("ADMIN_DATABASE_URL")?;
        let exporting = spawn(
            Command::new("prometheus-postgres-exporter")
                .arg(format!("--web.listen-address={exporter}"))
                .env("DATA_SOURCE_NAME", format!("{admin}?sslmode=disable")),
            &folder.join("postgres-exporter.log"),
        )?;
        let rabbitmq = services.var("RABBITMQ_METRICS_URL")?;
        let rabbitmq = rabbitmq
            .trim_start_matches("http://")
            .trim_end_matches("/metrics")
            .to_owned();
        let targets = BTreeMap::from([
            ("acequia-worker", workers.to_vec()),
            ("rabbitmq", vec![rabbitmq.clone()]),
            ("rabbitmq-detailed", vec![rabbitmq]),
            ("postgresql", vec![exporter]),
        ]);
        let write = |path: PathBuf, value: &Value| std::fs::write(path, value.to_string());
        write(
            folder.join("prometheus.yml"),
            &settings(scale, &targets, &environment.broker.name)?,
        )?;
        for (name, rules) in scaled(scale)? {
            write(folder.join("rules").join(name), &rules)?;
        }
        let address = format!("127.0.0.1:{}", free_port()?);
        let look_back = (2 * scale.workers + 1000).max(5000);
        let watching = spawn(
            Command::new("prometheus")
                .arg(format!("--web.listen-address={address}"))
                .arg("--config.file=prometheus.yml")
                .arg("--storage.tsdb.path=data")
                // A look back of five minutes would show series that are gone. The slowest page that
                // still counts comes two scrape intervals after the one before.
                .arg(format!("--query.lookback-delta={look_back}ms"))
                .current_dir(&folder),
            &folder.join("prometheus.log"),
        )?;
        let prometheus = Self {
            url: format!("http://{address}"),
            _processes: [exporting, watching],
        };
        // No closure: this future must be `Send` in every lifetime.
        let begun = Instant::now();
        while prometheus.value("vector(1)").await.is_err() {
            let log = folder.join("prometheus.log");
            anyhow::ensure!(begun.elapsed() < START_WITHIN, "see {}", log.display());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(prometheus)
    }

    /// The value of an expression that has one; `None` when it has none.
    ///
    /// # Errors
    /// When it is not understood or there is no answer.
    pub async fn value(&self, expression: &str) -> anyhow::Result<Option<f64>> {
        let answer = self.ask(expression).await?;
        let value = answer
            .first()
            .and_then(|sample| sample["value"][1].as_str());
        value.map(|value| Ok(value.parse()?)).transpose()
    }

    /// Alerts that fire, and those that are about to (`pending`).
    ///
    /// # Errors
    /// Same as [`Prometheus::value`].
    pub async fn alerts(&self, state: &str) -> anyhow::Result<BTreeSet<String>> {
        let query = format!("ALERTS{{alertstate=\"{state}\"}}");
        let answer = self.ask(&query).await?;
        let names = answer
            .iter()
            .filter_map(|sample| sample["metric"]["alertname"].as_str());
        Ok(names.map(ToOwned::to_owned).collect())
    }

    /// The samples that an expression has now.
    ///
    /// # Errors
    /// Same as [`Prometheus::value`].
    pub async fn ask(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let (url, query) = (format!("{}/api/v1/query", self.url), expression.to_owned());
        let ask = move || -> anyhow::Result<Value> {
            let request = ureq::get(&url).query("query", &query);
            let request = request
                .config()
                .timeout_global(Some(Duration::from_secs(5)));
            Ok(request.build().call()?.body_mut().read_json()?)
        };
        let answer = tokio::task::spawn_blocking(ask).await??;
        let result = answer["data"]["result"].as_array();
        result.cloned().with_context(|| format!("{answer}"))
    }
}

fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let file = std::fs::File::create(log)?;
    let program = command.as_std().get_program().to_owned();
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!(
                "{}; get it with scripts/services.sh install --observability",
                program.display()
            )
        })
}
