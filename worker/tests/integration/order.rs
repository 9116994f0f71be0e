//! Messages of the outbox come in order per key, whatever the number of workers and whatever breaks.

use std::collections::BTreeMap;

use acequia_net::topology::{ALERTS, close};
use acequia_testkit::wait_for;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::Platform;

const EARS: &str = "test.order";
const KEYS: usize = 7;

impl Platform {
    /// Binds a queue to a routing key of the alerts exchange.
    async fn listen_to(&self, queue: &str, routing_key: &str, arguments: FieldTable) {
        let (connection, channel) = self.channel().await;
        let options = QueueDeclareOptions::default();
        let declare = channel.queue_declare(queue.into(), options, arguments);
        declare.await.unwrap();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bind = channel.queue_bind(
            queue.into(),
            ALERTS.into(),
            routing_key.into(),
            options,
            none,
        );
        bind.await.unwrap();
        close(&connection).await;
    }

    /// Takes what a queue has: key, number of the message, number of its header.
    async fn heard(&self, queue: &str) -> Vec<(String, i64, i64)> {
        let (connection, channel) = self.channel().await;
        let mut heard = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(queue.into(), options).await.unwrap() {
            let body: Value = serde_json::from_slice(&message.data).unwrap();
            let headers = message.properties.headers().clone().unwrap_or_default();
            let header = |name: &str| headers.inner().get(name).cloned();
            let Some(AMQPValue::LongLongInt(sequence)) = header("x-sequence") else {
                panic!("no number: {headers:?}");
            };
            let Some(AMQPValue::LongString(key)) = header("x-key") else {
                panic!("no key: {headers:?}");
            };
            heard.push((key.to_string(), body["n"].as_i64().unwrap(), sequence));
        }
        close(&connection).await;
        heard
    }

    /// Writes messages of several keys: the first, the second, ... of each.
    async fn tell(&self, routing_key: &str, numbers: std::ops::Range<i64>) {
        self.execute(&format!(
            "insert into core.outbox (domain, routing_key, key, body)
             select 'academico', '{routing_key}', 'k' || k, jsonb_build_object('n', n)
             from generate_series({}, {}) n, generate_series(1, {KEYS}) k order by n, k",
            numbers.start,
            numbers.end - 1
        ))
        .await;
    }

    async fn untold(&self, routing_key: &str) -> i64 {
        self.number(&format!(
            "select count(*) from core.outbox where published_at is null and routing_key = '{routing_key}'"
        ))
        .await
    }
}

/// The messages of each key, in the order of their first arrival. Asserts that a newer message has a greater number than
/// an older one, so that a listener can tell them apart.
fn first_times(heard: &[(String, i64, i64)]) -> BTreeMap<String, Vec<i64>> {
    let mut first = BTreeMap::<_, Vec<i64>>::new();
    let mut numbers = BTreeMap::new();
    for (key, n, sequence) in heard {
        let seen = first.entry(key.clone()).or_default();
        if !seen.contains(n) {
            seen.push(*n);
        }
        let same = *numbers.entry((key.clone(), *n)).or_insert(*sequence);
        assert_eq!(same, *sequence, "a copy has the number of the first");
    }
    for ((key, n), sequence) in &numbers {
        let later = numbers.range((key.clone(), n + 1)..).next();
        if let Some(((other, _), next)) = later
            && other == key
        {
            assert!(next > sequence, "{key}: {n}");
        }
    }
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_and_crashes_keep_the_order_of_a_key() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform
        .listen_to(EARS, "test.told", FieldTable::default())
        .await;
    let workers = [platform.worker(&[]), platform.worker(&[])];
    let mut said = 0;
    for _ in 0..4 {
        let mut doomed = platform.program_with(&[], &[("ACEQUIA_FAILPOINT", "after_confirms:1")]);
        // Twenty inserts of three messages per key, while three workers relay them.
        for _ in 0..20 {
            platform.tell("test.told", said..said + 3).await;
            said += 3;
        }
        wait_for("an empty outbox", async || {
            doomed.ended();
            Ok(platform.untold("test.told").await == 0)
        })
        .await
        .unwrap();
        doomed.kill().await;
    }
    let first = first_times(&platform.heard(EARS).await);
    assert_eq!(first.len(), KEYS);
    for (key, numbers) in first {
        assert_eq!(numbers, (0..said).collect::<Vec<_>>(), "{key}");
    }
    for worker in workers {
        worker.stop().await;
    }
}

