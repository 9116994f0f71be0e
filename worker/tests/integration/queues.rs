//! Queues and their arguments: what the broker does with a message at a queue's limit, and what the
//! worker does with queues that were declared in another way.

use acequia_net::SecretUrl;
use acequia_net::topology::{self, ALERTS, DEAD_QUEUE, REJECTED, queue_of};
use acequia_ops::doctor::{Finding, Places, Verdict, examine};
use acequia_testkit::{rules, wait_for};
use acequia_worker::cli::doctor::schema;
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::support::school::{DOMAIN, alumnos};
use crate::support::{Platform, get, text};

/// Failed deliveries: more than RabbitMQ 4 allows by itself, and more than the domains' queues do.
const CRASHES: usize = 60;
/// The domain with a queue of a reference system.
const OTHER: &str = "consumo";

fn quorum(more: &[(&str, AMQPValue)]) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    for (name, value) in more {
        arguments.insert((*name).into(), value.clone());
    }
    arguments
}

async fn declare(platform: &Platform, queue: &str, arguments: FieldTable) {
    let (connection, channel) = platform.channel().await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), durable, arguments)
        .await
        .unwrap();
    topology::close(&connection).await;
}

/// Confirmed messages in a queue.
async fn bury(platform: &Platform, queue: &str, number: u64) {
    for position in 0..number {
        let id = format!("dead {position}");
        let properties = BasicProperties::default().with_message_id(id.into());
        let body = format!("{{\"n\":{position}}}");
        platform
            .publish("", queue, properties, body.as_bytes())
            .await;
    }
}

/// Takes every message of a queue and goes without a word, again and again, as a worker does that
/// crashes with them.
async fn crash_with(platform: &Platform, queue: &str, messages: u64) {
    for _ in 0..CRASHES {
        let (connection, channel) = platform.channel().await;
        let mut held = Vec::new();
        wait_for("the messages", async || {
            let got = channel
                .basic_get(queue.into(), BasicGetOptions::default())
                .await?;
            held.extend(got);
            Ok(held.len() as u64 == messages)
        })
        .await
        .unwrap();
        topology::close(&connection).await;
    }
}

async fn arguments(platform: &Platform, queue: &str) -> Value {
    let path = ["queues", &platform.broker.name, queue];
    platform.broker.call("GET", &path, None).await.unwrap()["arguments"].clone()
}

async fn doctor(platform: &Platform, management: Option<&SecretUrl>) -> Vec<Finding> {
    let domains: Vec<_> = acequia_contracts::catalog().iter().collect();
    let database = &platform.database_url();
    let places = Places {
        database,
        broker: &platform.broker_url(),
        management,
        archive: None,
    };
    examine(places, &domains, schema(database)).await
}

/// The broker's management, with a login that may use it.
fn management(platform: &Platform) -> SecretUrl {
    let variable = |name| platform.services.var(name).unwrap();
    let login = format!(
        "{}:{}@",
        variable("RABBITMQ_USER"),
        variable("RABBITMQ_PASSWORD")
    );
    let url = variable("RABBITMQ_MANAGEMENT_URL").replace("://", &format!("://{login}"));
    SecretUrl::parse(&url, &["http"]).unwrap()
}

fn finding<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.check == check)
        .unwrap()
}

/// Whatever the broker's version: behind this queue there is nothing, so nothing may leave it by a
/// limit.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_outlive_any_number_of_crashes() {
    let platform = Platform::new().await;
    platform.declare().await;
    let limit = &arguments(&platform, DEAD_QUEUE).await["x-delivery-limit"];
    assert!(
        limit.as_i64().is_some_and(|limit| limit >= 1_000_000),
        "{limit}: RabbitMQ 4 takes 20 where there is none, 3.x takes a negative one for 0"
    );
    bury(&platform, DEAD_QUEUE, 3).await;
    crash_with(&platform, DEAD_QUEUE, 3).await;

    let worker = platform.worker(&[]);
    platform.settled(3).await;
    let quarantined = "select count(*) from raw.quarantine";
    assert_eq!(platform.number(quarantined).await, 3);
    assert_eq!(platform.unaccounted().await, 0);
    platform.nothing_is_left_in_the_queues().await;
    worker.stop().await;
}

/// A domain's queue has a limit, and a dead-letter queue behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_domain_queue_gives_up_is_a_dead_letter() {
    let platform = Platform::new().await;
    platform.declare().await;
    let queue = queue_of(DOMAIN);
    platform.publish_all(&alumnos(1..2)).await;
    let (mut deliveries, limit) = (0, 1_000);
    wait_for("the dead letter", async || {
        let (connection, channel) = platform.channel().await;
        let options = BasicGetOptions::default();
        let got = channel.basic_get(queue.as_str().into(), options).await?;
        deliveries += usize::from(got.is_some());
        topology::close(&connection).await;
        assert!(deliveries < limit, "delivered {deliveries} times");
        let dead = platform.queue(DEAD_QUEUE).await;
        Ok(dead.is_some_and(|dead| dead.message_count() == 1))
    })
    .await
    .unwrap();
    assert!(deliveries > 50, "dead after {deliveries} deliveries");
}

