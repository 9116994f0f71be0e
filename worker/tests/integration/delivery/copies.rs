//! The same message more than once.

use acequia_contracts::{catalog, fixtures};

use super::{LOAD, assert_core_gets_the_load, count};
use crate::support::school::{DOMAIN, alumno, alumnos, message};
use crate::support::{Message, Platform, school};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_same_batch_or_a_later_one_has_no_effect() {
    let platform = Platform::new().await;
    platform.declare().await;
    let originals = [
        alumno(1),                                                 // a new id: today's partition
        alumno(2).with_id("0190163d-8694-739b-aea5-966c26f8ad91"), // UUIDv7 of June 2024
        alumno(3).with_id("ffffffff-ffff-7fff-bfff-ffffffffffff"), // UUIDv7 of the year 10889
        alumno(4).with_id("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), // UUIDv1: no day in it
        alumno(5).with_id("order-17"),                             // any text
        alumno(6).with_id("00000000-0000-0000-0000-000000000000"),
        message("alumno", &serde_json::json!({})).with_id("bad-17"), // copies of bad ones are copies too
    ];
    let other_spelling = alumno(4).with_id(" 6BA7B8109DAD11D180B400C04FD430C8");
    // Twice before the worker starts: the same batch.
    let copies = originals.iter().flat_map(|original| [original, original]);
    platform.publish_all(copies.chain([&other_spelling])).await;
    let worker = platform.worker(&[]);
    let once = count(&originals);
    platform.settled(2 * once + 1).await;
    let before = platform
        .texts("select a::text from academico.alumnos a order by id")
        .await;

    // The id alone decides the partition of a row: a copy on a later day meets its original.
    let days = "select day::text from stg.alumnos_upsert where id_alumno > 1 order by id_alumno";
    let no_day = "1970-01-01";
    assert_eq!(
        platform.texts(days).await,
        ["2024-06-14", no_day, no_day, no_day, no_day]
    );

    // And once more: a later batch.
    platform.publish_all(&originals).await;
    platform.settled(3 * once + 1).await;
    let total = platform.total().await;
    assert_eq!(
        (total.duplicates, total.inserted, total.quarantined),
        (2 * once + 1, once - 1, 1)
    );
    assert_eq!(
        (
            total.unchanged + total.updated + total.stale,
            total.unaccounted
        ),
        (0, 0)
    );
    assert_eq!(
        platform
            .texts("select a::text from academico.alumnos a order by id")
            .await,
        before
    );
    let quarantine = platform.quarantine().await;
    assert_eq!(quarantine.len(), 1);
    assert_eq!(quarantine[0].occurrences, 3);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_by_another_way_is_a_copy_too() {
    let platform = Platform::new().await;
    platform.declare().await;
    let legacy = catalog()
        .iter()
        .find(|domain| domain.name == DOMAIN)
        .and_then(|domain| domain.legacy_queue)
        .unwrap();
    let body = |event_id: &str| {
        let mut body = school::alumno_body(1);
        body["entity"] = "alumno".into();
        body["event_id"] = event_id.into();
        body.to_string()
    };
    let id = uuid::Uuid::now_v7().to_string();
    let messages = [
        Message::new(DOMAIN, "alumno", body(&id)).with_id(&id), // AMQP message_id
        Message::straight(legacy, body(&id)),                   // event_id in the body
        Message::straight(legacy, body(&id)),
        Message::straight(legacy, body("")), // no id
        Message::straight(legacy, body("")),
        Message::straight(legacy, body(&id.to_uppercase())), // the same id, another body
    ];
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    platform.settled(count(&messages)).await;
    let total = platform.total().await;
    assert_eq!(
        (total.duplicates, total.unique(), total.unaccounted),
        (3, 3, 0)
    );
    assert_eq!(total.inserted + total.unchanged + total.stale, 2);
    let reused = platform.quarantine().await.remove(0);
    assert_eq!((total.quarantined, reused.reason().1), (1, "id_reused"));
    worker.stop().await;
}

/// Without any id the bytes are the identity.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_without_an_id_are_the_same_message() {
    let platform = Platform::new().await;
    platform.declare().await;
    let samples: Vec<Message> = catalog()
        .iter()
        .filter_map(|domain| Some((domain, domain.legacy_queue?)))
        .flat_map(|(domain, queue)| {
            let bodies = domain.entities.iter().flat_map(|entity| {
                [
                    fixtures::valid(domain.name, entity.name),
                    fixtures::invalid(domain.name, entity.name),
                ]
                .concat()
            });
            bodies.map(|sample| Message::straight(queue, sample.body))
        })
        .collect();
    let different: std::collections::HashSet<_> =
        samples.iter().map(|sample| &sample.body).collect();
    let worker = platform.worker(&[]);
    platform.publish_all(samples.iter().chain(&samples)).await;
    platform.settled(2 * count(&samples)).await;
    platform.publish_all(&samples).await;
    platform.settled(3 * count(&samples)).await;
    let total = platform.total().await;
    // Samples may share an event_id, then they are copies of each other as well.
    assert!(total.unique() <= i64::try_from(different.len()).unwrap());
    let stored = "select (select count(*) from raw.quarantine) + (select sum(e.received - e.duplicates - e.quarantined) from core.batch_entities e)::bigint";
    assert_eq!(platform.number(stored).await, total.unique());
    assert_eq!(total.unaccounted, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_that_get_the_same_messages_at_once_take_them_once() {
    let platform = Platform::new().await;
    platform.declare().await;
    let originals = alumnos(1..LOAD + 1);
    // Copies in the opposite order: the two workers meet the same ids from both ends.
    platform
        .publish_all(originals.iter().chain(originals.iter().rev()))
        .await;
    let workers = [
        platform.worker(&["--batch-max", "500"]),
        platform.worker(&["--batch-max", "500"]),
    ];
    platform.settled(2 * count(&originals)).await;
    let total = platform.total().await;
    assert_eq!(
        (total.duplicates, total.inserted),
        (i64::from(LOAD), i64::from(LOAD))
    );
    assert_core_gets_the_load(&platform).await;
    for worker in workers {
        worker.stop().await;
    }
    platform.nothing_is_left_in_the_queues().await;
}
