//! Programs under test.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use acequia_testkit::free_port;
use anyhow::{Context, bail, ensure};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::cpu;
use crate::environment::TestEnv;

/// A program of this project: the one beside this program, built with the same profile.
///
/// # Errors
/// When it is not there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/<profile>/bench or target/<profile>/deps/<test>
    let folder = own
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"));
    let program = folder.context("where this program lies")?.join(name);
    ensure!(
        program.exists(),
        "there is no {}: scripts/bench.sh builds it",
        program.display()
    );
    Ok(program)
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started or fails; the error has what it said.
pub async fn done(mut command: Command, what: &str) -> anyhow::Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| what.to_owned())?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what}: {}\n{words}",
        output.status
    );
    Ok(output)
}

/// A program that runs beside this one; killed with the value.
#[derive(Debug)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// When it was started.
    pub started: Instant,
    /// Path of its log.
    pub log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `worker run` on a test environment, with its default settings but for those that were given.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn worker<S: AsRef<OsStr>>(
        environment: &TestEnv<'_>,
        options: &[S],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program("worker")?);
        command
            .arg("run")
            .args(options)
            .envs(environment.bench.size.settings.iter().cloned())
            .env("HTTP_ADDR", format!("127.0.0.1:{}", free_port()?));
        Self::start(command, environment, "worker")
    }

    /// Starts a program with the environment's addresses in its environment and nothing else.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        mut command: Command,
        environment: &TestEnv<'_>,
        name: &str,
    ) -> anyhow::Result<Self> {
        let log = environment.bench.folder.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let given: Vec<_> = command
            .as_std()
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let started = Instant::now();
        let child = command
            .env_clear()
            .envs(given)
            .env("DATABASE_URL", &environment.database.worker)
            .env("AMQP_URL", &environment.broker.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Self {
            pid,
            started,
            log,
            child,
        })
    }

    /// The most memory it had, in megabytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn peak_memory(&self) -> anyhow::Result<f64> {
        Ok(cpu::memory(self.pid)?.1)
    }

    /// Makes sure that it still runs.
    ///
    /// # Errors
    /// When it does not; the error has its last words.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!("it ended, {status}:\n{}", last.join("\n"));
        }
        Ok(())
    }

    /// Stops it and waits for its end.
    ///
    /// # Errors
    /// When it does not end, or ends with an error.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut kill = Command::new("kill");
        kill.args(["-TERM", &self.pid.to_string()]);
        done(kill, "kill").await?;
        let status = tokio::time::timeout(Duration::from_secs(60), self.child.wait())
            .await
            .context("a program did not stop when asked to")??;
        ensure!(
            status.success(),
            "a program that had to stop ended with {status}, see {}",
            self.log.display()
        );
        Ok(())
    }
}
