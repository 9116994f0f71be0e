//! Which time counts: publish times that cannot be true, clocks that are off, days on other clocks.

use acequia_contracts::Code;
use acequia_testkit::metrics::Page;
use acequia_testkit::wait_for;
use chrono::{SecondsFormat, TimeDelta, Utc};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use crate::support::program::{finish, program};
use crate::support::school::{alumno, alumno_body, grupo, maestro, materia, message};
use crate::support::{Message, Platform, get, ready};

fn with_header(mut message: Message, value: AMQPValue) -> Message {
    let mut headers = FieldTable::default();
    headers.insert("x-published-at".into(), value);
    message.properties = message.properties.with_headers(headers);
    message
}

/// A publish time in another unit or of another type counts as missing: the message is accepted and
/// counted, and its arrival stands for the publish time.
#[tokio::test(flavor = "multi_thread")]
async fn publish_times_that_cannot_be_true_count_as_none() {
    let platform = Platform::new().await;
    platform.declare().await;
    let micros = Utc::now().timestamp_micros();
    let seconds = u64::try_from(micros / 1_000_000).unwrap();
    let timestamp = |id: i32, value: u64| {
        let mut message = alumno(id);
        message.properties = message.properties.with_timestamp(value);
        message
    };
    let header = |id: i32, value: AMQPValue| with_header(alumno(id), value);
    let wrong = [
        header(1, AMQPValue::LongLongInt(micros / 1_000)),
        header(2, AMQPValue::LongLongInt(micros / 1_000_000)),
        header(3, AMQPValue::LongLongInt(micros * 1_000)),
        header(4, AMQPValue::LongLongInt(-micros)),
        header(5, AMQPValue::Double(micros as f64)),
        header(6, AMQPValue::LongString(micros.to_string().into())),
        header(7, AMQPValue::LongLongInt(micros + 2 * 86_400_000_000)),
        header(8, AMQPValue::Boolean(true)),
        timestamp(9, seconds * 1_000),
        timestamp(10, 0),
        timestamp(11, u64::MAX),
    ];
    let hour_ago = micros - 3_600_000_000;
    let right = [
        header(21, AMQPValue::LongLongInt(hour_ago)),
        timestamp(22, seconds - 3_600),
        alumno(23),
    ];
    platform.publish_all(wrong.iter().chain(&right)).await;
    let worker = platform.worker(&["--domains", "academico"]);
    let sent = i64::try_from(wrong.len() + right.len()).unwrap();
    platform.settled(sent).await;

    let late = "select count(*) from stg.alumnos_upsert where id_alumno < 20 and published_at is null and event_at > now() - interval '10 minutes'";
    assert_eq!(platform.number(late).await, 11);
    let told = "select count(*) from stg.alumnos_upsert where id_alumno in (21, 22) and published_at < now() - interval '50 minutes' and event_at = published_at";
    assert_eq!(platform.number(told).await, 2);
    worker
        .counts(r#"acequia_implausible_publish_times_total{queue="acequia.academico"} 11"#)
        .await;
    let page = Page::parse(&worker.metrics().await).unwrap();
    let latency = page.value(
        "acequia_queue_duration_seconds_sum",
        &[("queue", "acequia.academico")],
    );
    // Two of them waited for an hour; each counts with the oldest of its batch.
    let most = 14.0 * 2.0 * 3_600.0;
    assert!(latency.is_some_and(|sum| sum < most), "{latency:?}");

    // A correction whose publish time is in milliseconds is still newer: its arrival counts instead.
    let mut body = alumno_body(21);
    body["nombre"] = "Corregida".into();
    let correction = AMQPValue::LongLongInt(Utc::now().timestamp_millis());
    let correction = with_header(message("alumno", &body), correction);
    platform.publish_all([&correction]).await;
    platform.settled(sent + 1).await;
    let corrected = "select count(*) from academico.alumnos where id = 21 and nombre = 'Corregida'";
    assert_eq!(platform.number(corrected).await, 1);
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
}

/// A record without a day has that of its event, on the clock of whoever wrote it.
#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_a_record_is_that_of_the_senders_clock() {
    let platform = Platform::new().await;
    platform.declare().await;
    let cases = [
        ("2024-06-14T19:30:00-06:00", "2024-06-14"),
        ("2024-06-14T23:59:59.999999-06:00", "2024-06-14"),
        ("2024-06-15T00:00:00-06:00", "2024-06-15"),
        ("2024-06-15T00:30:00+02:00", "2024-06-15"),
        ("2024-06-14T23:30:00+02:00", "2024-06-14"),
        ("2024-06-14T23:59:59Z", "2024-06-14"),
        ("2024-06-15T00:00:00Z", "2024-06-15"),
        ("2016-12-31T23:59:60Z", "2016-12-31"),
    ];
    let mut messages = vec![maestro(1), materia(1)];
    let mut expected = Vec::new();
    for (id, (ts, day)) in (1..).zip(cases) {
        let group =
            json!({"id_grupo": id, "id_materia": 1, "id_maestro": 1, "periodo": "2024A", "ts": ts});
        messages.push(message("grupo", &group));
        messages.push(alumno(id));
        let both = json!({"id_alumno": id, "id_grupo": id, "ts": ts});
        messages.push(message("inscripcion", &both));
        let mut mark = both.clone();
        mark["calificacion"] = 8.into();
        messages.push(message("calificacion", &mark));
        expected.extend([id; 3].map(|id| format!("{id} {day}")));
    }
    // A day in the message is kept as it is. Without an event time the day is that of the
    // publish time, in UTC.
    let said = json!({"id_alumno": 1, "id_grupo": 2, "fecha_inscripcion": "2024-01-02", "ts": "2024-06-14T19:30:00-06:00"});
    messages.push(message("inscripcion", &said));
    let published = AMQPValue::LongLongInt(1_718_407_800_000_000); // 2024-06-14T23:30:00Z
    let both = json!({"id_alumno": 1, "id_grupo": 3});
    messages.push(with_header(message("inscripcion", &both), published));
    messages.push(grupo(99, 1, 1));
    platform.publish_all(&messages).await;
    let worker = platform.worker(&["--domains", "academico"]);
    platform
        .settled(i64::try_from(messages.len()).unwrap())
        .await;
    worker.stop().await;

    expected.sort();
    let found = "select * from (
        select id || ' ' || fecha_inicio as day from academico.grupos where id < 99
        union all select id_alumno || ' ' || fecha_inscripcion from academico.inscripciones where id_alumno = id_grupo
        union all select id_alumno || ' ' || fecha_registro from academico.calificaciones) x order by day collate \"C\"";
    assert_eq!(platform.texts(found).await, expected);
    let others = "select id_grupo || ' ' || fecha_inscripcion from academico.inscripciones where id_alumno <> id_grupo order by 1";
    assert_eq!(
        platform.texts(others).await,
        ["2 2024-01-02", "3 2024-06-14"]
    );
}

