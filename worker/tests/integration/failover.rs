//! Servers of PostgreSQL that take over: what they lack is noticed, and what they are is named.

use acequia_net::SecretUrl;
use acequia_store::db;
use acequia_testkit::{Server, Services, TestEnv, VirtualHost, wait_for};
use tokio::net::TcpListener;

use crate::support::program::{Finished, finish, program};
use crate::support::school::{DOMAIN, alumnos};
use crate::support::{Message, Platform, RunningWorker, get};

/// Two servers, the second a standby of the first, and a broker.
struct Pair {
    first: Server,
    second: Server,
    broker: VirtualHost,
    services: &'static Services,
}

impl Pair {
    async fn new() -> Self {
        let services = Services::shared().await.unwrap();
        let first = Server::start(services).await.unwrap();
        migrate_on(&first).await.unwrap();
        let second = first.standby().await.unwrap();
        let broker = VirtualHost::create(services).await.unwrap();
        Self {
            first,
            second,
            broker,
            services,
        }
    }

    /// The platform as one of the servers has it.
    fn on(&self, server: &Server) -> Platform {
        let broker = self.broker.clone();
        Platform(TestEnv::of(self.services, server.database(), broker))
    }

    /// The worker's address of whichever server writes.
    fn both(&self) -> String {
        let (first, second) = (self.first.address(), self.second.address());
        format!(
            "postgres://acequia_worker:any@{first},{second}/acequia?target_session_attrs=read-write"
        )
    }

    async fn worker(&self) -> RunningWorker {
        let platform = self.on(&self.first);
        let worker = platform.worker_by(&self.both(), &self.broker.url, &["--stall-after", "3s"]);
        worker.ready().await;
        worker
    }

    /// Sends messages, waits until a server has them in its core and they are acknowledged.
    async fn bring(
        &self,
        worker: &RunningWorker,
        server: &Server,
        messages: &[Message],
        received: i64,
    ) {
        let platform = self.on(server);
        platform.publish_all(messages).await;
        platform.settled(received).await;
        wait_for("acknowledgements", async || {
            let page = worker.metrics().await;
            let held = format!("acequia_in_flight_messages{{queue=\"acequia.{DOMAIN}\"}} 0\n");
            Ok(page.contains(&held))
        })
        .await
        .unwrap();
    }
}

async fn migrate_on(server: &Server) -> anyhow::Result<acequia_schema::Report> {
    let owner = SecretUrl::parse(&server.database().owner, &["postgres"])?;
    acequia_schema::migrate(&owner, &[]).await
}

async fn run(database: &str, broker: &str, arguments: &[&str]) -> Finished {
    let mut command = program(arguments);
    command
        .env("DATABASE_URL", database)
        .env("AMQP_URL", broker);
    finish(command).await
}

/// Asserts that exactly this number of messages is reported lost.
async fn missed(worker: &RunningWorker, messages: i64) {
    let line = format!("acequia_lost_messages_total{{domain=\"{DOMAIN}\"}} {messages}\n");
    wait_for("the loss to be noticed", async || {
        Ok(worker.metrics().await.contains(&line))
    })
    .await
    .unwrap();
}

