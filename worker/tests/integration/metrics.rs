//! The page at /metrics against its specification, `prometheus/metrics.yml`.

use std::process::Stdio;
use std::time::Duration;

use acequia_contracts::envelope::UNKNOWN;
use acequia_contracts::{Code, catalog};
use acequia_testkit::metrics::{Page, Series, Sources, Spec};
use acequia_testkit::{Proxy, root, wait_for};
use acequia_worker::queue_consumer::QueueConsumer;
use lapin::BasicProperties;
use sqlx::PgConnection;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::school::{DOMAIN, alumno_body, alumnos};
use crate::support::{Message, Platform, RunningWorker};

/// Rewrites docs/metrics.md where the test finds it old.
const REWRITE: &str = "ACEQUIA_REWRITE=1 cargo test -p acequia-worker --test integration metrics::the_page_for_people";

/// A tick, for the series of ticks.
const TICK: &str = "create function academico.late(p_at timestamptz) returns integer language sql as 'select 0'; \
    insert into core.ticks (function, domain, every) values ('academico.late', 'academico', '1 hour')";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_what_the_specification_says() {
    let platform = Platform::new().await;
    platform.execute(TICK).await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let sources = sources(&mut platform.connect().await).await;
    let spec = Spec::read().unwrap();
    let differences = async || {
        let page = Page::parse(&worker.metrics().await).unwrap();
        spec.differences("worker", &page, &sources)
    };
    // Rules appear with their first run.
    let mut last = Vec::new();
    let same = wait_for("the page of the specification", async || {
        last = differences().await;
        Ok(last.is_empty())
    });
    let same = same.await.is_ok();
    assert!(same, "{}", last.join("\n"));

    let page = worker.metrics().await;
    promtool(&page).await;
    let domains = catalog().len();
    let most = 60_000 + 40_000 * domains;
    assert!(page.len() < most, "{} bytes, {domains} domains", page.len());

    platform.publish_all(&alumnos(1..11)).await;
    platform.settled(10).await;
    let labels = [
        ("domain", DOMAIN),
        ("entity", "alumno"),
        ("outcome", "inserted"),
    ];
    let counted = async |name: &str, labels: &[(&str, &str)]| {
        let page = Page::parse(&worker.metrics().await).unwrap();
        page.value(name, labels)
    };
    wait_for("the counters", async || {
        Ok(counted("acequia_promoted_rows_total", &labels).await == Some(10.0))
    })
    .await
    .unwrap();
    // Every message counts in the latency, not every promotion.
    let observed = counted(
        "acequia_end_to_end_duration_seconds_count",
        &[("domain", DOMAIN)],
    );
    assert_eq!(observed.await, Some(0.0), "these have no publish time");
    for lane in QueueConsumer::of(&catalog().iter().collect::<Vec<_>>()) {
        let queue = [("queue", lane.queue.as_str())];
        wait_for("nothing in flight", async || {
            Ok(
                counted("acequia_in_flight_messages", &queue).await == Some(0.0)
                    && counted("acequia_in_flight_bytes", &queue).await == Some(0.0),
            )
        })
        .await
        .unwrap();
        assert!(counted("acequia_prefetch_messages", &queue).await > Some(0.0));
    }
    worker.stop().await;
}

