//! Messages come twice, connections break, servers go away and come back: everything arrives, and
//! nothing has effect twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acequia_contracts::envelope::UNKNOWN;
use acequia_contracts::{Code, catalog, fixtures};
use acequia_net::topology::{self, DEAD_QUEUE, queue_of};
use acequia_publisher::{Ids, Outgoing, Publisher, messages};
use acequia_testkit::{Lost, Proxy, wait_for};
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::support::school::{DOMAIN, alumno, alumnos, message};
use crate::support::{LedgerEntry, Message, Platform, school};

/// Enough for many small batches, few enough for a second.
const LOAD: i32 = 5_000;

fn count(messages: &[Message]) -> i64 {
    i64::try_from(messages.len()).unwrap()
}

/// Asserts that the core has exactly the students of a load, each as it was sent.
async fn assert_core_has_the_load(platform: &Platform) {
    let right = "select count(*) from academico.alumnos where nombre = 'Alumno ' || id and id between 1 and ";
    assert_eq!(
        platform.number(&format!("{right}{LOAD}")).await,
        i64::from(LOAD)
    );
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        i64::from(LOAD)
    );
}

/// A load that goes out while the test does something terrible.
fn publish_load(platform: &Platform) -> (JoinHandle<()>, Arc<AtomicBool>) {
    let url = platform.broker.url.clone();
    let sent = Arc::new(AtomicBool::new(false));
    let all_sent = sent.clone();
    let load = load();
    let runtime = tokio::runtime::Handle::current();
    // On a thread of its own: it must not wait for what the test does meanwhile.
    let task = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let mut publisher = connected(&url).await;
            let summary = publisher.send_all(load).await;
            assert!(summary.is_complete(), "{summary:?}");
            publisher.close().await;
            all_sent.store(true, Ordering::Relaxed);
        });
    });
    (task, sent)
}

/// A publisher; its first connection may be one of those that the test breaks.
async fn connected(url: &str) -> Publisher {
    let mut publisher = None;
    wait_for("a connection to publish by", async || {
        publisher = Publisher::connect(url).await.ok();
        Ok(publisher.is_some())
    })
    .await
    .unwrap();
    publisher.unwrap()
}

/// The students of the load, as our publisher sends them.
fn load() -> Vec<Outgoing> {
    let nothing_else = [
        "--maestros",
        "1",
        "--materias",
        "1",
        "--grupos",
        "1",
        "--inscripciones",
        "0",
        "--calificaciones",
        "0",
    ];
    let students = LOAD.to_string();
    let options = [nothing_else.as_slice(), &["--alumnos", &students]].concat();
    let mut all = messages(DOMAIN, &options, Ids::Fresh).unwrap();
    all.retain(|outgoing| outgoing.route.routing_key().ends_with(".alumno"));
    for (id, outgoing) in std::iter::zip(1.., &mut all) {
        outgoing.body = school::alumno_body(id).to_string().into_bytes();
    }
    assert_eq!(all.len(), LOAD as usize);
    all
}

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
    assert_eq!(
        (total.quarantined, total.pending, total.unaccounted),
        (0, 0, 0)
    );
    assert_core_has_the_load(&platform).await;
    for worker in workers {
        worker.stop().await;
    }
    platform.nothing_is_left_in_the_queues().await;
}

