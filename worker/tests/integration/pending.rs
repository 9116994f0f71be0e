//! Children that come before their parents.

use acequia_contracts::{Code, Context};
use serde_json::{Value, json};

use crate::support::school::{
    DOMAIN, alumno, calificacion, grupo, inscripcion, maestro, materia, message,
};
use crate::support::{Message, Platform, RunningWorker};

/// A worker whose messages are sent one by one, each promoted before the next.
struct OneByOne {
    platform: Platform,
    worker: RunningWorker,
    sent: i64,
}

impl OneByOne {
    async fn start(options: &[&str]) -> Self {
        let platform = Platform::new().await;
        let worker = platform.worker(options);
        worker.ready().await;
        Self {
            platform,
            worker,
            sent: 0,
        }
    }

    /// Sends a message, waits for its promotion and asserts how many rows wait then.
    async fn send(&mut self, message: &Message, pending: i64) {
        self.platform.publish_all([message]).await;
        self.sent += 1;
        self.platform.settled(self.sent).await;
        let total = self.platform.total().await;
        assert_eq!(
            (total.pending, total.unaccounted),
            (pending, 0),
            "after {}: {total:?}",
            message.routing_key
        );
    }

    async fn rows(&self, table: &str) -> i64 {
        self.platform
            .number(&format!("select count(*) from {table}"))
            .await
    }

    async fn finish(self) {
        assert_eq!(self.platform.total().await.quarantined, 0);
        self.worker.ready().await;
        self.worker.stop().await;
    }
}

