//! Rows that PostgreSQL refuses although the contract let them pass, and a domain whose merge is
//! broken: nothing else suffers.

use std::iter::zip;

use acequia_contracts::{Code, catalog, fixtures};
use acequia_store::promotion::promote;
use serde_json::json;

use crate::support::school::{
    DOMAIN, alumno_body, alumnos, break_merge, grupo, maestro, materia, message,
};
use crate::support::{Message, Platform};

fn student(id: i32, name: &str) -> Message {
    let mut body = alumno_body(id);
    body["nombre"] = name.into();
    message("alumno", &body)
}

/// Why a message of stage load is in quarantine.
async fn assert_refused(platform: &Platform, message: &Message, sqlstate: &str) {
    let row = platform.quarantined(message).await;
    let code = Code::RefusedByDatabase;
    assert_eq!(
        (row.stage.as_str(), row.code.as_str()),
        (code.stage().as_str(), code.as_str())
    );
    assert_eq!(row.sqlstate.as_deref(), Some(sqlstate), "{}", row.message);
    assert_eq!(row.body, message.body);
    assert_eq!(row.properties["message_id"], message.id());
    // PostgreSQL names the value in its answer; it must not be kept.
    assert!(
        !row.message.contains("forbidden") && !row.violations.to_string().contains("forbidden")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_rows_only_the_refused_one_is_missing() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.execute("alter table stg.alumnos_upsert add constraint no_such_name check (nombre <> 'forbidden')").await;
    let mut messages = alumnos(1..1001);
    messages[617] = student(618, "forbidden");
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    platform.settled(1000).await;

    let total = platform.total().await;
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (999, 1, 0)
    );
    assert_refused(&platform, &messages[617], "23514").await;
    let row = platform.quarantined(&messages[617]).await;
    assert_eq!(
        row.message,
        "PostgreSQL refused the row: constraint no_such_name"
    );
    let missing = "select i from generate_series(1, 1000) i where not exists (select from academico.alumnos a where a.id = i)";
    assert_eq!(
        platform
            .number(&format!("select m.i::bigint from ({missing}) m"))
            .await,
        618
    );

    // Sent again it is the same message, and refused again.
    platform.publish_all([&messages[617]]).await;
    platform.settled(1001).await;
    assert_eq!(platform.quarantined(&messages[617]).await.occurrences, 2);
    assert_eq!(platform.total().await.duplicates, 1);
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refused_rows_are_all_found_for_their_own_reasons() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform
        .execute(
            "alter table stg.alumnos_upsert add constraint no_such_name check (nombre <> 'forbidden');
             alter table stg.alumnos_upsert alter column nombre type varchar(40);
             alter table stg.maestros_upsert alter column especialidad set not null;
             create domain public.late as date check (value > '2000-01-01');
             alter table stg.grupos_upsert alter column fecha_inicio type public.late",
        )
        .await;
    let mut messages = alumnos(1..301);
    let mut refused = Vec::new();
    for (place, sqlstate) in zip((0..300).step_by(7), ["23514", "22001"].into_iter().cycle()) {
        let id = i32::try_from(place).unwrap() + 1;
        let name = if sqlstate == "23514" {
            "forbidden".to_owned()
        } else {
            "forbidden ".repeat(5)
        };
        messages[place] = student(id, &name);
        refused.push((messages[place].clone(), sqlstate));
    }
    // Other entities in the same batch.
    let teacher = maestro(1);
    let subject = materia(1);
    let group = message(
        "grupo",
        &json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A", "fecha_inicio": "1999-01-01"}),
    );
    messages.extend([teacher.clone(), subject, group.clone()]);
    refused.extend([(teacher, "23502"), (group, "23514")]);
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    platform.settled(303).await;
    for (message, sqlstate) in &refused {
        assert_refused(&platform, message, sqlstate).await;
    }
    let total = platform.total().await;
    let bad = i64::try_from(refused.len()).unwrap();
    assert_eq!(
        (
            total.quarantined,
            total.inserted,
            total.pending,
            total.unaccounted
        ),
        (bad, 303 - bad, 0, 0)
    );
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_merge_stalls_its_own_promotion_only_and_says_so() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--stall-after", "1s"]);
    worker.ready().await;
    let original = break_merge(&platform).await;
    platform.publish_all(&alumnos(1..101)).await;
    worker
        .not_ready_because("promote", &["no merge today"])
        .await;

    // Ingest goes on: what arrives now is staged and waits.
    platform.publish_all(&alumnos(101..201)).await;
    platform.received(200).await;
    let entry = platform.ledger_entry(DOMAIN, "alumno").await;
    assert_eq!(
        (
            entry.staged,
            entry.promoted(),
            entry.quarantined,
            entry.unaccounted
        ),
        (200, 0, 0, 0)
    );
    let metrics = worker.metrics().await;
    assert!(metrics.contains(&format!(
        r#"acequia_ready{{loop="promote",subject="{DOMAIN}"}} 0"#
    )));
    assert!(metrics.contains(&format!(r#"acequia_staged_rows{{domain="{DOMAIN}"}} "#)));

    // Other domains do not notice.
    let mut others = 0;
    for domain in catalog().iter().filter(|domain| domain.name != DOMAIN) {
        let entity = &domain.entities[0];
        let sample = fixtures::valid(domain.name, entity.name)[0];
        platform
            .publish_all([&Message::new(domain.name, entity.name, sample.body)])
            .await;
        others += 1;
    }
    let promoted = format!(
        "select count(*) from core.batches where state = 'promoted' and domain <> '{DOMAIN}'"
    );
    acequia_testkit::wait_for("the other domains", async || {
        Ok(platform.number(&promoted).await == others)
    })
    .await
    .unwrap();

    // Mended, it goes on by itself.
    platform.execute(&original).await;
    platform.settled(200 + others).await;
    let entry = platform.ledger_entry(DOMAIN, "alumno").await;
    assert_eq!(
        (entry.inserted, entry.quarantined, entry.unaccounted),
        (200, 0, 0)
    );
    worker.ready().await;
    worker.stop().await;
}

/// A merge that forgets rows is as broken as one that raises.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_loses_count_cannot_commit() {
    let platform = Platform::new().await;
    let original = platform
        .texts("select pg_get_functiondef('academico.merge_maestros'::regproc)")
        .await;
    let lies = [
        "select null::bigint, 0, 0, 0, 0, 0, 0, 0 where false", // no outcome at all
        "select unnest(p_batches), 1, 0, 0, 0, 0, 0, 0",        // staged, but nothing became of it
        "select unnest(p_batches), 1, 2, 0, 0, 0, 0, 0",        // more than there were
        "select unnest(p_batches), 1, 2, 0, 0, 0, -1, 0",       // the sum is right, a count is not
        "select unnest(p_batches), 1, 1, 0, 0, 0, 0, 1",        // deleted and inserted at once
    ];
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.execute(&replacement(lies[0])).await;
    platform
        .publish_all([&maestro(1), &materia(1), &grupo(1, 1, 1)])
        .await;
    platform.received(3).await;
    worker.stop().await;
    let mut connection = platform.connect().await;
    for lie in lies {
        platform.execute(&replacement(lie)).await;
        let promoted = promote(&mut connection, DOMAIN, 1000).await;
        assert!(promoted.is_err(), "{lie}: {promoted:?}");
        assert_eq!(
            platform
                .number("select count(*) from core.batches where state = 'promoted'")
                .await,
            0,
            "{lie}"
        );
        assert_eq!(
            platform
                .number("select count(*) from academico.materias")
                .await,
            0,
            "{lie}"
        );
    }
    platform.execute(&original[0]).await;
    let worker = platform.worker(&[]);
    platform.settled(3).await;
    assert_eq!(platform.total().await.inserted, 3);
    worker.stop().await;
}

fn replacement(query: &str) -> String {
    format!(
        "create or replace function academico.merge_maestros(p_batches bigint[]) returns setof core.merge_outcome
         language plpgsql security definer set search_path = pg_catalog, pg_temp as $$ begin return query {query}; end $$"
    )
}