/// A full queue, and a message that nothing can publish.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_refuses_keeps_back_its_own_key_only() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongLongInt(2));
    let overflow = AMQPValue::LongString("reject-publish".into());
    full.insert("x-overflow".into(), overflow);
    platform.listen_to("test.full", "test.full", full).await;
    platform
        .listen_to(EARS, "test.told", FieldTable::default())
        .await;
    let rows = "insert into core.outbox (domain, routing_key, key, body)
        select 'academico', case k when 0 then 'test.full' else 'test.told' end, 'k' || k, jsonb_build_object('n', n)
        from generate_series(0, 9) n, generate_series(0, 3) k order by n, k";
    platform.execute(rows).await;
    // One that can never be published, with another behind it.
    let never = format!(
        "insert into core.outbox (domain, routing_key, key, body)
         select 'academico', repeat('x', 300), 'never', jsonb_build_object('n', n) from generate_series(0, 1) n;
         insert into core.outbox (domain, routing_key, body) values ('academico', 'test.told', '{}')",
        r#"{"n": 0}"#
    );
    platform.execute(&never).await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    wait_for("the other keys", async || {
        Ok(platform.untold("test.told").await == 0)
    })
    .await
    .unwrap();
    let told = first_times(&platform.heard(EARS).await);
    for key in ["k1", "k2", "k3"] {
        assert_eq!(told[key], (0..10).collect::<Vec<_>>(), "{key}");
    }
    assert_eq!(
        told["test.told"],
        [0],
        "without a key it has its routing key"
    );
    let errors = "select distinct key || ': ' || left(error, 22) from core.outbox where error is not null order by 1";
    wait_for("both errors", async || {
        Ok(platform.texts(errors).await.len() == 2)
    })
    .await
    .unwrap();
    assert_eq!(
        platform.texts(errors).await,
        [
            "k0: the broker refused it:",
            "never: its routing key is lon"
        ]
    );
    assert!(platform.untold("test.full").await >= 8);

    // As it is emptied, it gets the rest, in order.
    let mut heard = Vec::new();
    wait_for("the rest", async || {
        heard.extend(platform.heard("test.full").await);
        Ok(first_times(&heard)
            .get("k0")
            .is_some_and(|seen| seen.len() == 10))
    })
    .await
    .unwrap();
    assert_eq!(first_times(&heard)["k0"], (0..10).collect::<Vec<_>>());
    worker.stop().await;
}

/// Numbers are in the order of commits: one that commits late is not behind what came after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_late_is_not_overtaken() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform
        .listen_to(EARS, "test.told", FieldTable::default())
        .await;
    let say = |n: i32| {
        format!(
            "insert into core.outbox (domain, routing_key, key, body) values ('academico', 'test.told', 'k', '{{\"n\": {n}}}')"
        )
    };
    let worker = platform.worker(&[]);
    worker.ready().await;
    let mut early = platform.connect().await;
    early.execute("begin").await.unwrap();
    early.execute(AssertSqlSafe(say(0))).await.unwrap();
    let mut late = platform.connect().await;
    let next = say(1);
    let second = tokio::spawn(async move { late.execute(AssertSqlSafe(next)).await });
    wait_for("the second to wait", async || {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into core.outbox%' and datname = current_database()";
        Ok(platform.number(waiting).await == 1)
    })
    .await
    .unwrap();
    early.execute("commit").await.unwrap();
    second.await.unwrap().unwrap();
    wait_for("both", async || Ok(platform.untold("test.told").await == 0))
        .await
        .unwrap();
    assert_eq!(first_times(&platform.heard(EARS).await)["k"], [0, 1]);
    worker.stop().await;
}
