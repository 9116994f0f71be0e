//! Rows that a table of the core refuses: each stands alone in quarantine, all others are promoted.

mod brake;

use acequia_store::promotion::promote;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::quarantine::told;
use crate::support::school::{
    DOMAIN, alumno_body, alumnos, grupo, inscripcion, maestro, materia, message,
};
use crate::support::{Message, Platform};

/// Domain tables that refuse in every way that PostgreSQL has: at once, by statement, at the end.
const REFUSE: &str = "
alter table academico.alumnos add constraint no_such_name check (nombre <> 'check');
alter table academico.alumnos add column short varchar(30) generated always as (nombre) stored;
alter table academico.maestros alter column especialidad set not null;
create unique index one_name on academico.maestros (nombre) where nombre = 'twin';
create table public.fields (name text primary key);
insert into public.fields values ('known');
alter table academico.maestros add constraint known_field foreign key (especialidad) references public.fields;
alter table academico.materias add column small smallint generated always as (creditos * 1000) stored;
create function public.refuse() returns trigger language plpgsql as $$
begin
    if new.nombre = tg_argv[0] then
        raise exception 'not this one' using errcode = tg_argv[1];
    end if;
    return new;
end $$;
create trigger refuse before insert on academico.materias for each row execute function public.refuse('trigger', '23000');
create constraint trigger refuse_later after insert on academico.materias deferrable initially deferred
    for each row execute function public.refuse('deferred', '23P01');
alter table academico.materias enable always trigger refuse, enable always trigger refuse_later;
select core.guard_references();";

/// Takes all of it back.
const MEND: &str = "
alter table academico.alumnos drop constraint no_such_name;
alter table academico.alumnos drop column short;
alter table academico.maestros alter column especialidad drop not null;
drop index academico.one_name;
alter table academico.maestros drop constraint known_field;
drop trigger check_insert_known_field on academico.maestros;
drop trigger check_update_known_field on academico.maestros;
alter table academico.materias drop column small;
drop trigger refuse on academico.materias;
drop trigger refuse_later on academico.materias;";

fn student(id: i32, name: &str) -> Message {
    let mut body = alumno_body(id);
    body["nombre"] = name.into();
    message("alumno", &body)
}

fn teacher(id: i32, name: &str, field: Option<&str>) -> Message {
    let body = json!({"id_maestro": id, "nombre": name, "especialidad": field});
    message("maestro", &body)
}

fn subject(id: i32, name: &str, credits: i32) -> Message {
    let body = json!({"id_materia": id, "nombre": name, "creditos": credits});
    message("materia", &body)
}