/// Three times the connection breaks around a commit; what the worker then knows is not enough.
async fn lose_commits(lost: Lost) -> LedgerEntry {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..101)).await;
    let proxy = Proxy::to(&platform.database.worker).await.unwrap();
    proxy.lose_of(b"acequia ingest academico", lost, b"COMMIT", 3);
    let database = proxy.url(&platform.database.worker).unwrap();
    let worker = platform.worker_by(&database, &platform.broker.url, &[]);
    let done = wait_for("the lost commits", async || Ok(proxy.faults_left() == 0));
    done.await.unwrap();
    // The batch that was hit is through before the next message is taken.
    platform.publish_all([&alumno(101)]).await;
    let total = platform.settled_unique(101).await;
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (101, 0, 0)
    );
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_made_up_for() {
    assert_eq!(lose_commits(Lost::Request).await.duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_has_no_second_effect() {
    // Each lost answer left at least one message that is then seen again.
    assert!(lose_commits(Lost::Answer).await.duplicates >= 3);
}

/// The crash between commit and acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn messages_whose_acknowledgement_is_lost_have_no_second_effect() {
    const BASIC_ACK: [u8; 8] = [0, 0, 0, 13, 0, 60, 0, 80]; // length of the frame, class, method
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..101)).await;
    let proxy = Proxy::to(&platform.broker.url).await.unwrap();
    proxy.lose(Lost::Request, &BASIC_ACK, 3);
    let broker = proxy.url(&platform.broker.url).unwrap();
    let worker = platform.worker_by(&platform.database.worker, &broker, &[]);
    let done = wait_for("the lost acknowledgements", async || {
        Ok(proxy.faults_left() == 0)
    });
    done.await.unwrap();
    // After the last lost one the messages come once more, and are acknowledged.
    platform.publish_all([&alumno(101)]).await;
    let total = platform.settled_unique(101).await;
    assert!(total.duplicates >= 3, "{total:?}");
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (101, 0, 0)
    );
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_lose_nothing_and_double_nothing() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--batch-max", "50"]);
    worker.ready().await;
    let (load, _) = publish_load(&platform);
    let auditor = platform.auditor().await;
    // Publisher and worker lose their connections again and again, each time further on.
    let mut closed = 0;
    for round in 0..8 {
        platform.received(i64::from(LOAD) * round / 10).await;
        closed += platform.broker.close_connections().await.unwrap();
    }
    load.await.unwrap();
    let total = platform.settled_unique(i64::from(LOAD)).await;
    assert!(closed > 0, "no connection was closed");
    assert_eq!(
        (total.inserted, total.quarantined, total.pending),
        (i64::from(LOAD), 0, 0)
    );
    assert_core_has_the_load(&platform).await;
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
    assert_eq!(
        platform.settled_unique(i64::from(LOAD)).await.unaccounted,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    for (id, domain) in std::iter::zip(1.., catalog()) {
        let queues = [
            Some(queue_of(domain.name)),
            domain.legacy_queue.map(ToOwned::to_owned),
        ];
        for queue in queues.into_iter().flatten() {
            platform.broker.delete_queue(&queue).await.unwrap();
            wait_for("the queue with its consumer", async || {
                Ok(platform
                    .queue(&queue)
                    .await
                    .is_some_and(|queue| queue.consumer_count() > 0))
            })
            .await
            .unwrap();
        }
        let sample = fixtures::valid(domain.name, domain.entities[0].name)[0];
        let message = Message::new(domain.name, domain.entities[0].name, sample.body);
        platform.publish_all([&message]).await;
        platform.settled(id).await;
    }
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stopped_in_mid_load_leaves_the_rest_to_the_next() {
    let platform = Platform::new().await;
    platform.declare().await;
    let load = alumnos(1..LOAD + 1);
    platform.publish_all(&load).await;
    let first = platform.worker(&["--batch-max", "50"]);
    platform.received(200).await;
    first.stop().await;
    let between = platform.total().await;
    assert!(
        between.received < i64::from(LOAD),
        "the load was too small to be stopped in it"
    );
    assert_eq!(between.unaccounted, 0);

    let second = platform.worker(&[]);
    platform.settled(i64::from(LOAD)).await;
    let total = platform.total().await;
    // Told to stop, a worker acknowledges what it has staged: not even a copy.
    assert_eq!((total.duplicates, total.inserted), (0, i64::from(LOAD)));
    assert_core_has_the_load(&platform).await;
    second.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..LOAD + 1)).await;
    let auditor = platform.auditor().await;
    for round in 1..5 {
        let program = platform.program(&["--batch-max", "20"]);
        platform.received(200 * round).await;
        program.kill().await;
    }
    let between = platform.total().await;
    assert!(
        between.unique() < i64::from(LOAD),
        "the load was too small to be killed in it"
    );
    let worker = platform.worker(&[]);
    let total = platform.settled_unique(i64::from(LOAD)).await;
    assert_eq!(
        (total.inserted, total.quarantined, total.pending),
        (i64::from(LOAD), 0, 0)
    );
    assert_core_has_the_load(&platform).await;
    auditor.finish().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

/// Ends all connections of the platform to its database; returns how many.
async fn terminate_backends(platform: &Platform) -> i64 {
    let name = database_name(platform);
    let mut admin = PgConnection::connect(&platform.database.admin)
        .await
        .unwrap();
    let statement = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}' and application_name like 'acequia %'"
    );
    sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(&mut admin)
        .await
        .unwrap()
}

fn database_name(platform: &Platform) -> String {
    let url: url::Url = platform.database.owner.parse().unwrap();
    url.path().trim_start_matches('/').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn database_connections_that_break_lose_nothing_and_double_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..LOAD + 1)).await;
    let worker = platform.worker(&["--batch-max", "50", "--promote-max", "200"]);
    let auditor = platform.auditor().await;
    let mut terminated = 0;
    for round in 0..10 {
        platform.received(i64::from(LOAD) * round / 12).await;
        terminated += terminate_backends(&platform).await;
    }
    assert!(terminated > 0, "no connection was terminated");
    let total = platform.settled_unique(i64::from(LOAD)).await;
    assert_eq!(
        (total.inserted, total.quarantined, total.pending),
        (i64::from(LOAD), 0, 0)
    );
    assert_core_has_the_load(&platform).await;
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_for_a_while_costs_nothing_but_time() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--stall-after", "500ms", "--batch-max", "50"]);
    worker.ready().await;
    let (load, sent) = publish_load(&platform);
    platform.received(100).await;

    // From another database: nobody, not even a superuser, may connect to this one.
    let name = database_name(&platform);
    let mut url: url::Url = platform.database.admin.parse().unwrap();
    url.set_path("postgres");
    let mut elsewhere = PgConnection::connect(url.as_str()).await.unwrap();
    let allow = |allowed: bool| {
        AssertSqlSafe(format!(
            "alter database {name} with allow_connections {allowed}"
        ))
    };
    sqlx::query(allow(false))
        .execute(&mut elsewhere)
        .await
        .unwrap();
    let all = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}'"
    );
    let terminated: i64 = sqlx::query_scalar(AssertSqlSafe(all))
        .fetch_one(&mut elsewhere)
        .await
        .unwrap();
    assert!(terminated > 0);

    // The worker names the fault, and lives; the publisher is not held up.
    assert_ne!(worker.not_ready("ingest").await, "");
    assert_ne!(worker.not_ready("promote").await, "");
    assert_eq!(crate::support::get(&worker.http, "/livez").await.0, 200);
    wait_for("the publisher", async || Ok(sent.load(Ordering::Relaxed)))
        .await
        .unwrap();
    load.await.unwrap();

    sqlx::query(allow(true))
        .execute(&mut elsewhere)
        .await
        .unwrap();
    let total = platform.settled_unique(i64::from(LOAD)).await;
    assert_eq!(
        (total.inserted, total.quarantined, total.pending),
        (i64::from(LOAD), 0, 0)
    );
    assert_core_has_the_load(&platform).await;
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
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
    // A letter of nobody is kept all the same, and in nobody's ledger.
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
