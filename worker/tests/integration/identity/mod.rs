//! Identity of messages: copies, reused ids, ids that name nothing, corrections.

mod copies;
mod corrections;
mod orders;

use acequia_contracts::catalog;
use acequia_contracts::envelope::Identity;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::quarantine::{told, too_young};
use crate::support::program::{finish, program};
use crate::support::school::{DOMAIN, alumno, alumno_body, materia, message};
use crate::support::{Message, Platform};

/// Output of `worker trace --json` for a message.
async fn traced(platform: &Platform, id: &str) -> Value {
    let mut command = program(&["trace", id, "--json"]);
    command.env("DATABASE_URL", &platform.database.worker);
    let done = finish(command).await;
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// Bodies in quarantine, sorted.
async fn bodies(platform: &Platform) -> Vec<String> {
    platform
        .texts("select convert_from(body, 'UTF8') from raw.quarantine order by 1")
        .await
}

fn text(message: &Message) -> String {
    String::from_utf8(message.body.clone()).unwrap()
}

/// Bad messages of any domain and entity, and several of one entity, under one id: all are kept.
#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_of_one_id_keep_their_bodies() {
    let platform = Platform::new().await;
    platform.declare().await;
    let shared = Uuid::now_v7().to_string();
    let mut messages = Vec::new();
    for id in ["1", &shared] {
        for domain in catalog() {
            for entity in &domain.entities {
                for number in 0..3 {
                    let body = json!({"not a field": format!("{id} {} {number}", entity.name)});
                    let sent = Message::new(domain.name, entity.name, body.to_string());
                    messages.push(sent.with_id(id));
                }
            }
        }
    }
    let sent = i64::try_from(messages.len()).unwrap();
    // Together, one by one, and all once more: by two workers, and by one.
    let first = platform.worker(&[]);
    let second = platform.worker(&["--batch-max", "1"]);
    platform.publish_all(&messages).await;
    platform.publish_all(&messages).await;
    platform.settled(2 * sent).await;
    second.stop().await;
    platform.publish_all(&messages).await;
    platform.settled(3 * sent).await;
    let total = platform.total().await;
    assert_eq!(
        (total.quarantined, total.duplicates, total.unaccounted),
        (sent, 2 * sent, 0)
    );
    let mut expected: Vec<_> = messages.iter().map(text).collect();
    expected.sort();
    assert_eq!(bodies(&platform).await, expected);
    let thrice = "select count(*) from raw.quarantine where occurrences = 3";
    assert_eq!(platform.number(thrice).await, sent);
    first.ready().await;

    // They are found by the publisher's id, and replayed under it.
    let half = usize::try_from(sent / 2).unwrap();
    let shown = told(&platform, &["list", "--message-id", "1"], 0).await;
    assert_eq!(shown.as_array().unwrap().len(), half);
    let shown = told(&platform, &["list", "--id", &shared], 0).await;
    assert_eq!(shown.as_array().unwrap().len(), half);
    let trace = traced(&platform, "1").await;
    assert_eq!(trace["outcome"], "quarantined");
    assert_eq!(trace["more_quarantine"].as_array().unwrap().len(), half - 1);
    first.stop().await;
    told(&platform, &["replay", "--message-id", "1"], 0).await;
    let worker = platform.worker(&[]);
    platform.settled(3 * sent + sent / 2).await;
    // Refused again: the same rows are open again, each with its own body.
    assert_eq!(platform.total().await.quarantined, sent);
    assert_eq!(bodies(&platform).await, expected);
    let again = "select count(*) from raw.quarantine where status = 'open' and occurrences = 4 and replays = 1";
    assert_eq!(platform.number(again).await, sent / 2);
    worker.stop().await;
}

