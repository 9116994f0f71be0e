//! A PostgreSQL of a test's own, which it may kill, freeze, and fail over to a standby.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::{Child, Command};

use crate::services::exec;
use crate::{Services, TestDatabase, free_port, wait_for};

/// The name of its database.
const DATABASE: &str = "acequia";
/// Runs a server until standard input ends, then leaves nothing of it: the end of the test process,
/// whatever ends it, closes the pipe. Arguments: folder, user or nothing, program and its arguments.
const KEEPER: &str = r#"
dir=$1 user=$2
shift 2
if [ -n "$user" ]; then set -- setpriv --reuid "$user" --regid "$user" --init-groups "$@"; fi
"$@" >"$dir/server.log" 2>&1 </dev/null &
read -r _
kill -KILL $! 2>/dev/null
wait
rm -rf "$dir"
"#;

/// A server. It ends, and its data is deleted, with the value.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    /// Folder of the servers whose programs it runs.
    services: PathBuf,
    port: u16,
    _keeper: Child,
}

impl Server {
    /// A new server with an empty database; of the same version as the shared one. Every user of this
    /// machine may connect, with any password.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(services: &Services) -> anyhow::Result<Self> {
        let services = services.dir().to_owned();
        let dir = folder().await?;
        let data = dir.join("data");
        let initdb = [
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--pgdata",
        ];
        let mut command = as_postgres(&services, "initdb");
        run(command.args(initdb).arg(&data)).await?;
        let server = Self::launch(dir, services)?;
        server.answers().await?;
        for statement in [
            "create role app login createrole createdb".to_owned(),
            "grant pg_monitor to app".to_owned(),
            "grant set on parameter session_replication_role to app with grant option".to_owned(),
            format!("create database {DATABASE} owner app"),
        ] {
            server.execute(&statement).await?;
        }
        Ok(server)
    }

    /// A streaming standby with all data of this server.
    ///
    /// # Errors
    /// When it cannot be copied or does not start.
    pub async fn standby(&self) -> anyhow::Result<Self> {
        let dir = folder().await?;
        let mut command = as_postgres(&self.services, "pg_basebackup");
        command.args([
            "--host=127.0.0.1",
            "--username=postgres",
            "--checkpoint=fast",
        ]);
        command.args(["--write-recovery-conf", "--no-sync"]);
        command.arg(format!("--port={}", self.port));
        run(command.arg("--pgdata").arg(dir.join("data"))).await?;
        let standby = Self::launch(dir, self.services.clone())?;
        standby.answers().await?;
        Ok(standby)
    }

    fn launch(dir: PathBuf, services: PathBuf) -> anyhow::Result<Self> {
        let port = free_port()?;
        let user = if is_root() { "postgres" } else { "" };
        let keeper = exec(&services)
            .args(["sh", "-c", KEEPER, "sh"])
            .arg(&dir)
            .arg(user)
            .arg("postgres")
            .arg("-D")
            .arg(dir.join("data"))
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "shared_buffers=32MB"])
            .args(["-c", "timezone=UTC"])
            .stdin(Stdio::piped())
            .spawn()
            .context("sh")?;
        Ok(Self {
            dir,
            services,
            port,
            _keeper: keeper,
        })
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let answers = async || {
            Ok(PgConnection::connect(&self.url("postgres", "postgres"))
                .await
                .is_ok())
        };
        wait_for("a server of a test's own", answers)
            .await
            .with_context(|| {
                std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
            })
    }

    /// Its address, for a role and a database.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:any@127.0.0.1:{}/{database}", self.port)
    }

    /// Its host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its database, as each role.
    #[must_use]
    pub fn database(&self) -> TestDatabase {
        TestDatabase {
            owner: self.url("app", DATABASE),
            worker: self.url("acequia_worker", DATABASE),
            archive: self.url("acequia_archive", DATABASE),
            operator: self.url("acequia_operator", DATABASE),
            api: self.url("acequia_api", DATABASE),
            analyst: self.url("acequia_analyst", DATABASE),
            admin: self.url("postgres", DATABASE),
        }
    }

    /// Runs a statement as superuser.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.url("postgres", "postgres")).await?;
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut admin)
            .await
            .with_context(|| statement.to_owned())?;
        Ok(())
    }

    /// Whether a condition holds, asked as superuser.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn holds(&self, condition: &str) -> anyhow::Result<bool> {
        let mut admin = PgConnection::connect(&self.url("postgres", "postgres")).await?;
        let holds = sqlx::query_scalar(AssertSqlSafe(format!("select {condition}")));
        Ok(holds.fetch_one(&mut admin).await?)
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set(&self, setting: &str, value: &str) -> anyhow::Result<()> {
        self.execute(&format!("alter system set {setting} = '{value}'"))
            .await?;
        self.execute("select pg_reload_conf()").await
    }

    /// Waits until a standby has all that this server has written.
    ///
    /// # Errors
    /// When the standby does not catch up in time.
    pub async fn is_followed_by(&self, standby: &Self) -> anyhow::Result<()> {
        let mut admin = PgConnection::connect(&self.url("postgres", "postgres")).await?;
        let written: String = sqlx::query_scalar("select pg_current_wal_lsn()::text")
            .fetch_one(&mut admin)
            .await?;
        let there = format!("pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
        wait_for("a standby that follows", async || {
            standby.holds(&there).await
        })
        .await
    }

    /// As a standby: receives nothing from now on.
    ///
    /// # Errors
    /// When it goes on receiving.
    pub async fn stop_receiving(&self) -> anyhow::Result<()> {
        self.set("primary_conninfo", "").await?;
        let none = "not exists (select from pg_stat_wal_receiver)";
        wait_for("a standby that receives nothing", async || {
            self.holds(none).await
        })
        .await
    }

    /// As a standby: becomes a primary.
    ///
    /// # Errors
    /// When it does not.
    pub async fn promote(&self) -> anyhow::Result<()> {
        ensure!(self.holds("pg_promote()").await?, "not promoted");
        Ok(())
    }

    /// Sends a signal, as KILL, STOP or CONT, to all its processes.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let file = self.dir.join("data/postmaster.pid");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let main: u32 = text.lines().next().unwrap_or_default().parse()?;
        // The first process first: it can start no others then, nor wonder what became of them.
        run(Command::new("kill").args(["-s", signal, &main.to_string()])).await?;
        let children = format!("/proc/{main}/task/{main}/children");
        for child in std::fs::read_to_string(children)
            .unwrap_or_default()
            .split_whitespace()
        {
            // One that has just ended is as good.
            let _ = run(Command::new("kill").args(["-s", signal, child])).await;
        }
        Ok(())
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|this| {
        use std::os::unix::fs::MetadataExt;
        this.uid() == 0
    })
}

/// A program of PostgreSQL, which refuses to work for root.
fn as_postgres(services: &Path, program: &str) -> Command {
    let mut command = exec(services);
    if is_root() {
        command.args(["setpriv", "--reuid", "postgres", "--regid", "postgres"]);
        command.arg("--init-groups");
    }
    command.arg(program);
    command
}

/// A folder that the server may write to.
async fn folder() -> anyhow::Result<PathBuf> {
    let name = format!("acequia-server-{}", uuid::Uuid::now_v7().simple());
    let dir = std::env::temp_dir().join(name);
    let mut install = Command::new("install");
    install.args(["-d", "-m", "700"]);
    if is_root() {
        install.args(["-o", "postgres"]);
    }
    run(install.arg(&dir)).await?;
    Ok(dir)
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .await
        .with_context(|| format!("{:?}", command.as_std().get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?}: {}",
            command.as_std().get_program(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