/// Asserts what the operator gets to see of lost messages, and that sending them again is all it takes.
async fn is_explained_and_mended(
    pair: &Pair,
    worker: RunningWorker,
    now: &Server,
    kept: i64,
    lost: &[Message],
) {
    let count = i64::try_from(lost.len()).unwrap();
    let platform = pair.on(now);
    let noted = platform
        .number("select sum(messages)::bigint from core.lost_batches where worker <> '' and domain = 'academico'")
        .await;
    assert_eq!(noted, count);
    // A number that was lost is never given to another batch.
    let used_twice =
        "select count(*) from core.batches b join core.lost_batches l using (batch_id)";
    assert_eq!(platform.number(used_twice).await, 0);

    let doctor = run(&pair.both(), &pair.broker.url, &["doctor"]).await;
    let words = format!("WARN failover                 {count} acknowledged messages");
    assert!(doctor.stdout.contains(&words), "{}", doctor.stdout);
    let trace = run(&pair.both(), &pair.broker.url, &["trace", lost[0].id()]).await;
    assert_eq!(trace.status.code(), Some(1));
    let words = format!("{count} acknowledged messages of academico");
    assert!(trace.stderr.contains(&words), "{}", trace.stderr);

    pair.bring(&worker, now, lost, kept + count).await;
    assert_eq!(platform.total().await.duplicates, 0);
    assert_eq!(platform.unaccounted().await, 0);
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        kept + count
    );
    assert_eq!(platform.number(used_twice).await, 0);
    missed(&worker, count).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_asynchronous_standby_lacks_is_noticed() {
    let pair = Pair::new().await;
    let worker = pair.worker().await;
    let kept = alumnos(1..6);
    pair.bring(&worker, &pair.first, &kept, 5).await;
    pair.first.is_followed_by(&pair.second).await.unwrap();

    pair.second.stop_receiving().await.unwrap();
    let lost = alumnos(6..13);
    for (message, received) in lost.iter().zip(6..) {
        let message = std::slice::from_ref(message);
        pair.bring(&worker, &pair.first, message, received).await;
    }
    pair.first.signal("KILL").await.unwrap();
    pair.second.promote().await.unwrap();
    missed(&worker, 7).await;
    let platform = pair.on(&pair.second);
    assert_eq!(
        platform
            .texts("select distinct timeline::text from core.lost_batches")
            .await,
        ["2"]
    );
    is_explained_and_mended(&pair, worker, &pair.second, 5, &lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_primary_that_gets_its_role_back_is_noticed() {
    let pair = Pair::new().await;
    let worker = pair.worker().await;
    let kept = alumnos(1..6);
    pair.bring(&worker, &pair.first, &kept, 5).await;
    pair.first.is_followed_by(&pair.second).await.unwrap();

    pair.first.signal("STOP").await.unwrap();
    pair.second.promote().await.unwrap();
    let lost = alumnos(6..13);
    pair.bring(&worker, &pair.second, &lost, 12).await;
    pair.second.signal("KILL").await.unwrap();
    pair.first.signal("CONT").await.unwrap();
    missed(&worker, 7).await;
    is_explained_and_mended(&pair, worker, &pair.first, 5, &lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_nothing_is_no_alarm() {
    let pair = Pair::new().await;
    let worker = pair.worker().await;
    pair.bring(&worker, &pair.first, &alumnos(1..6), 5).await;
    pair.first.is_followed_by(&pair.second).await.unwrap();
    pair.first.signal("KILL").await.unwrap();
    pair.second.promote().await.unwrap();
    pair.bring(&worker, &pair.second, &alumnos(6..10), 9).await;
    missed(&worker, 0).await;
    let platform = pair.on(&pair.second);
    assert_eq!(
        platform
            .number("select count(*) from core.lost_batches")
            .await,
        0
    );
    assert_eq!(
        platform
            .texts("select timeline::text from core.servers order by since")
            .await,
        ["1", "2"]
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_written_to_is_named_for_what_it_is() {
    let pair = Pair::new().await;
    let read_only = "alter database acequia set default_transaction_read_only = on";
    pair.first.is_followed_by(&pair.second).await.unwrap();
    // A proxy without a server accepts the connection and closes it.
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let hang_up = tokio::spawn(async move { while proxy.accept().await.is_ok() {} });
    let of = |address: &str| format!("postgres://acequia_worker:any@{address}/acequia");
    let standby = of(&pair.second.address());
    let both = of(&format!("{address},{}", pair.second.address()));
    let none = [
        (standby.clone(), vec!["is a standby"]),
        (format!("{standby}?sslmode=disable"), vec!["is a standby"]),
        (of(&address), vec!["proxy", "no primary"]),
        (
            format!("{}?sslmode=disable", of(&address)),
            vec!["proxy", "no primary"],
        ),
        (both, vec!["none of the servers", "proxy", "is a standby"]),
    ];
    let is_named = async |url: &str, words: &[&str]| {
        let doctor = run(url, &pair.broker.url, &["doctor"]).await;
        assert_eq!(doctor.status.code(), Some(1), "{}", doctor.stdout);
        let failed: Vec<_> = doctor
            .stdout
            .lines()
            .filter(|line| line.starts_with("FAIL"))
            .collect();
        let migrate = run(url, &pair.broker.url, &["migrate"]).await;
        assert_eq!(migrate.status.code(), Some(2), "{}", migrate.stdout);
        let worker = pair.on(&pair.first).worker_by(url, &pair.broker.url, &[]);
        let mut waits_for = String::new();
        wait_for("a worker that says what it waits for", async || {
            let (_, body) = get(&worker.http, "/readyz").await;
            let report: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            waits_for = report["waiting_for"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Ok(!waits_for.is_empty())
        })
        .await
        .unwrap();
        worker.stop().await;
        for text in [&failed.join("\n"), &migrate.stderr, &waits_for] {
            for word in words {
                assert!(text.contains(word), "{word:?} is not in {text:?}");
            }
        }
    };
    for (url, words) in &none {
        is_named(url, words).await;
    }
    // With leave to use any server, what only reads can be looked at.
    let any = format!("{standby}?target_session_attrs=any");
    let trace = run(&any, &pair.broker.url, &["trace", "x"]).await;
    assert_eq!(trace.status.code(), Some(1), "{}", trace.stderr);
    pair.first.execute(read_only).await.unwrap();
    is_named(
        &of(&pair.first.address()),
        &["default_transaction_read_only"],
    )
    .await;
    hang_up.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_server_that_writes_is_taken() {
    let pair = Pair::new().await;
    let nobody = acequia_testkit::free_port().unwrap();
    let (first, second) = (pair.first.address(), pair.second.address());
    for hosts in [
        format!("{first},{second}"),
        format!("{second},{first}"),
        format!("127.0.0.1:{nobody},{second},{first}"),
    ] {
        let url = format!("postgres://acequia_worker:any@{hosts}/acequia");
        let url = SecretUrl::parse(&url, &["postgres"]).unwrap();
        let mut connection = db::connect(&url, "test").await.unwrap();
        let port: i32 = sqlx::query_scalar("select inet_server_port()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(first.ends_with(&format!(":{port}")), "{hosts}: {port}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_waits_for_its_standby_is_named() {
    let pair = Pair::new().await;
    let worker = pair.worker().await;
    // Whoever has the name of the standby: it is gone.
    pair.second.signal("KILL").await.unwrap();
    pair.first
        .set("synchronous_standby_names", "*")
        .await
        .unwrap();
    let platform = pair.on(&pair.first);
    platform.publish_all(&alumnos(1..4)).await;
    wait_for("a reason that names the standby", async || {
        let (_, body) = get(&worker.http, "/readyz").await;
        Ok(body.contains("a commit waits for its synchronous standby"))
    })
    .await
    .unwrap();
    let doctor = run(&pair.both(), &pair.broker.url, &["doctor"]).await;
    assert_eq!(doctor.status.code(), Some(1));
    assert!(doctor.stdout.contains("FAIL standbys"), "{}", doctor.stdout);

    pair.first
        .set("synchronous_standby_names", "")
        .await
        .unwrap();
    platform.settled(3).await;
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standbys_without_a_synchronous_one_are_a_warning() {
    let pair = Pair::new().await;
    // A standby answers before it follows.
    wait_for("a standby that follows", async || {
        pair.first
            .holds("exists (select from pg_stat_replication where state = 'streaming')")
            .await
    })
    .await
    .unwrap();
    let standbys = async || {
        let doctor = run(&pair.both(), &pair.broker.url, &["doctor"]).await;
        let at = doctor.stdout.find("standbys").expect(&doctor.stdout);
        doctor.stdout[at.saturating_sub("WARN ".len())..].to_owned()
    };
    let warning = standbys().await;
    assert!(warning.starts_with("WARN standbys"), "{warning}");
    assert!(
        warning.contains("synchronous_standby_names = 'ANY 1 (*)'"),
        "{warning}"
    );
    pair.first
        .set("synchronous_standby_names", "*")
        .await
        .unwrap();
    wait_for("a synchronous standby", async || {
        pair.first
            .holds("exists (select from pg_stat_replication where sync_state = 'sync')")
            .await
    })
    .await
    .unwrap();
    assert!(standbys().await.starts_with("ok   standbys"));
}
