//! Messages that are accepted after they were refused, and refused after they were accepted.

use std::time::Duration;

use acequia_contracts::envelope::{Identity, body_hash};
use acequia_contracts::{catalog, fixtures};
use acequia_net::topology::{DEAD_QUEUE, queue_of};
use acequia_store::housekeeping::resolve_copies;
use chrono::{Days, TimeDelta, Utc};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use super::traced;
use crate::quarantine::{quarantine, told, too_young};
use crate::support::school::{DOMAIN, alumno, alumno_body, message};
use crate::support::{Message, Platform};

/// A refused message whose correction is accepted needs no decision any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_message_resolves_what_was_refused_under_its_id() {
    let platform = Platform::new().await;
    platform.declare().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let in_body = |body: &mut Value, id: &str| body["event_id"] = id.into();
    let mut bad = Vec::new();
    let mut good = Vec::new();
    for number in 1..=6 {
        let (mut wrong, mut right) = (alumno_body(number), alumno_body(number));
        wrong["edad"] = (-1).into();
        if number % 3 == 0 {
            in_body(&mut wrong, &format!("student {number}"));
            in_body(&mut right, &format!("student {number}"));
            for (list, body) in [(&mut bad, wrong), (&mut good, right)] {
                let mut sent = message("alumno", &body);
                sent.properties = sent.properties.with_message_id("".into());
                list.push(sent);
            }
        } else {
            let id = Uuid::now_v7().to_string();
            bad.push(message("alumno", &wrong).with_id(&id));
            good.push(message("alumno", &right).with_id(&id));
        }
    }
    // One whose entity is unknown, and one that is not corrected.
    let nobody = Message::new(DOMAIN, "nothing", "{}").with_id(good[0].id());
    let alone = too_young(77);
    platform
        .publish_all(bad.iter().chain([&nobody, &alone]))
        .await;
    platform.settled(8).await;
    assert_eq!(
        platform
            .number("select count(*) from core.quarantine_open")
            .await,
        8
    );
    platform.publish_all(&good).await;
    platform.settled(14).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (6, 8, 0, 0)
    );
    let resolved = "select count(*) from raw.quarantine q join core.batches b on b.batch_id = q.accepted_batch_id
        where q.status = 'resolved' and q.resolved_by = 'acequia' and q.resolved_at is not null";
    assert_eq!(platform.number(resolved).await, 7);
    assert_eq!(platform.quarantined(&alone).await.status, "open");
    let missing = "select max(missing)::bigint from marts.freshness where domain = 'academico'";
    assert_eq!(platform.number(missing).await, 1);
    let shown = told(&platform, &["list", "--status", "resolved"], 0).await;
    assert_eq!(shown.as_array().unwrap().len(), 7);
    let stats = told(&platform, &["stats", "--code", "out_of_range"], 0).await;
    assert_eq!(
        (&stats[0]["open"], &stats[0]["resolved"]),
        (&json!(1), &json!(6))
    );
    let trace = traced(&platform, good[0].id()).await;
    assert_eq!(trace["outcome"], "current");
    assert_eq!(trace["quarantine"]["status"], "resolved");
    // A late copy of the refused one changes nothing.
    platform.publish_all(&bad).await;
    platform.settled(20).await;
    assert_eq!(platform.number(resolved).await, 7);
    worker.ready().await;
    worker.stop().await;
    // Together in one batch.
    let id = Uuid::now_v7().to_string();
    platform
        .publish_all([&too_young(8).with_id(&id), &alumno(8).with_id(&id)])
        .await;
    let worker = platform.worker(&[]);
    platform.settled(22).await;
    assert_eq!(platform.number(resolved).await, 8);
    let done = quarantine(&platform, &["show", "--id", &id]).await;
    assert!(done.stdout.contains("resolved"), "{done:?}");
    worker.stop().await;
}

