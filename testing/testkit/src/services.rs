//! The servers of a test process.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

static SHARED: OnceCell<Services> = OnceCell::const_new();

/// The login roles, and the variables with their passwords.
pub const ROLES: [(&str, &str); 5] = [
    ("acequia_worker", "ACEQUIA_WORKER_PASSWORD"),
    ("acequia_archive", "ACEQUIA_ARCHIVE_PASSWORD"),
    ("acequia_operator", "ACEQUIA_OPERATOR_PASSWORD"),
    ("acequia_api", "ACEQUIA_API_PASSWORD"),
    ("acequia_analyst", "ACEQUIA_ANALYST_PASSWORD"),
];

/// A private PostgreSQL and a private RabbitMQ.
#[derive(Debug)]
pub struct Services {
    env: HashMap<String, String>,
    dir: PathBuf,
    // Holds the pipe whose end stops the servers; none for servers started elsewhere.
    keeper: Option<Child>,
}

impl Services {
    /// The servers that tests share: those in the folder that `TEST_SERVERS` names, which all processes of a run share,
    /// or without it those of this process, started by the first that asks.
    ///
    /// # Errors
    /// When they cannot be started; the error has the script's last words.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        let servers = async || match std::env::var_os("TEST_SERVERS") {
            Some(dir) => Self::running(dir.into()),
            None => Self::start().await,
        };
        SHARED.get_or_try_init(servers).await
    }

    /// Servers that are started and stopped elsewhere.
    fn running(dir: PathBuf) -> anyhow::Result<Self> {
        let env = read_env(&dir.join("env"))
            .context("TEST_SERVERS is no folder of scripts/services.sh run")?;
        Ok(Self {
            env,
            dir,
            keeper: None,
        })
    }

    /// Servers of one's own, for a test that breaks them. They stop when the value is dropped.
    ///
    /// # Errors
    /// Same as [`Services::shared`].
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with::<&str>(&[]).await
    }

    /// Like [`Services::start`], with options of `services.sh run`, as `--tls`.
    ///
    /// # Errors
    /// Same as [`Services::shared`].
    pub async fn start_with<S: AsRef<OsStr>>(options: &[S]) -> anyhow::Result<Self> {
        let dir =
            std::env::temp_dir().join(format!("acequia-test-{}", uuid::Uuid::now_v7().simple()));
        let mut keeper = Command::new(script())
            .args(["run".as_ref(), dir.as_os_str(), "--any-port".as_ref()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("scripts/services.sh run")?;
        let stdout = keeper.stdout.take().context("no pipe from services.sh")?;
        let mut lines = BufReader::new(stdout).lines();
        match lines.next_line().await? {
            Some(line) if line == "READY" => {}
            other => bail!(
                "scripts/services.sh run did not get ready: {other:?}; run `scripts/services.sh install` once"
            ),
        }
        let env = read_env(&dir.join("env"))?;
        Ok(Self {
            env,
            dir,
            keeper: Some(keeper),
        })
    }

    /// Stops and wipes the servers, and waits until that is done. Without it they go by themselves
    /// a moment after the value.
    ///
    /// # Errors
    /// When the script that does it fails.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(keeper) = &mut self.keeper {
            drop(keeper.stdin.take());
            let status = keeper.wait().await?;
            ensure!(status.success(), "scripts/services.sh run: {status}");
        }
        Ok(())
    }

    /// Starts again what a test has killed, on its old data and ports.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let status = Command::new(script())
            .args(["start".as_ref(), self.dir.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        if !status.success() {
            bail!("scripts/services.sh start: {status}");
        }
        Ok(())
    }

    /// Process id of one of the servers: `postgresql` or `rabbitmq`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pid(&self, server: &str) -> anyhow::Result<u32> {
        let file = match server {
            "postgresql" => Path::new(self.var("POSTGRES_DATA_DIR")?).join("postmaster.pid"),
            _ => self.dir.join("state").join(format!("{server}.pid")),
        };
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        text.split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .with_context(|| format!("no process id in {}", file.display()))
    }

    /// Runs RabbitMQ's control program on this server and returns what it prints.
    ///
    /// # Errors
    /// When the server does not run or the program fails.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.exec(&[&["rabbitmqctl"], arguments].concat()).await
    }

    /// Runs a program of these servers, as `pg_dump`, in their version, and returns what it prints.
    ///
    /// # Errors
    /// When it is not there or fails; the error has its last words.
    pub async fn exec(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = exec(&self.dir)
            .args(command)
            .stdin(Stdio::null())
            .output()
            .await
            .context("scripts/services.sh exec")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {words}", command.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The passwords of the login roles, for `migrate`: (role, password). Every database of these servers is migrated with
    /// all of them, because roles belong to the server.
    ///
    /// # Errors
    /// When `services.sh` wrote none for a role.
    pub fn role_passwords(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let passwords = ROLES.map(|(role, variable)| {
            let password = self.var(variable)?;
            Ok((role, password.to_owned()))
        });
        passwords.into_iter().collect()
    }

    /// Their folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of the addresses that `services.sh` wrote, as `AMQP_URL`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn var(&self, name: &str) -> anyhow::Result<&str> {
        self.env
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("services.sh wrote no {name}"))
    }
}

/// A command whose arguments are a program of the servers in a folder, in their version, and its arguments.
pub(crate) fn exec(dir: &Path) -> Command {
    let mut command = Command::new(script());
    command.args(["exec".as_ref(), dir.as_os_str()]);
    command
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services.sh")
}

fn read_env(path: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
        .collect())
}
