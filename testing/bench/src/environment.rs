//! The environment of a scenario: its own servers, and for each run a new database and a new virtual
//! host, which are dropped afterwards.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_net::SecretUrl;
use acequia_publisher::Outgoing;
use acequia_testkit::{ROLES, Services, TestDatabase, VirtualHost};
use acequia_worker::queue_consumer::queues_of;
use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::process;
use crate::{cpu, load};

/// Size of a run.
#[derive(Debug, Clone)]
pub struct Size {
    /// Messages in the queue.
    pub messages: usize,
    /// Seconds of a load with a fixed rate.
    pub seconds: u64,
    /// Seed of the messages.
    pub seed: u64,
    /// Rows that are in the core before a drain, for the scenario `growth`.
    pub rows: Vec<u64>,
    /// Messages per second of the loads of the scenario `latency`.
    pub rates: Vec<u32>,
    /// Whether each run tells what PostgreSQL spent its time on.
    pub statements: bool,
    /// Settings of the workers that differ from the default: name and value of the environment variable.
    pub settings: Vec<(String, String)>,
}

/// Servers, settings, and data that are made once for all runs.
#[derive(Debug)]
pub struct BenchEnv<'a> {
    /// The servers.
    pub services: &'a Services,
    /// Size of the run.
    pub size: Size,
    /// Logs of the processes.
    pub folder: PathBuf,
    messages: OnceCell<Arc<Vec<Outgoing>>>,
}

/// The database that all others are copied from.
const TEMPLATE: &str = "acequia_bench_template";

impl<'a> BenchEnv<'a> {
    /// On servers that run already.
    #[must_use]
    pub fn new(services: &'a Services, size: Size, folder: PathBuf) -> Self {
        Self {
            services,
            size,
            folder,
            messages: OnceCell::new(),
        }
    }

    /// The messages that every case gets.
    ///
    /// # Errors
    /// When the domain cannot make them.
    pub async fn messages(&self) -> anyhow::Result<Arc<Vec<Outgoing>>> {
        let make = async || load::messages(self.size.messages, self.size.seed, &[]).map(Arc::new);
        self.messages.get_or_try_init(make).await.cloned()
    }

    /// A migrated, empty database and a virtual host with its queues.
    ///
    /// # Errors
    /// When a server refuses.
    pub async fn environment(&self) -> anyhow::Result<TestEnv<'_>> {
        let database = self.database().await?;
        self.environment_on(database).await
    }

    /// A migrated, empty database.
    ///
    /// # Errors
    /// When the server refuses or `worker migrate` fails.
    pub async fn database(&self) -> anyhow::Result<TestDatabase> {
        let prepare = async |template: TestDatabase| {
            let mut migrate = Command::new(process::program("worker")?);
            migrate
                .args(["--log", "warn", "migrate"])
                .env("DATABASE_URL", &template.owner);
            for (_, variable) in ROLES {
                migrate.env(variable, self.services.var(variable)?);
            }
            process::done(migrate, "worker migrate").await.map(drop)
        };
        TestDatabase::cloned(self.services, TEMPLATE, prepare).await
    }

    /// Waits until broker and database have done what they do later: the broker moves messages from
    /// its log to its segments, the database sums up statistics.
    ///
    /// # Errors
    /// When a server is gone.
    async fn settle(&self) -> anyhow::Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(500);
        /// Seconds of CPU in that time that are no work.
        const IDLE: f64 = 0.05;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut before = cpu::read(self.services, &[])?;
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = cpu::read(self.services, &[])?;
            let used = now - before;
            if used.rabbitmq + used.postgresql < IDLE {
                return Ok(());
            }
            before = now;
        }
        eprintln!("  the servers do not come to rest; going on");
        Ok(())
    }

    /// A virtual host with its queues beside a database that is there. The broker begins a new
    /// write-ahead log: when it reaches the limit of one (512 MB) in the middle of a run, what waits
    /// in the queue moves to segments and costs half as much again to deliver, to whoever takes it.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn environment_on(&self, database: TestDatabase) -> anyhow::Result<TestEnv<'_>> {
        let begin = ["eval", "ok = ra_log_wal:force_roll_over(ra_log_wal)."];
        self.services.rabbitmqctl(&begin).await?;
        let broker = VirtualHost::create(self.services).await?;
        let environment = TestEnv {
            bench: self,
            database,
            broker,
        };
        let connection = acequia_net::topology::connect(&environment.amqp()?, "bench").await?;
        acequia_net::topology::declare(&connection, &queues_of(&[load::domain()?])).await?;
        connection.close(200, "declared".into()).await?;
        Ok(environment)
    }
}