/// With an event time.
fn at(ts: &str, mut message: Message) -> Message {
    let mut body: Value = serde_json::from_slice(&message.body).unwrap();
    body["ts"] = ts.into();
    message.body = body.to_string().into_bytes();
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_waits_for_its_parent() {
    let mut school = OneByOne::start(&[]).await;
    school.send(&maestro(1), 0).await;
    school.send(&grupo(1, 1, 1), 1).await;
    assert_eq!(school.rows("academico.grupos").await, 0);
    // Another subject is not what it waits for.
    school.send(&materia(2), 1).await;
    school.send(&materia(1), 0).await;
    assert_eq!(school.rows("academico.grupos").await, 1);
    school.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_missing_parents_may_come_in_either_order() {
    let mut school = OneByOne::start(&[]).await;
    school.send(&maestro(1), 0).await;
    school.send(&materia(1), 0).await;
    school.send(&inscripcion(1, 1), 1).await;
    school.send(&alumno(1), 1).await;
    school.send(&grupo(1, 1, 1), 0).await;
    assert_eq!(school.rows("academico.inscripciones").await, 1);

    school.send(&inscripcion(2, 2), 1).await;
    school.send(&grupo(2, 1, 1), 1).await;
    school.send(&alumno(2), 0).await;
    assert_eq!(school.rows("academico.inscripciones").await, 2);

    school.send(&grupo(3, 3, 3), 1).await;
    school.send(&materia(3), 1).await;
    school.send(&maestro(3), 0).await;
    school.send(&grupo(4, 4, 4), 1).await;
    school.send(&maestro(4), 1).await;
    school.send(&materia(4), 0).await;
    assert_eq!(school.rows("academico.grupos").await, 4);
    school.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_family_may_come_upside_down() {
    let mut school = OneByOne::start(&[]).await;
    let grandchildren = [
        calificacion(1, 1, 9.5),
        inscripcion(1, 1),
        calificacion(2, 1, 4.0),
    ];
    for (pending, message) in std::iter::zip(1.., &grandchildren) {
        school.send(message, pending).await;
    }
    school.send(&alumno(1), 3).await;
    school.send(&grupo(1, 1, 1), 4).await;
    school.send(&materia(1), 4).await;
    // The teacher lets the group in, and the group those who waited for it, in one promotion.
    school.send(&maestro(1), 1).await;
    school.send(&alumno(2), 0).await;
    assert_eq!(school.rows("academico.calificaciones").await, 2);
    assert_eq!(school.rows("academico.inscripciones").await, 1);
    school.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_that_waits_does_not_hold_up_an_older_one() {
    let mut school = OneByOne::start(&[]).await;
    let subject_of_group = "select g.id_materia::bigint from academico.grupos g where g.id = 1";
    for parent in [maestro(1), materia(1), materia(2)] {
        school.send(&parent, 0).await;
    }
    // The newer version refers to a subject that is missing; the older ones do not.
    school
        .send(&at("2024-03-01T00:00:00Z", grupo(1, 3, 1)), 1)
        .await;
    school
        .send(&at("2024-01-01T00:00:00Z", grupo(1, 1, 1)), 1)
        .await;
    assert_eq!(school.platform.number(subject_of_group).await, 1);
    school
        .send(&at("2024-02-01T00:00:00Z", grupo(1, 2, 1)), 1)
        .await;
    assert_eq!(school.platform.number(subject_of_group).await, 2);
    school.send(&materia(3), 0).await;
    assert_eq!(school.platform.number(subject_of_group).await, 3);

    // An old version whose parent comes late must not win.
    school
        .send(&at("2023-12-01T00:00:00Z", grupo(1, 4, 1)), 1)
        .await;
    school.send(&materia(4), 0).await;
    assert_eq!(school.platform.number(subject_of_group).await, 3);
    let entry = school.platform.ledger_entry(DOMAIN, "grupo").await;
    assert_eq!((entry.inserted, entry.updated, entry.stale), (1, 2, 1));

    // Two versions that wait for the same parent: the newer wins, whichever came first.
    school
        .send(&at("2024-04-02T00:00:00Z", grupo(2, 5, 1)), 1)
        .await;
    let mut older: Value = serde_json::from_slice(&grupo(2, 5, 1).body).unwrap();
    older["periodo"] = "2023B".into();
    school
        .send(&at("2024-04-01T00:00:00Z", message("grupo", &older)), 2)
        .await;
    school.send(&materia(5), 0).await;
    assert_eq!(
        school
            .platform
            .texts("select periodo from academico.grupos where id = 2")
            .await,
        ["2024A"]
    );
    school.finish().await;
}

/// A copy of a row that waits is a copy, nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_waiting_row_do_not_wait_too() {
    let mut school = OneByOne::start(&[]).await;
    let child = grupo(1, 1, 1);
    for _ in 0..3 {
        school.send(&child, 1).await;
    }
    school.send(&maestro(1), 1).await;
    school.send(&materia(1), 0).await;
    school.send(&child, 0).await;
    assert_eq!(
        school
            .platform
            .ledger_entry(DOMAIN, "grupo")
            .await
            .duplicates,
        3
    );
    assert_eq!(school.rows("academico.grupos").await, 1);
    school.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_parent_never_comes_ends_in_quarantine_with_its_fields() {
    let platform = Platform::new().await;
    platform.declare().await;
    let auditor = platform.auditor().await;
    let body = json!({"id_alumno": 1, "id_grupo": 2, "calificacion": 8.25, "fecha_registro": "2024-06-10", "ts": "2024-06-11T10:30:00.123456-06:00"});
    let orphans = [
        (message("calificacion", &body), "academico.alumno"),
        (inscripcion(1, 2), "academico.alumno"),
        (grupo(2, 3, 4), "academico.materia"),
    ];
    let kept = [maestro(9), materia(9), grupo(9, 9, 9)];
    platform
        .publish_all(orphans.iter().map(|(message, _)| message).chain(&kept))
        .await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    acequia_testkit::wait_for("the orphans in quarantine", async || {
        Ok(platform.total().await.quarantined == 3)
    })
    .await
    .unwrap();
    let total = platform.total().await;
    assert_eq!(
        (
            total.received,
            total.inserted,
            total.pending,
            total.unaccounted
        ),
        (6, 3, 0, 0)
    );

    let domain = acequia_contracts::domain(DOMAIN).unwrap();
    for (message, missing) in &orphans {
        let row = platform.quarantined(message).await;
        assert_eq!(
            row.reason(),
            (
                Code::Orphan.stage().as_str(),
                Code::Orphan.as_str(),
                Some(*missing)
            )
        );
        assert_eq!(
            (row.domain.as_str(), row.entity.as_deref()),
            (DOMAIN, message.routing_key.split('.').nth(1))
        );
        assert_eq!(row.properties["message_id"], message.id());
        assert_eq!(row.violations[0]["code"], Code::Orphan.as_str());
        // The body is rebuilt from the columns: every field is there, and it is a message again.
        let sent: Value = serde_json::from_slice(&message.body).unwrap();
        let rebuilt: Value = serde_json::from_slice(&row.body).unwrap();
        for (field, value) in sent.as_object().unwrap() {
            if field != "ts" {
                assert_eq!(&rebuilt[field], value, "{field}");
            }
        }
        let entity = domain.find(row.entity.as_deref().unwrap()).unwrap();
        let decode = |body: &[u8]| {
            let mut columns = entity.new_columns();
            let envelope = entity
                .decode(
                    std::str::from_utf8(body).unwrap(),
                    &Context::now(),
                    &mut columns,
                )
                .unwrap();
            (columns, envelope)
        };
        // A message without an event time now has its publish time, and a date that it left out is the day of that time.
        let mut timed = sent.clone();
        timed["ts"] = rebuilt["ts"].clone();
        let (_, before) = decode(&message.body);
        let ((was, _), (is, after)) = (decode(timed.to_string().as_bytes()), decode(&row.body));
        assert_eq!(was, is, "{rebuilt}");
        assert!(before.ts.is_none() || before.ts == after.ts, "{rebuilt}");
    }

    // Too late: the parent comes, the orphan stays where it is.
    platform
        .publish_all([&alumno(1), &materia(3), &maestro(4)])
        .await;
    platform.settled(9).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.quarantined,
            total.pending,
            total.unaccounted
        ),
        (6, 3, 0, 0)
    );
    assert_eq!(
        platform
            .number("select count(*) from academico.grupos")
            .await,
        1
    );
    // And a copy of it, which waits in vain too, is a copy.
    platform.publish_all([&orphans[0].0]).await;
    acequia_testkit::wait_for("the copy in quarantine", async || {
        Ok(platform.total().await.duplicates == 1)
    })
    .await
    .unwrap();
    let total = platform.total().await;
    assert_eq!((total.received, total.quarantined), (10, 3));
    assert_eq!(platform.quarantined(&orphans[0].0).await.occurrences, 2);
    let counted = format!(
        r#"acequia_quarantined_messages_total{{code="orphan",domain="{DOMAIN}",stage="merge"}} 3"#
    );
    worker.counts(&counted).await;
    auditor.finish().await;
    worker.ready().await;
    worker.stop().await;
}

/// Before version 3 of the schema an expired row stayed in staging, where a replay of it would be
/// taken for a copy.
#[tokio::test(flavor = "multi_thread")]
async fn the_migration_takes_expired_rows_out_of_staging() {
    const MIGRATION: &str = include_str!("../../../sql/migrations/V0003__quarantine_life.sql");
    let platform = Platform::new().await;
    platform.declare().await;
    let expired = grupo(1, 1, 1);
    platform.publish_all([&expired, &alumno(1)]).await;
    let worker = platform.worker(&["--orphan-ttl", "1s"]);
    acequia_testkit::wait_for("the orphan in quarantine", async || {
        Ok(platform.total().await.quarantined == 1)
    })
    .await
    .unwrap();
    worker.stop().await;
    platform.publish_all([&grupo(2, 2, 2)]).await;
    let worker = platform.worker(&[]);
    platform.settled(3).await;
    worker.stop().await;
    platform
        .execute(
            "insert into stg.grupos_upsert (message_id, day, batch_id, event_at, id_grupo, id_materia, id_maestro, periodo)
             select q.message_id, q.day, q.batch_id, now(), 1, 1, 1, '2024A' from raw.quarantine q",
        )
        .await;
    let step = &MIGRATION[MIGRATION.find("do $$").unwrap()..];
    platform.execute(step).await;
    let left =
        "select count(*) from stg.grupos_upsert s join core.pending p using (message_id, day)";
    assert_eq!(platform.number(left).await, 1, "the one that waits stays");
    assert_eq!(
        platform
            .number("select count(*) from stg.grupos_upsert")
            .await,
        1
    );
    assert_eq!(
        platform
            .number("select count(*) from stg.alumnos_upsert")
            .await,
        1
    );
    assert_eq!(platform.total().await.unaccounted, 0);
}