/// An installation from before the limit: its queue stays as it is and goes on being read. What helps
/// is in the doctor's words, and helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_queue_from_before_is_read_and_the_doctor_names_the_policy() {
    let platform = Platform::new().await;
    declare(&platform, DEAD_QUEUE, quorum(&[])).await;
    bury(&platform, DEAD_QUEUE, 2).await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.settled(2).await;
    worker.stop().await;

    let findings = doctor(&platform, None).await;
    let found = finding(&findings, "arguments of acequia.dead");
    assert_eq!(found.verdict, Verdict::Warn);
    assert!(found.found.contains("x-delivery-limit"), "{}", found.found);
    let remedy = found.remedy.clone().unwrap();

    // As it stands there, in the place of an operator's shell.
    let (_, command) = remedy.split_once("rabbitmqctl ").unwrap();
    let (command, _) = command.split_once(" (").unwrap();
    let command = command.replace("VHOST", &platform.broker.name);
    let words: Vec<_> = command
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .collect();
    platform.services.rabbitmqctl(&words).await.unwrap();
    wait_for("the policy", async || {
        let path = ["queues", &platform.broker.name, DEAD_QUEUE];
        let queue = platform.broker.call("GET", &path, None).await?;
        Ok(queue["policy"] == DEAD_QUEUE)
    })
    .await
    .unwrap();
    let findings = doctor(&platform, Some(&management(&platform))).await;
    let found = finding(&findings, "arguments of acequia.dead");
    assert_eq!(found.verdict, Verdict::Ok, "{}", found.found);

    bury(&platform, DEAD_QUEUE, 1).await;
    crash_with(&platform, DEAD_QUEUE, 1).await;
    let left = platform.queue(DEAD_QUEUE).await.unwrap();
    assert_eq!(left.message_count(), 1);
}

/// A queue that was declared in another way stops its own lane, by name; the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_stops_its_own_lane_only() {
    let ways = [
        FieldTable::default(),
        quorum(&[("x-delivery-limit", AMQPValue::LongLongInt(5))]),
        quorum(&[
            ("x-delivery-limit", AMQPValue::LongLongInt(50)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("elsewhere")),
        ]),
    ];
    for (other, way) in ways.into_iter().enumerate() {
        let platform = Platform::new().await;
        let queue = queue_of(OTHER);
        declare(&platform, &queue, way).await;
        platform.declare().await;
        let worker = platform.worker(&[]);
        platform.publish_all(&alumnos(1..3)).await;
        platform.settled(2).await;

        let words = [queue.as_str(), "other arguments", "x-"];
        worker.not_ready_because("ingest", &words).await;
        wait_for("every other lane", async || {
            let (status, report) = get(&worker.http, "/readyz").await;
            let report: Value = serde_json::from_str(&report)?;
            let loops = report["loops"].as_array().unwrap();
            let stands: Vec<_> = loops
                .iter()
                .filter(|entry| entry["ready"] == false)
                .collect();
            let own = stands.iter().any(|entry| {
                entry["loop"] == "ingest"
                    && entry["subject"] == queue.as_str()
                    && entry["refused"] == true
            });
            // A probe must not take it out: it does the others' work, and no other would do this.
            Ok(own && stands.len() == 1 && status == 200)
        })
        .await
        .unwrap();
        worker.stop().await;

        let findings = doctor(&platform, None).await;
        let check = format!("arguments of {queue}");
        assert_eq!(finding(&findings, &check).verdict, Verdict::Fail, "{other}");
        let fine = format!("arguments of {}", queue_of(DOMAIN));
        assert_eq!(finding(&findings, &fine).verdict, Verdict::Ok, "{other}");
    }
}

/// Messages of the outbox are kept for a while even if nobody listens: else a broker counts them as lost.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_outbox_go_to_a_stream_when_nobody_listens() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    for exchange in [ALERTS, REJECTED] {
        let messages = format!(
            "insert into core.outbox (domain, message_id, routing_key, exchange, body) \
             select 'consumo', gen_random_uuid(), 'consumo.anomalia', '{exchange}', '{{}}' from generate_series(1, 7)"
        );
        platform.execute(&messages).await;
        wait_for("the stream", async || {
            let path = ["queues", &platform.broker.name, exchange];
            // That of the notices is declared with the first of them.
            let stream = platform.broker.call("GET", &path, None).await;
            Ok(stream.is_ok_and(|stream| stream["messages"] == 7))
        })
        .await
        .unwrap();
        let arguments = arguments(&platform, exchange).await;
        assert_eq!(arguments["x-queue-type"], "stream");
        assert!(
            arguments["x-max-age"].is_string() && arguments["x-max-length-bytes"].is_number(),
            "{arguments}"
        );
    }
    worker.stop().await;
}

/// The alert on what the broker discards names every way that there is.
#[test]
fn every_way_of_discarding_is_in_the_alert() {
    let rules = rules::rules().unwrap();
    let alert = rules
        .iter()
        .find(|rule| rule.alert.as_deref() == Some("RabbitmqMessagesDiscarded"))
        .unwrap();
    for reason in ["expired", "rejected", "maxlen", "delivery_limit"] {
        let metric = format!("rabbitmq_global_messages_dead_lettered_{reason}_total");
        assert!(alert.expr.contains(&metric), "{metric}");
    }
}