/// A name that a message brings never becomes the value of a label, nor a label, nor a series.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_makes_a_series() {
    const PLANTED: &str = "planted7c1f";
    let platform = Platform::new().await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    worker.ready().await;
    let before = names(&worker).await;
    let mut messages = Vec::new();
    for number in 0..20 {
        let name = format!("{PLANTED}{number}");
        let unknown = Message::new(DOMAIN, &name, alumno_body(number).to_string());
        let fields = format!(r#"{{"{name}":1,"entity":"{name}"}}"#);
        let mut typed = Message::new(DOMAIN, "alumno", fields.clone());
        typed.properties = BasicProperties::default()
            .with_type(name.as_str().into())
            .with_app_id(name.as_str().into())
            .with_message_id(name.as_str().into());
        messages.extend([
            unknown,
            typed,
            Message::new(DOMAIN, "calificacion", fields),
            Message::new(DOMAIN, "alumno", format!("{name} is no JSON")),
            Message::straight("etl", format!(r#"{{"entity":"{name}"}}"#)),
            Message::straight(acequia_net::topology::DEAD_QUEUE, name.clone())
                .with_id(&format!("{name}-dead")),
        ]);
    }
    platform.publish_all(&messages).await;
    platform
        .settled(i64::try_from(messages.len()).unwrap())
        .await;
    let quarantined = async || {
        let page = Page::parse(&worker.metrics().await).unwrap();
        let family = &page.families["acequia_quarantined_messages_total"];
        family.series.iter().map(|series| series.value).sum::<f64>()
    };
    wait_for("the counters", async || {
        Ok(quarantined().await >= messages.len() as f64)
    })
    .await
    .unwrap();
    let page = worker.metrics().await;
    assert!(!page.contains(PLANTED), "{page}");
    assert_eq!(names(&worker).await, before);
    worker.stop().await;
}

/// A program that lost its database still has a page, and says so on it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_without_a_database_too() {
    let platform = Platform::new().await;
    let proxy = Proxy::to(&platform.database.worker).await.unwrap();
    let slow = proxy.url(&platform.database.worker).unwrap();
    let worker = platform.worker_by(&slow, &platform.broker.url, &[]);
    worker.ready().await;
    let readable = async || {
        let page = Page::parse(&worker.metrics().await).unwrap();
        page.value("acequia_database_readable", &[])
    };
    assert_eq!(readable().await, Some(1.0));
    // As a server does that is frozen: connections are there, answers are not.
    proxy.delay(Duration::from_secs(600));
    wait_for("a page that says so", async || {
        Ok(readable().await == Some(0.0))
    })
    .await
    .unwrap();
    let page = Page::parse(&worker.metrics().await).unwrap();
    let staged = page.value("acequia_staged_rows", &[("domain", DOMAIN)]);
    assert_eq!(staged, None, "an old value would be worse than none");
    proxy.delay(Duration::ZERO);
    proxy.cut(true);
    proxy.cut(false);
    wait_for("the gauges", async || Ok(readable().await == Some(1.0)))
        .await
        .unwrap();
    worker.stop().await;
}

/// Messages that wait in the outbox and in quarantine are counted without reading quarantine's partitions:
/// there is one for each day that messages were refused on.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_counted_without_reading_quarantine() {
    const DEAD: &str = acequia_net::topology::DEAD_QUEUE;
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform
        .publish_all(&[Message::straight(DEAD, "given up").with_id("dead")])
        .await;
    wait_for("a message in quarantine", async || {
        let open = "select count(*) from core.quarantine_open";
        Ok(platform.number(open).await == 1)
    })
    .await
    .unwrap();
    let mut other = platform.connect().await;
    sqlx::raw_sql("begin; lock table raw.quarantine in access exclusive mode")
        .execute(&mut other)
        .await
        .unwrap();
    platform
        .execute(
            // The broker has refused it: it is not sent again for now.
            "insert into core.outbox (domain, routing_key, body, created_at, attempts, retry_at)
             values ('academico', 'told', '{}', now() - interval '1 hour', 1, now() + interval '1 hour')",
        )
        .await;
    let sum = |page: &Page, name: &str| {
        let series = page.families[name].series.iter();
        series.map(|series| series.value).sum::<f64>()
    };
    wait_for("a page that counts both", async || {
        let page = Page::parse(&worker.metrics().await).unwrap();
        let readable = page.value("acequia_database_readable", &[]);
        assert_eq!(readable, Some(1.0), "the page waits for quarantine");
        Ok(sum(&page, "acequia_quarantine_open_rows") == 1.0
            && sum(&page, "acequia_outbox_waiting_messages") == 1.0
            && sum(&page, "acequia_outbox_oldest_age_seconds") >= 3600.0)
    })
    .await
    .unwrap();
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    worker.stop().await;
}

