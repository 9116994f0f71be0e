//! Messages that the broker gives up are kept with its reason, and good ones among them can be sent again.

use acequia_contracts::envelope::UNKNOWN;
use acequia_contracts::{Code, catalog, fixtures};
use acequia_net::topology::{self, DEAD_QUEUE, queue_of};
use acequia_testkit::wait_for;
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicGetOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::Value;

use crate::quarantine::told;
use crate::replay::QUEUE;
use crate::support::school::alumno;
use crate::support::{Message, Platform, text};

async fn dead(platform: &Platform, messages: u32) {
    wait_for("the dead letters", async || {
        let queue = platform.queue(DEAD_QUEUE).await;
        Ok(queue.is_some_and(|queue| queue.message_count() == messages))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_rejected_messages_are_kept_under_their_reason_and_replayed() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut expired = alumno(1);
    expired.properties = expired.properties.with_expiration("1".into());
    platform.publish_all([&expired]).await;
    dead(&platform, 1).await;
    let rejected = alumno(2);
    platform.publish_all([&rejected]).await;
    let (connection, channel) = platform.channel().await;
    wait_for("a consumer that rejects it", async || {
        let got = channel.basic_get(QUEUE.into(), BasicGetOptions::default());
        let Some(delivery) = got.await? else {
            return Ok(false);
        };
        let give_up = BasicRejectOptions { requeue: false };
        delivery.acker.reject(give_up).await?;
        Ok(true)
    })
    .await
    .unwrap();
    dead(&platform, 2).await;
    topology::close(&connection).await;

    let worker = platform.worker(&[]);
    platform.settled(2).await;
    for (message, code) in [(&expired, "expired"), (&rejected, "rejected")] {
        let row = platform.quarantined(message).await;
        assert_eq!(row.reason(), ("broker", code, None));
        assert_eq!(row.body, message.body);
        let report = told(&platform, &["replay", "--code", code], 0).await;
        assert_eq!(report["replayed"], 1, "{report}");
    }
    platform.settled(4).await;
    let promoted = platform.number("select count(*) from academico.alumnos");
    assert_eq!(promoted.await, 2);
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_every_domain_end_in_quarantine_with_their_history() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let mut letters = Vec::new();
    for domain in catalog() {
        let queue = queue_of(domain.name);
        let death = table([
            ("queue", text(&queue)),
            ("reason", text("delivery_limit")),
            ("count", AMQPValue::LongLongInt(51)),
        ]);
        let history = FieldArray::from(vec![AMQPValue::FieldTable(death)]);
        let headers = table([
            ("x-first-death-queue", text(&queue)),
            ("x-death", AMQPValue::FieldArray(history)),
        ]);
        let entity = &domain.entities[0];
        // Good or bad is not asked any more: it may be what crashes workers.
        for sample in [
            fixtures::valid(domain.name, entity.name)[0],
            fixtures::invalid(domain.name, entity.name)[0],
        ] {
            let mut letter = Message::new(domain.name, entity.name, sample.body);
            letter.exchange = "";
            letter.routing_key = DEAD_QUEUE.to_owned();
            letter.properties = letter.properties.with_headers(headers.clone());
            letters.push((Some(domain.name), Some(entity.name), letter));
        }
    }
    // A letter without a domain is kept all the same, in no domain's ledger.
    letters.push((
        Some(UNKNOWN),
        None,
        Message::straight(DEAD_QUEUE, "from nowhere"),
    ));
    platform
        .publish_all(letters.iter().map(|(_, _, letter)| letter))
        .await;
    platform
        .settled(i64::try_from(letters.len()).unwrap())
        .await;

    let quarantine = platform.quarantine().await;
    assert_eq!(quarantine.len(), letters.len());
    for (domain, entity, letter) in &letters {
        let row = quarantine
            .iter()
            .find(|row| row.body == letter.body && domain.is_none_or(|domain| domain == row.domain))
            .unwrap();
        let code = match domain {
            Some(name) if *name != UNKNOWN => Code::DeliveryLimit,
            _ => Code::DeadLettered,
        };
        assert_eq!(row.reason(), ("broker", code.as_str(), None));
        assert_eq!(row.queue, DEAD_QUEUE);
        assert_eq!(row.entity.as_deref(), *entity);
        if let Some(domain) = domain.filter(|domain| *domain != UNKNOWN) {
            assert_eq!(
                row.properties["headers"]["x-first-death-queue"],
                queue_of(domain)
            );
            assert_eq!(
                row.properties["headers"]["x-death"][0]["reason"],
                "delivery_limit"
            );
            assert_eq!(row.properties["headers"]["x-death"][0]["count"], 51);
        }
    }
    assert_eq!(platform.unaccounted().await, 0);
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

/// The whole way: a consumer that gives the message back until the broker has had enough. By a rejection:
/// RabbitMQ 4.3 takes a nack for a sign that nothing was tried.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_gets_done_ends_in_quarantine() {
    let platform = Platform::new().await;
    platform.declare().await;
    let domain = &catalog()[0];
    let sample = fixtures::valid(domain.name, domain.entities[0].name)[0];
    let message = Message::new(domain.name, domain.entities[0].name, sample.body);
    platform.publish_all([&message]).await;

    let (connection, channel) = platform.channel().await;
    channel
        .basic_qos(1, BasicQosOptions::default())
        .await
        .unwrap();
    let mut consumer = channel
        .basic_consume(
            queue_of(domain.name).as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut given_back = 0;
    let refusing = async {
        loop {
            let delivery = consumer.next().await.unwrap().unwrap();
            given_back += 1;
            let requeue = BasicRejectOptions { requeue: true };
            delivery.acker.reject(requeue).await.unwrap();
        }
    };
    let gone = wait_for("the dead letter", async || {
        Ok(platform
            .queue(DEAD_QUEUE)
            .await
            .is_some_and(|queue| queue.message_count() == 1))
    });
    tokio::select! {
        () = refusing => {}
        gone = gone => gone.unwrap(),
    }
    assert!(given_back > 50, "dead after {given_back} deliveries");
    topology::close(&connection).await;

    let worker = platform.worker(&[]);
    platform.settled(1).await;
    let row = platform.quarantined(&message).await;
    assert_eq!(
        row.reason(),
        (
            Code::DeliveryLimit.stage().as_str(),
            Code::DeliveryLimit.as_str(),
            None
        )
    );
    assert_eq!(
        (row.domain.as_str(), row.entity.as_deref()),
        (domain.name, Some(domain.entities[0].name))
    );
    assert_eq!(row.body, message.body);
    let headers = &row.properties["headers"];
    assert_eq!(headers["x-first-death-queue"], queue_of(domain.name));
    assert_eq!(headers["x-first-death-reason"], "delivery_limit");
    let death = headers["x-death"][0].as_object().unwrap();
    assert_eq!(death["queue"], queue_of(domain.name));
    assert_eq!(
        death["routing-keys"],
        Value::from(vec![message.routing_key.as_str()])
    );
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}
