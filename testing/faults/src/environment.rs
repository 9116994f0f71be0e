//! The test environment of a scenario: servers, a database, a virtual host.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use acequia_testkit::{ROLES, Services, TestDatabase, VirtualHost};
use anyhow::{Context, bail};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

/// A migrated database and an empty virtual host.
#[derive(Debug)]
pub struct TestEnv {
    servers: Servers,
    /// The database.
    pub database: TestDatabase,
    /// The virtual host.
    pub broker: VirtualHost,
    /// Logs of the processes.
    pub folder: PathBuf,
}

#[derive(Debug)]
enum Servers {
    Shared(&'static Services),
    Own(Box<Services>),
}

impl TestEnv {
    /// On servers of its own, for a fault that hits a server, or on those that the scenarios of
    /// this process share.
    ///
    /// # Errors
    /// When servers or migration fail.
    pub async fn set(own_servers: bool) -> anyhow::Result<Self> {
        let servers = if own_servers {
            Servers::Own(Box::new(Services::start().await?))
        } else {
            Servers::Shared(Services::shared().await?)
        };
        let services = match &servers {
            Servers::Shared(services) => *services,
            Servers::Own(services) => services,
        };
        let database =
            TestDatabase::cloned(services, "acequia_faults_template", async |template| {
                let output = migrator(services, &template.owner)?.output().await?;
                let words = String::from_utf8_lossy(&output.stderr);
                anyhow::ensure!(output.status.success(), "worker migrate: {words}");
                Ok(())
            })
            .await?;
        let broker = VirtualHost::create(services).await?;
        let folder =
            std::env::temp_dir().join(format!("acequia-faults-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            servers,
            database,
            broker,
            folder,
        })
    }

    /// The servers.
    #[must_use]
    pub fn services(&self) -> &Services {
        match &self.servers {
            Servers::Shared(services) => services,
            Servers::Own(services) => services,
        }
    }

    /// An empty database beside the migrated one.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn with_empty_database(mut self) -> anyhow::Result<Self> {
        self.database = TestDatabase::empty(self.services()).await?;
        Ok(self)
    }

    /// A connection as owner of the database.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn owner(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.database.owner).await
    }

    /// A connection to the database as superuser.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn admin(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.database.admin).await
    }

    /// Runs statements as superuser.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn execute(&self, statements: &str) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.admin().await?)
            .await?;
        Ok(())
    }

    /// A number that the database tells its superuser.
    ///
    /// # Errors
    /// Errors of the server.
    pub async fn number(&self, query: &str) -> sqlx::Result<i64> {
        sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut self.admin().await?)
            .await
    }

    /// Processes of the database server: all work in its data folder.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn database_processes(&self) -> anyhow::Result<Vec<u32>> {
        let data = PathBuf::from(self.services().var("POSTGRES_DATA_DIR")?);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data) {
                found.push(pid);
            }
        }
        Ok(found)
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let keep = self.folder.join("keep").exists() || std::env::var_os("FAULTS_KEEP").is_some();
        if !std::thread::panicking() && !keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// `worker migrate` on a database.
///
/// # Errors
/// When the passwords of the roles are not known.
pub fn migrator(services: &Services, owner: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(worker_program()?);
    command
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", owner)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for (_, variable) in ROLES {
        command.env(variable, services.var(variable)?);
    }
    Ok(command)
}

/// Sends a signal to a process.
///
/// # Errors
/// When there is no such process.
pub fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("no process {pid} to send {name} to");
    }
    Ok(())
}

/// The worker program: that of `FAULTS_WORKER`, else the one beside this program, which cargo
/// brings up to date first. A stale one would prove nothing.
///
/// # Errors
/// When it cannot be built, or has no fail points.
pub fn worker_program() -> anyhow::Result<&'static PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| find_worker().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn find_worker() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("FAULTS_WORKER") {
        return Ok(given.into());
    }
    let own = std::env::current_exe()?;
    // target/<folder>/faults or target/<folder>/deps/<test>
    let folder = own
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("where this program lies")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => bail!("where this program lies"),
    };
    let output = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(["build", "--quiet", "--workspace", "--bin", "worker"])
        .args(["--profile", profile])
        .output()
        .context("cargo build --bin worker; FAULTS_WORKER names one that is built")?;
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "cargo build --bin worker failed: {words}"
    );
    let program = folder.join("worker");
    anyhow::ensure!(program.is_file(), "there is no {}", program.display());
    Ok(program)
}
