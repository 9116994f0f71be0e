//! A platform for one test: database, virtual host, worker, publisher.

mod ledger;
mod message;
pub mod program;
pub mod school;

use std::ops::Deref;
use std::time::Duration;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_net::topology;
use acequia_testkit::{Services, TestDatabase, TestEnv, free_port};
use acequia_worker::config::LoopArgs;
use acequia_worker::queue_consumer::queues_of;
use acequia_worker::run;
use clap::Parser;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties, Queue};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use ledger::LedgerEntry;
pub use message::{Message, text};

/// Database and virtual host of a test, with workers and publishers on them.
pub struct Platform(pub TestEnv);

impl Deref for Platform {
    type Target = TestEnv;

    fn deref(&self) -> &TestEnv {
        &self.0
    }
}

/// A worker inside the test process.
pub struct RunningWorker {
    pub http: String,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    loops: LoopArgs,
}

impl Platform {
    /// A migrated database and an empty virtual host on the shared servers.
    pub async fn new() -> Self {
        Self(TestEnv::shared(migrate).await.unwrap())
    }

    /// The same on servers of its own, which a test may restart; they go with the process.
    pub async fn own() -> Self {
        Self(TestEnv::own(migrate).await.unwrap())
    }

    /// Starts a worker with short pauses; `options` as on its command line.
    pub fn worker(&self, options: &[&str]) -> RunningWorker {
        self.worker_by(&self.database.worker, &self.broker.url, options)
    }

    /// Starts a worker that reaches its servers by other addresses.
    pub fn worker_by(&self, database: &str, broker: &str, options: &[&str]) -> RunningWorker {
        let port = free_port().unwrap();
        let http = format!("127.0.0.1:{port}");
        let archive = &self.database.archive;
        let mut arguments = vec!["worker", "--http-addr", &http];
        arguments.extend(["--archive-database-url", archive]);
        if !options.contains(&"--refresh-every") {
            arguments.extend(["--refresh-every", "100ms"]);
        }
        arguments.extend(options);
        let settings = Settings::try_parse_from(arguments).unwrap().loops;
        let stop = CancellationToken::new();
        let task = tokio::spawn(run::run(
            SecretUrl::parse(database, &["postgres"]).unwrap(),
            SecretUrl::parse(broker, &["amqp"]).unwrap(),
            settings,
            stop.clone(),
        ));
        RunningWorker { http, stop, task }
    }

    /// The worker's address of the database.
    pub fn database_url(&self) -> SecretUrl {
        SecretUrl::parse(&self.database.worker, &["postgres"]).unwrap()
    }

    /// The worker's address of the broker.
    pub fn broker_url(&self) -> SecretUrl {
        SecretUrl::parse(&self.broker.url, &["amqp"]).unwrap()
    }

    /// Declares exchange and queues, as a worker does when it starts.
    pub async fn declare(&self) {
        let connection = topology::connect(&self.broker_url(), "test").await.unwrap();
        let domains: Vec<_> = catalog().iter().collect();
        topology::declare(&connection, &queues_of(&domains))
            .await
            .unwrap();
        topology::close(&connection).await;
    }

    /// A queue as the broker sees it now: messages ready and consumers. `None` when it is not
    /// there.
    pub async fn queue(&self, name: &str) -> Option<Queue> {
        let (connection, channel) = self.channel().await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare(name.into(), passive, lapin::types::FieldTable::default())
            .await
            .ok();
        topology::close(&connection).await;
        queue
    }

    /// Asserts that no queue has a message left. To be called when no worker runs: what a
    /// worker holds is not seen.
    pub async fn nothing_is_left_in_the_queues(&self) {
        let domains: Vec<_> = catalog().iter().collect();
        for lane in acequia_worker::queue_consumer::QueueConsumer::of(&domains) {
            let queue = self.queue(&lane.queue).await.expect(&lane.queue);
            assert_eq!(queue.message_count(), 0, "left in {}", lane.queue);
        }
    }

    /// Ends all connections of the platform to its database; returns how many.
    pub async fn terminate_backends(&self) -> i64 {
        let mut admin = PgConnection::connect(&self.database.admin).await.unwrap();
        sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and application_name like 'acequia %'",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap()
    }