/// Dates are judged by the database's clock, however far the machine's is off; the log reports the
/// difference.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_judges_nothing_and_is_named() {
    for days in [-3_i64, 3] {
        let platform = Platform::new().await;
        platform.declare().await;
        let shift = format!("clock:{}", days * 86_400);
        let variables = [
            ("ACEQUIA_FAILPOINT", shift.as_str()),
            ("LOG_FORMAT", "json"),
        ];
        let worker = platform.program_with(&["--domains", "academico"], &variables);
        ready(&worker.http).await;
        let dated = |id: i32, hours: i64| {
            let at = Utc::now() + TimeDelta::hours(hours);
            let mut body = alumno_body(id);
            body["ts"] = at.to_rfc3339_opts(SecondsFormat::Micros, true).into();
            message("alumno", &body)
        };
        let (present, soon, future) = (dated(1, 0), dated(2, 23), dated(3, 25));
        let published = AMQPValue::LongLongInt(Utc::now().timestamp_micros());
        let published = with_header(alumno(4), published);
        platform
            .publish_all([&present, &soon, &future, &published])
            .await;
        platform.settled(4).await;

        let core = "select id::text from academico.alumnos order by id";
        assert_eq!(platform.texts(core).await, ["1", "2", "4"], "{days} days");
        let refused = platform.quarantined(&future).await;
        assert_eq!(refused.code, Code::FutureDate.as_str());
        let kept = "select count(*) from stg.alumnos_upsert where id_alumno = 4 and published_at is not null";
        assert_eq!(platform.number(kept).await, 1, "{days} days");

        let (status, page) = get(&worker.http, "/metrics").await;
        assert_eq!(status, 200);
        let ahead = Page::parse(&page)
            .unwrap()
            .value("acequia_clock_ahead_seconds", &[]);
        let off = ahead.unwrap() - (days * 86_400) as f64;
        assert!(off.abs() < 60.0, "{ahead:?} for {days} days");
        let (status, page) = get(&worker.http, "/readyz").await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("clock_ahead_s"), "{page}");
        let log = worker.terminate().await.stderr;
        assert_eq!(log.matches("\"event\":\"clock.off\"").count(), 1, "{log}");

        let mut doctor = program(&["doctor", "--json"]);
        doctor
            .env("DATABASE_URL", &platform.database.worker)
            .env("AMQP_URL", &platform.broker.url)
            .env("ACEQUIA_FAILPOINT", &shift);
        let found = finish(doctor).await.stdout;
        let findings: Vec<serde_json::Value> = serde_json::from_str(&found).unwrap();
        let clock = findings.iter().find(|finding| finding["check"] == "clock");
        assert_eq!(clock.unwrap()["verdict"], "warn", "{found}");
    }

    let platform = Platform::new().await;
    let worker = platform.worker(&["--domains", "academico"]);
    worker.ready().await;
    let (_, page) = get(&worker.http, "/readyz").await;
    assert!(!page.contains("clock_ahead_s"), "{page}");
    wait_for("a reading of the database's clock", async || {
        let page = Page::parse(&worker.metrics().await).unwrap();
        let ahead = page.value("acequia_clock_ahead_seconds", &[]);
        Ok(ahead.is_some_and(|ahead| ahead.abs() < 60.0))
    })
    .await
    .unwrap();
    worker.stop().await;
}
