//! A platform for one test: database, virtual host, worker, publisher.

use std::time::Duration;

use acequia_testkit::{Services, TestDatabase, VirtualHost, free_port};
use acequia_worker::config::{LoopArgs, SecretUrl};
use acequia_worker::{migrate, run};
use clap::Parser;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A database, a virtual host, and what was started on them.
pub struct Platform {
    pub services: &'static Services,
    pub database: TestDatabase,
    pub broker: VirtualHost,
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
        let services = Services::shared().await.unwrap();
        let broker = VirtualHost::create(services).await.unwrap();
        Self {
            services,
            database: migrated(services).await,
            broker,
        }
    }

    /// A connection as owner of the database.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.database.owner).await.unwrap()
    }

    /// Starts a worker with short pauses; `options` as on its command line.
    pub fn worker(&self, options: &[&str]) -> RunningWorker {
        let port = free_port().unwrap();
        let http = format!("127.0.0.1:{port}");
        let mut arguments = vec!["worker", "--http-addr", &http];
        if !options.contains(&"--refresh-every") {
            arguments.extend(["--refresh-every", "100ms"]);
        }
        arguments.extend(options);
        let settings = Settings::try_parse_from(arguments).unwrap().loops;
        let stop = CancellationToken::new();
        let task = tokio::spawn(run::run(
            SecretUrl::parse(&self.database.worker, &["postgres"]).unwrap(),
            SecretUrl::parse(&self.broker.url, &["amqp"]).unwrap(),
            settings,
            stop.clone(),
        ));
        RunningWorker { http, stop, task }
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
        assert!(confirm.is_ack(), "not confirmed: {confirm:?}");
        connection.close(200, "done".into()).await.unwrap();
    }

    /// Waits until `received` messages are in and nothing is staged any more.
    pub async fn settled(&self, received: i64) {
        let mut connection = self.connect().await;
        let begun = std::time::Instant::now();
        loop {
            let (got, staged): (i64, i64) = sqlx::query_as(
                "select coalesce(sum(received), 0)::bigint, coalesce(sum(staged), 0)::bigint from core.conservation",
            )
            .fetch_one(&mut connection)
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

    /// The difference of the accounts, summed over domains and entities: always 0.
    pub async fn difference(&self) -> i64 {
        sqlx::query_scalar(
            "select coalesce(sum(abs(difference)), 0)::bigint from core.conservation",
        )
        .fetch_one(&mut self.connect().await)
        .await
        .unwrap()
    }
}

impl RunningWorker {
    /// Waits until /readyz says so, which includes that the queues are declared.
    pub async fn ready(&self) {
        let url = format!("http://{}/readyz", self.http);
        acequia_testkit::wait_for("a ready worker", || {
            let url = url.clone();
            async move {
                let ask = move || ureq::get(&url).call().is_ok();
                Ok(tokio::task::spawn_blocking(ask).await?)
            }
        })
        .await
        .unwrap();
    }

    /// Stops the worker as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A clone of a database that was migrated once.
async fn migrated(services: &Services) -> TestDatabase {
    TestDatabase::cloned(services, "acequia_template", |template| async move {
        let owner = SecretUrl::parse(&template.owner, &["postgres"])?;
        let passwords = [
            (
                "acequia_worker",
                services.var("ACEQUIA_WORKER_PASSWORD")?.to_owned(),
            ),
            (
                "acequia_analyst",
                services.var("ACEQUIA_ANALYST_PASSWORD")?.to_owned(),
            ),
        ];
        migrate::migrate(&owner, &passwords).await?;
        Ok(())
    })
    .await
    .unwrap()
}