/// Metrics tell a server that answers late from one that has much to do.
#[tokio::test(flavor = "multi_thread")]
async fn late_answers_of_the_servers_are_measured() {
    let platform = Platform::new().await;
    let database = Proxy::to(&platform.database.worker).await.unwrap();
    let broker = Proxy::to(&platform.broker.url).await.unwrap();
    let (of_broker, of_database) = (
        "acequia_broker_ping_duration_seconds",
        "acequia_database_ping_duration_seconds",
    );
    for (proxy, slow, quick) in [
        (&broker, of_broker, of_database),
        (&database, of_database, of_broker),
    ] {
        // A worker for each: of the one before answers may still be under way.
        let worker = platform.worker_by(
            &database.url(&platform.database.worker).unwrap(),
            &broker.url(&platform.broker.url).unwrap(),
            &[],
        );
        worker.ready().await;
        // Answers that took more than a second.
        let late = async |name: &str| {
            let page = Page::parse(&worker.metrics().await).unwrap();
            let count = |series: &&Series| series.name.ends_with("_count");
            let prompt = |series: &&Series| series.labels.get("le").is_some_and(|le| le == "1");
            let sum = |some: &dyn Fn(&&Series) -> bool| {
                let series = page.families[name].series.iter().filter(some);
                series.map(|series| series.value).sum::<f64>()
            };
            sum(&count) - sum(&prompt)
        };
        let before = (late(slow).await, late(quick).await);
        proxy.delay(Duration::from_millis(1200));
        wait_for("a late answer", async || Ok(late(slow).await > before.0))
            .await
            .unwrap();
        assert!(late(quick).await <= before.1, "{quick}");
        proxy.delay(Duration::ZERO);
        worker.stop().await;
    }
}

/// docs/metrics.md is written from the specification.
#[test]
fn the_page_for_people_is_current() {
    let file = root().join("docs/metrics.md");
    let wanted = Spec::read().unwrap().markdown();
    if std::env::var_os("ACEQUIA_REWRITE").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == wanted,
        "docs/metrics.md is not what prometheus/metrics.yml says; write it with\n  {REWRITE}"
    );
}

/// Every series of a page, without values.
async fn names(worker: &RunningWorker) -> Vec<String> {
    let page = worker.metrics().await;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    // Metrics of rules appear with their first run.
    let lines = lines.filter(|line| !line.starts_with("acequia_dq_"));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Allowed values of the labels on this platform.
async fn sources(connection: &mut PgConnection) -> Sources {
    let domains: Vec<_> = catalog().iter().collect();
    let queues: Vec<String> = QueueConsumer::of(&domains)
        .into_iter()
        .map(|lane| lane.queue)
        .collect();
    let names: Vec<String> = domains
        .iter()
        .map(|domain| domain.name.to_owned())
        .collect();
    let entities: Vec<String> = domains
        .iter()
        .flat_map(|domain| &domain.entities)
        .map(|entity| entity.name.to_owned())
        .collect();
    let mut list = async |query: &'static str| -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&mut *connection)
            .await
            .unwrap()
    };
    let or_unknown = |list: &[String]| [list, &[UNKNOWN.to_owned()]].concat();
    Sources::from([
        ("mart", list("select mart from core.marts").await),
        (
            "materialized_mart",
            list("select mart from core.marts where kind = 'materialized'").await,
        ),
        (
            "rule",
            list("select rule from core.dq_rules where enabled").await,
        ),
        (
            "archived_table",
            list("select table_name from core.lifecycle_policies").await,
        ),
        ("tick", list("select function from core.ticks").await),
        ("code", Code::ALL.iter().map(ToString::to_string).collect()),
        ("program", vec!["worker".to_owned()]),
        ("version", vec![env!("CARGO_PKG_VERSION").to_owned()]),
        (
            "queue_or_domain",
            [&queues[..], &names, &["queues".to_owned()]].concat(),
        ),
        ("domain_or_unknown", or_unknown(&names)),
        ("entity_or_unknown", or_unknown(&entities)),
        ("queue", queues),
        ("domain", names),
        ("entity", entities),
    ])
}

/// Prometheus' own opinion.
async fn promtool(page: &str) {
    let mut command = Command::new("promtool");
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .expect("promtool; scripts/services.sh install --observability");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