/// Copies of one message are judged at different times: before and after the limit of the future.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_refused_for_its_time_is_resolved_by_a_copy_that_comes_in_time() {
    let platform = Platform::new().await;
    platform.declare().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let soon = Utc::now() + Days::new(1) + TimeDelta::seconds(30);
    let mut body = alumno_body(1);
    body["ts"] = soon.to_rfc3339().into();
    body["entity"] = "alumno".into();
    let with_id = message("alumno", &body);
    body["id_alumno"] = 2.into();
    let without = Message::straight("etl", body.to_string());
    let open = "select count(*) from core.quarantine_open";
    platform.publish_all([&with_id, &without]).await;
    platform.settled(2).await;
    assert_eq!(platform.number(open).await, 2);
    for sent in (4..).step_by(2) {
        platform.publish_all([&with_id, &without]).await;
        platform.settled(sent).await;
        if platform.total().await.inserted == 2 {
            break;
        }
        assert!(sent < 400, "not accepted");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let total = platform.total().await;
    assert_eq!((total.quarantined, total.unaccounted), (2, 0));
    assert_eq!(platform.number(open).await, 0);
    for row in platform.quarantine().await {
        assert_eq!(
            (row.code.as_str(), row.status.as_str()),
            ("future_date", "resolved")
        );
    }
    worker.stop().await;
}

/// A message that the broker gave up, for whatever reason, may come once more and be good.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_gave_up_is_resolved_by_a_copy_that_is_accepted() {
    let platform = Platform::new().await;
    platform.declare().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let mut body = alumno_body(2);
    body["entity"] = "alumno".into();
    let queue = queue_of(DOMAIN);
    let originals = [alumno(1), Message::straight(&queue, body.to_string())];
    let letters = originals.clone().map(|mut letter| {
        let mut headers = FieldTable::default();
        let queue = AMQPValue::LongString(queue.as_str().into());
        headers.insert("x-first-death-queue".into(), queue);
        letter.properties = letter.properties.with_headers(headers);
        letter.exchange = "";
        letter.routing_key = DEAD_QUEUE.to_owned();
        letter
    });
    platform.publish_all(&letters).await;
    platform.settled(2).await;
    let open = "select count(*) from core.quarantine_open where entity = 'alumno'";
    assert_eq!(platform.number(open).await, 2);
    platform.publish_all(&originals).await;
    platform.settled(4).await;
    assert_eq!(platform.number(open).await, 0);
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (2, 2, 0, 0)
    );
    worker.stop().await;
}

/// A copy that is refused, by another clock or by the broker, does not undo that the message was
/// accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_copy_of_an_accepted_message_is_a_duplicate() {
    let platform = Platform::new().await;
    platform.declare().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let mut copies = Vec::new();
    let mut sent = 0;
    for domain in catalog() {
        let entity = &domain.entities[0];
        let sample = fixtures::valid(domain.name, entity.name)[0];
        let original = Message::new(domain.name, entity.name, sample.body);
        platform.publish_all([&original]).await;
        let mut letter = original;
        letter.exchange = "";
        letter.routing_key = DEAD_QUEUE.to_owned();
        let mut headers = FieldTable::default();
        let queue = format!("acequia.{}", domain.name);
        headers.insert(
            "x-first-death-queue".into(),
            AMQPValue::LongString(queue.into()),
        );
        letter.properties = letter.properties.with_headers(headers);
        copies.push(letter);
        sent += 1;
    }
    platform.settled(sent).await;
    platform.publish_all(&copies).await;
    platform.settled(2 * sent).await;
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (0, sent, 0)
    );
    // Another body under the id is another matter.
    let mut other = copies[0].clone();
    other.body = b"{}".to_vec();
    platform.publish_all([&other]).await;
    platform.settled(2 * sent + 1).await;
    assert_eq!(platform.total().await.quarantined, 1);
    worker.stop().await;

    // Neither of two transactions side by side sees the other's copy.
    let mut connection = platform.connect().await;
    let message = too_young(5);
    let identity = Identity::of_text(message.id());
    for (hash, resolved) in [
        (body_hash(b"another body"), 0),
        (body_hash(&message.body), 1),
    ] {
        platform
            .execute(&format!(
                "delete from stg.alumnos_upsert where message_id = '{id}'; delete from raw.quarantine where message_id = '{id}';
                 insert into stg.alumnos_upsert (message_id, day, batch_id, event_at, id_alumno, nombre, edad, genero, body_hash)
                 values ('{id}', '{day}', 7, now(), 5, 'x', 20, 'F', {hash});
                 insert into raw.quarantine (message_id, day, batch_id, domain, entity, queue, stage, code, message, body, fingerprint, body_hash)
                 values ('{id}', '{day}', 8, 'academico', 'alumno', 'q', 'contract', 'future_date', '', '', '', {quarantined})",
                id = identity.id,
                day = identity.day,
                quarantined = body_hash(&message.body),
            ))
            .await;
        assert_eq!(
            resolve_copies(&mut connection, DOMAIN).await.unwrap(),
            resolved
        );
    }
    assert_eq!(platform.quarantined(&message).await.status, "resolved");
}