/// A database and a virtual host.
#[derive(Debug)]
pub struct TestEnv<'a> {
    /// The servers and data that it uses.
    pub bench: &'a BenchEnv<'a>,
    /// The database.
    pub database: TestDatabase,
    /// The virtual host.
    pub broker: VirtualHost,
}

impl TestEnv<'_> {
    /// The broker's address as programs take it.
    ///
    /// # Errors
    /// None in practice.
    pub fn amqp(&self) -> anyhow::Result<SecretUrl> {
        Ok(acequia_publisher::broker_url(&self.broker.url)?)
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

    /// Sends messages to the domain's queue and waits until no work of that is left for the time that
    /// is taken.
    ///
    /// # Errors
    /// When not every message was confirmed.
    pub async fn fill(&self, messages: Arc<Vec<Outgoing>>) -> anyhow::Result<()> {
        let count = messages.len();
        load::send(&self.amqp()?, messages, None).await?;
        let queue = acequia_net::topology::queue_of(load::domain()?.name);
        let there = load::waiting(&self.amqp()?, &queue).await?;
        ensure!(
            there == count,
            "{there} messages are in the queue, not {count}"
        );
        self.checkpoint().await?;
        self.bench.settle().await
    }

    /// Writes the database's changes to its files.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::query("checkpoint")
            .execute(&mut self.admin().await?)
            .await?;
        Ok(())
    }

    /// Takes the worker's right to promote away: its other loops go on, and it can be asked what
    /// staging alone does.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn forbid_promotion(&self) -> anyhow::Result<()> {
        let mut owner = self.owner().await?;
        let functions: Vec<String> = sqlx::query_scalar(
            "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'core'::regnamespace and p.proname like 'promote%'",
        )
        .fetch_all(&mut owner)
        .await?;
        ensure!(
            !functions.is_empty(),
            "there is no function core.promote to forbid"
        );
        for function in functions {
            let revoke =
                format!("revoke execute on function {function} from acequia_worker, public");
            sqlx::query(AssertSqlSafe(revoke))
                .execute(&mut owner)
                .await?;
        }
        Ok(())
    }

    /// Deletes both.
    ///
    /// # Errors
    /// When a server refuses.
    pub async fn clear(self) -> anyhow::Result<()> {
        self.broker
            .call("DELETE", &["vhosts", &self.broker.name], None)
            .await?;
        self.broker
            .call("DELETE", &["users", &self.broker.name], None)
            .await?;
        self.database.drop().await
    }
}

/// The ledger totals of a domain, summed over its entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx_macros::FromRow)]
pub struct LedgerTotals {
    /// Taken from queues.
    pub received: i64,
    /// Seen before.
    pub duplicates: i64,
    /// Waiting for promotion.
    pub staged: i64,
    /// Waiting for a parent.
    pub pending: i64,
    /// In quarantine.
    pub quarantined: i64,
    /// Unaccounted messages.
    pub unaccounted: i64,
}

impl LedgerTotals {
    /// Reads them.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn read(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<Self> {
        sqlx::query_as(
            "select coalesce(sum(received), 0)::bigint as received, coalesce(sum(duplicates), 0)::bigint as duplicates,
                    coalesce(sum(staged), 0)::bigint as staged, coalesce(sum(pending), 0)::bigint as pending,
                    coalesce(sum(quarantined), 0)::bigint as quarantined, coalesce(sum(abs(unaccounted)), 0)::bigint as unaccounted
             from core.conservation where domain = $1",
        )
        .bind(domain.name)
        .fetch_one(connection)
        .await
        .context("core.conservation")
    }
}