/// Good messages of different content under one id: the first is taken, the others are refused.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_another_message_has_is_refused() {
    for (id, together) in [
        ("row-17".to_owned(), false),
        ("row-17".to_owned(), true),
        (Uuid::now_v7().to_string(), false),
        ("3c0e4f7a-12d5-4be0-9a44-6a0f1c7d2b11".to_owned(), true),
    ] {
        let platform = Platform::new().await;
        platform.declare().await;
        let [first, second, third] = [1, 2, 3].map(|number| alumno(number).with_id(&id));
        let elsewhere = materia(1).with_id(&id); // another entity: another message
        let worker = platform.worker(&[]);
        worker.ready().await;
        if together {
            platform
                .publish_all([&first, &second, &first, &elsewhere, &third, &second])
                .await;
        } else {
            for (sent, message) in (1..).zip([&first, &second, &first, &elsewhere, &third, &second])
            {
                platform.publish_all([message]).await;
                platform.settled(sent).await;
            }
        }
        platform.settled(6).await;
        let total = platform.total().await;
        assert_eq!(
            (
                total.inserted,
                total.quarantined,
                total.duplicates,
                total.unaccounted
            ),
            (2, 2, 2, 0),
            "{id} {together}"
        );
        assert_eq!(bodies(&platform).await, [text(&second), text(&third)]);
        for row in platform.quarantine().await {
            assert_eq!(row.reason(), ("load", "id_reused", None));
            assert_eq!(row.status, "open");
            assert_eq!(row.properties["message_id"], id);
        }
        let counted = format!(
            r#"acequia_quarantined_messages_total{{code="id_reused",domain="{DOMAIN}",stage="load"}} 2"#
        );
        worker.counts(&counted).await;
        let trace = traced(&platform, &id).await;
        assert_eq!(trace["outcome"], "current");
        assert_eq!(trace["rows"].as_array().unwrap().len(), 2);
        assert_eq!(trace["quarantine"]["code"], "id_reused");

        // An operator who knows that they are other messages replays them: each under its own id.
        told(&platform, &["replay", "--code", "id_reused"], 0).await;
        platform.settled(8).await;
        let total = platform.total().await;
        assert_eq!((total.inserted, total.unaccounted), (4, 0));
        // They are known from now on: in staging under their own ids, in quarantine under the old one.
        platform.publish_all([&first, &second]).await;
        platform.settled(10).await;
        let total = platform.total().await;
        assert_eq!(
            (total.inserted, total.quarantined, total.duplicates),
            (4, 2, 4)
        );
        worker.ready().await;
        worker.stop().await;
    }
}

/// A row that a staging table would refuse, under a taken id, is filed once, for its id; a copy of a row that was taken before
/// the table became stricter stays a copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_under_a_taken_id_is_filed_once() {
    let platform = Platform::new().await;
    platform.declare().await;
    let (first, copy) = (alumno(1).with_id("row-1"), alumno(2).with_id("row-2"));
    let worker = platform.worker(&[]);
    platform.publish_all([&first, &copy]).await;
    platform.settled(2).await;
    platform
        .execute("alter table stg.alumnos_upsert add constraint late check (id_alumno not in (2, 3)) not valid")
        .await;
    let refused = alumno(3).with_id("row-1");
    let good = alumno(4).with_id("row-4");
    platform.publish_all([&refused, &copy, &good]).await;
    platform.settled(5).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (3, 1, 1, 0)
    );
    let rows = platform.quarantine().await;
    assert_eq!(rows[0].reason(), ("load", "id_reused", None));
    assert_eq!((rows[0].occurrences, &rows[0].body), (1, &refused.body));
    worker.stop().await;
}

/// Texts that publishers send where they have no id.
#[tokio::test(flavor = "multi_thread")]
async fn ids_that_name_nothing_are_as_if_not_set() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut messages = Vec::new();
    let mut number = 0;
    for id in [
        "",
        " ",
        "\t\n",
        "\u{200b}",
        "\u{feff}",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    ] {
        for _ in 0..2 {
            number += 1;
            messages.push(alumno(number).with_id(id));
            number += 1;
            let mut body = alumno_body(number);
            body["event_id"] = id.into();
            let mut plain = message("alumno", &body);
            plain.properties = plain.properties.with_message_id(id.into());
            messages.push(plain);
            // The body's id counts when that of the properties names nothing.
            number += 1;
            let mut body = alumno_body(number);
            body["event_id"] = format!("student {number}").into();
            messages.push(message("alumno", &body).with_id(id));
            messages.push(too_young(1000 + number).with_id(id));
        }
    }
    let sent = i64::try_from(messages.len()).unwrap();
    let worker = platform.worker(&[]);
    platform.publish_all(&messages).await;
    platform.settled(sent).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (i64::from(number), sent - i64::from(number), 0, 0)
    );
    // Copies of all of them are copies all the same.
    platform.publish_all(&messages).await;
    platform.settled(2 * sent).await;
    assert_eq!(platform.total().await.duplicates, sent);
    let trace = traced(&platform, "student 3").await;
    assert_eq!(trace["outcome"], "current");
    worker.ready().await;
    worker.stop().await;
}