/// Number of rows in a table.
async fn rows(platform: &Platform, table: &str) -> i64 {
    platform
        .number(&format!("select count(*) from {table}"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_costs_its_row_only() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute(REFUSE).await;
    // The first and the last of their kind among them, two of a kind, and one per table at least.
    let culprits = [
        (student(1, "check"), "23514"),
        (student(150, &"long-".repeat(10)), "22001"),
        (student(300, "check"), "23514"),
        (teacher(1, "nobody", None), "23502"),
        (teacher(2, "twin", Some("known")), "23505"),
        (teacher(3, "stranger", Some("unknown")), "23503"),
        (subject(1, "many", 100), "22003"),
        (subject(2, "trigger", 8), "23000"),
        (subject(3, "deferred", 8), "23P01"),
    ];
    let mut good = alumnos(2..150);
    good.extend(alumnos(151..300));
    good.extend((10..30).map(|id| teacher(id, &format!("M{id}"), Some("known"))));
    good.extend((10..30).map(|id| subject(id, &format!("S{id}"), 8)));
    // The twin that came first stays.
    platform
        .publish_all([&teacher(9, "twin", Some("known"))])
        .await;
    let worker = platform.worker(&["--batch-max", "100"]);
    platform.settled(1).await;
    let refused = culprits.iter().map(|(message, _)| message);
    let (early, late) = good.split_at(good.len() / 2);
    let all: Vec<_> = early
        .iter()
        .chain(refused.clone())
        .chain(late)
        .cloned()
        .collect();
    let auditor = platform.auditor().await;
    platform.publish_all(&all).await;
    let received = i64::try_from(all.len()).unwrap() + 1;
    platform.settled(received).await;
    auditor.finish().await;

    for (message, sqlstate) in &culprits {
        let row = platform.quarantined(message).await;
        let sent: Value = serde_json::from_slice(&message.body).unwrap();
        let kept: Value = serde_json::from_slice(&row.body).unwrap();
        assert_eq!(row.reason().0, "merge", "{sent}");
        assert_eq!(row.reason().1, "merge_refused", "{sent}");
        assert_eq!(row.sqlstate.as_deref(), Some(*sqlstate), "{sent}");
        assert_eq!(row.status, "open");
        assert_eq!(row.properties["message_id"], message.id());
        assert_eq!(kept["entity"], row.entity.unwrap());
        assert_eq!(kept["nombre"], sent["nombre"]);
        // PostgreSQL and triggers name values in their answers; those are not kept.
        assert!(!row.message.contains("check") || row.message.contains("no_such_name"));
        assert!(!row.message.contains("not this one"));
    }
    let total = platform.total().await;
    let bad = i64::try_from(culprits.len()).unwrap();
    assert_eq!(
        (
            total.quarantined,
            total.inserted,
            total.pending,
            total.unaccounted
        ),
        (bad, received - bad, 0, 0)
    );
    assert_eq!(
        platform
            .number(
                "select (select count(*) from stg.alumnos_upsert where batch_id <= 0)
                  + (select count(*) from stg.maestros_upsert where batch_id <= 0)
                  + (select count(*) from stg.materias_upsert where batch_id <= 0)"
            )
            .await,
        0
    );
    worker.ready().await;
    let counted = format!(
        r#"acequia_quarantined_messages_total{{code="merge_refused",domain="{DOMAIN}",stage="merge"}} {bad}"#
    );
    worker.counts(&counted).await;

    // Mended, they get in by a replay.
    platform.execute(MEND).await;
    told(&platform, &["replay", "--code", "merge_refused"], 0).await;
    platform.settled(received + bad).await;
    let total = platform.total().await;
    assert_eq!((total.inserted, total.unaccounted), (received, 0));
    for (message, _) in &culprits {
        assert_eq!(platform.quarantined(message).await.status, "replayed");
    }
    // A copy of an original is a copy of its replay.
    platform
        .publish_all(culprits.iter().map(|(message, _)| message))
        .await;
    platform.settled(received + 2 * bad).await;
    assert_eq!(platform.total().await.duplicates, bad);
    assert_eq!(rows(&platform, "core.quarantine_open").await, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_version_leaves_the_one_before() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute(REFUSE).await;
    let version = |name: &str, ts: &str| {
        let mut body = alumno_body(7);
        body["nombre"] = name.into();
        body["ts"] = ts.into();
        message("alumno", &body)
    };
    let messages = [
        version("first", "2024-01-01T00:00:00Z"),
        version("check", "2024-01-03T00:00:00Z"),
        version("second", "2024-01-02T00:00:00Z"),
    ];
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    platform.settled(3).await;
    let name = platform
        .texts("select nombre from academico.alumnos where id = 7")
        .await;
    assert_eq!(name, ["second"]);
    assert_eq!(
        platform.quarantined(&messages[1]).await.code,
        "merge_refused"
    );
    assert_eq!(platform.total().await.unaccounted, 0);
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn among_rows_that_waited_only_the_refused_one_is_missing() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform
        .execute(
            "alter table academico.inscripciones add constraint no_13 check (id_alumno <> 13);
             alter table academico.alumnos add constraint no_15 check (id <> 15)",
        )
        .await;
    let worker = platform.worker(&[]);
    let enrolments: Vec<_> = (10..20).map(|id| inscripcion(id, 1)).collect();
    platform
        .publish_all([&maestro(1), &materia(1), &grupo(1, 1, 1)])
        .await;
    platform.publish_all(&enrolments).await;
    platform.settled(13).await;
    assert_eq!(platform.total().await.pending, 10);
    // The students come; they wake the enrolments, one of which is refused, and one of them is refused.
    let students = alumnos(10..20);
    platform.publish_all(&students).await;
    platform.settled(23).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.pending,
            total.quarantined,
            total.inserted,
            total.unaccounted
        ),
        (1, 2, 20, 0)
    );
    for refused in [&enrolments[3], &students[5]] {
        let row = platform.quarantined(refused).await;
        assert_eq!(row.code, "merge_refused");
        assert_eq!(row.sqlstate.as_deref(), Some("23514"));
    }
    worker.ready().await;
    platform
        .execute(
            "alter table academico.inscripciones drop constraint no_13;
             alter table academico.alumnos drop constraint no_15",
        )
        .await;
    told(&platform, &["replay", "--code", "merge_refused"], 0).await;
    platform.settled(25).await;
    let total = platform.total().await;
    assert_eq!(
        (total.pending, total.inserted, total.unaccounted),
        (0, 23, 0)
    );
    worker.stop().await;
}

/// Stages students without looking at them, as an older program might have done.
async fn stage_by_hand(platform: &Platform, first: i32, last: i32) {
    let rows = last - first + 1;
    platform
        .execute(&format!(
            "insert into core.batches (domain, queue, worker, state) values ('academico', 'acequia.academico', 'old', 'staged');
             insert into core.batch_entities (batch_id, domain, entity, received, staged)
                 select batch_id, 'academico', 'alumno', {rows}, {rows} from core.batches;
             insert into stg.alumnos_upsert (message_id, day, batch_id, event_at, id_alumno, nombre, edad, genero)
                 select gen_random_uuid(), '1970-01-01', b.batch_id, now(), n, 'Alumno', 20, 'F'
                 from core.batches b, generate_series({first}, {last}) n on conflict do nothing"
        ))
        .await;
}

/// Rows of an older program, which the contract of today would not let pass.
#[tokio::test(flavor = "multi_thread")]
async fn staged_rows_that_no_contract_has_seen_are_isolated() {
    let platform = Platform::new().await;
    stage_by_hand(&platform, 0, 2).await;
    // A transaction that does not get to its end leaves everything as it was.
    let staged = "select count(*) from stg.alumnos_upsert s join core.batches b using (batch_id) where b.state = 'staged'";
    let mut connection = platform.connect().await;
    let mut given_up = connection.begin().await.unwrap();
    sqlx::query("select * from core.isolate('academico', 1000)")
        .fetch_all(&mut *given_up)
        .await
        .unwrap();
    given_up.rollback().await.unwrap();
    assert_eq!(platform.number(staged).await, 3);
    let promoted = promote(&mut connection, DOMAIN, 1000).await.unwrap();
    assert_eq!((promoted[0].inserted, promoted[0].refused), (2, 1));
    let total = platform.total().await;
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (2, 1, 0)
    );
    assert_eq!(platform.number(staged).await, 0);
    let row = &platform.quarantine().await[0];
    assert_eq!(row.code, "merge_refused");
    let body: Value = serde_json::from_slice(&row.body).unwrap();
    assert_eq!(body["id_alumno"], 0);
}