    /// A channel to the broker in confirm mode.
    pub async fn channel(&self) -> (Connection, lapin::Channel) {
        let connection = Connection::connect(&self.broker.url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(lapin::options::ConfirmSelectOptions::default())
            .await
            .unwrap();
        (connection, channel)
    }

    /// Publishes one message and waits for its confirm.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) {
        let (connection, channel) = self.channel().await;
        let confirm = channel
            .basic_publish(
                exchange.into(),
                routing_key.into(),
                BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                },
                body,
                properties.with_delivery_mode(2),
            )
            .await
            .unwrap()
            .await
            .unwrap();
        // An acknowledgement with a message inside is one that no queue took.
        assert_eq!(confirm, Confirmation::Ack(None));
        topology::close(&connection).await;
    }

    /// Waits until `received` messages are in and nothing is staged any more.
    pub async fn settled(&self, received: i64) {
        let mut connection = self.session().await;
        let begun = std::time::Instant::now();
        loop {
            let (got, staged): (i64, i64) = sqlx::query_as(
                "select coalesce(sum(received), 0)::bigint, coalesce(sum(staged), 0)::bigint from core.conservation",
            )
            .fetch_one(&mut *connection)
            .await
            .unwrap();
            if got >= received && staged == 0 {
                assert_eq!(got, received, "more messages were received than expected");
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "waited in vain: received {got} of {received}, staged {staged}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The messages unaccounted for, summed over domains and entities: always 0.
    pub async fn unaccounted(&self) -> i64 {
        sqlx::query_scalar(
            "select coalesce(sum(abs(unaccounted)), 0)::bigint from core.conservation",
        )
        .fetch_one(&mut *self.session().await)
        .await
        .unwrap()
    }
}

impl RunningWorker {
    /// Waits until /readyz says so, which includes that the queues are declared.
    pub async fn ready(&self) {
        ready(&self.http).await;
    }

    /// Waits until /readyz says that a loop makes no progress, and returns the reason.
    pub async fn not_ready(&self, name: &str) -> String {
        self.not_ready_because(name, &[]).await
    }

    /// Waits until a loop of that name makes no progress for a reason that has all these words. There is one for each domain or
    /// queue: on a busy machine another one than the test means may still start, or be slow for a moment.
    pub async fn not_ready_because(&self, name: &str, words: &[&str]) -> String {
        let mut reason = String::new();
        let mut page = String::new();
        let waited = acequia_testkit::wait_for("a worker that is not ready", async || {
            let (status, body) = get(&self.http, "/readyz").await;
            let report: Value = serde_json::from_str(&body).unwrap_or_default();
            let loops = report["loops"].as_array().cloned().unwrap_or_default();
            let found = loops.iter().find(|entry| {
                let reason = entry["reason"].as_str().unwrap_or_default();
                entry["loop"] == name
                    && entry["ready"] == false
                    && words.iter().all(|word| reason.contains(word))
            });
            if let Some(entry) = found {
                // A queue that is refused to every process makes none unready by itself.
                if entry["refused"] != true {
                    assert_eq!((status, &report["ready"]), (503, &Value::Bool(false)));
                }
                reason = entry["reason"].as_str().unwrap_or_default().to_owned();
            }
            page = body;
            Ok(found.is_some())
        })
        .await;
        assert!(waited.is_ok(), "{waited:?}: {words:?} in {page}");
        reason
    }

    /// The page at /metrics.
    pub async fn metrics(&self) -> String {
        let (status, page) = get(&self.http, "/metrics").await;
        assert_eq!(status, 200);
        page
    }

    /// Waits until the page has a line. Events are counted after the commit that other sessions see.
    pub async fn counts(&self, line: &str) {
        let mut page = String::new();
        let waited = acequia_testkit::wait_for("a line of the metrics", async || {
            page = self.metrics().await;
            Ok(page.lines().any(|found| found == line))
        })
        .await;
        assert!(waited.is_ok(), "{waited:?}: {line} in {page}");
    }

    /// Waits for a worker that ends by itself and returns why.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.task.await.unwrap()
    }

    /// Stops the worker as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits until the worker at an address is ready.
pub async fn ready(http: &str) {
    acequia_testkit::wait_for("a ready worker", async || {
        Ok(get(http, "/readyz").await.0 == 200)
    })
    .await
    .unwrap();
}

/// Status and body of a page of a worker; status 0 when there is no answer.
pub async fn get(http: &str, path: &str) -> (u16, String) {
    let url = format!("http://{http}{path}");
    let ask = move || {
        let request = ureq::get(&url).config().http_status_as_error(false).build();
        let mut response = request.call().ok()?;
        let body = response.body_mut().read_to_string().ok()?;
        Some((response.status().as_u16(), body))
    };
    let answer = tokio::task::spawn_blocking(ask).await.unwrap();
    answer.unwrap_or_default()
}

/// Fills the database that the tests have copies of.
async fn migrate(services: &Services, template: TestDatabase) -> anyhow::Result<()> {
    let owner = SecretUrl::parse(&template.owner, &["postgres"])?;
    acequia_schema::migrate(&owner, &services.role_passwords()?).await?;
    Ok(())
}