/// Without any id the publish time tells two equal messages apart.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_the_publish_time_is_part_of_the_identity() {
    let platform = Platform::new().await;
    platform.declare().await;
    let body = |value: i32| {
        let mut body = alumno_body(1);
        body["edad"] = value.into();
        body["entity"] = "alumno".into();
        body.to_string()
    };
    let by_timestamp = |value, seconds| {
        let mut message = Message::straight("etl", body(value));
        message.properties = message.properties.with_timestamp(seconds);
        message
    };
    let by_header = |value, micros| {
        let mut headers = FieldTable::default();
        headers.insert("x-published-at".into(), AMQPValue::LongLongInt(micros));
        let mut message = Message::straight("etl", body(value));
        message.properties = message.properties.with_headers(headers);
        message
    };
    let worker = platform.worker(&[]);
    worker.ready().await;
    let age = "select edad::bigint from academico.alumnos where id = 1";
    let times = [
        by_timestamp(7, 1_700_000_000),
        by_timestamp(8, 1_700_000_001),
        by_timestamp(7, 1_700_000_002),
    ];
    platform.publish_all(&times).await;
    platform.settled(3).await;
    assert_eq!(platform.number(age).await, 7);
    let headers = [
        by_header(18, 1_700_000_010_000_000),
        by_header(19, 1_700_000_010_000_001),
        by_header(18, 1_700_000_010_000_002),
    ];
    platform.publish_all(&headers).await;
    platform.settled(6).await;
    assert_eq!(platform.number(age).await, 18);
    platform.publish_all(times.iter().chain(&headers)).await;
    platform.settled(12).await;
    let total = platform.total().await;
    assert_eq!((total.duplicates, total.unaccounted), (6, 0));
    assert_eq!(platform.number(age).await, 18);
    worker.stop().await;
}

/// Statements of the version before this one, which may run beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_worker_beside_this_one_goes_on() {
    let platform = Platform::new().await;
    platform.declare().await;
    let old = alumno(1);
    let identity = Identity::of_text(old.id());
    let staged = format!(
        "insert into stg.alumnos_upsert (message_id, day, batch_id, event_at, published_at, id_alumno, nombre, edad, genero)
         values ('{}', '{}', 1, now(), null, 1, 'Alumno 1', 20, 'F') on conflict do nothing",
        identity.id, identity.day
    );
    let refused = format!(
        "insert into raw.quarantine as q (message_id, day, batch_id, domain, entity, queue, stage, code, field_path,
             message, violations, sqlstate, body, properties, fingerprint, occurrences, replays)
         values ('{}', '1970-01-01', 1, 'academico', 'alumno', 'acequia.academico', 'contract', 'out_of_range', null, '', '[]', null,
             convert_to('{{}}', 'UTF8'), '{{}}', '', 1, 0)
         on conflict (message_id, day) do update set occurrences = q.occurrences + excluded.occurrences returning message_id, occurrences",
        Identity::of_text("x").id
    );
    platform
        .execute(&format!(
            "select nextval('core.batch_id');
             insert into core.batches (batch_id, domain, queue, worker, published_at, trace_context, state)
                 values (1, 'academico', 'acequia.academico', 'old', null, null, 'staged');
             insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined, oldest_published_at, newest_published_at)
                 values (1, 'academico', 'alumno', 2, 0, 1, 1, null, null);
             {staged}; {refused}; select * from core.promote_domain('academico', 1000)"
        ))
        .await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    // A row without a hash: every message under its id counts as a copy, as before.
    let other = alumno(2).with_id(old.id());
    let copy = Message::new(DOMAIN, "alumno", "{}").with_id("x");
    platform.publish_all([&old, &other, &copy]).await;
    platform.settled(5).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.duplicates,
            total.unaccounted
        ),
        (1, 1, 3, 0)
    );
    worker.stop().await;
}
