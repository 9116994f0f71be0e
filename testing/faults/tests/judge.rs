//! The judge is judged: each way of losing and doubling, done by hand to a database in which all
//! was well, is found.

#![allow(clippy::unwrap_used)]

use acequia_faults::compare::{Findings, compare};
use acequia_faults::environment::TestEnv;
use acequia_faults::oracle::Sent;
use acequia_faults::scenario_run::ScenarioRun;
use acequia_faults::setup::{RunOptions, Setup};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The judge's findings after some statements, which are rolled back.
async fn after(database: &mut PgConnection, sent: &[Sent], statements: &str) -> Findings {
    let mut transaction = database.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut *transaction)
        .await
        .unwrap();
    let findings = compare(&mut transaction, sent).await.unwrap();
    transaction.rollback().await.unwrap();
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_doubled_or_wrong_is_found() {
    let run_options = RunOptions {
        long: false,
        seed: 7,
        observe: false,
    };
    let environment = TestEnv::set(false).await.unwrap();
    let setup = Setup {
        rate: 2000.0,
        ..Setup::default()
    };
    let mut run = ScenarioRun::on(environment, &run_options, &setup)
        .await
        .unwrap();
    run.flows(8000).await.unwrap();
    let sent = run.settle_all().await.unwrap();
    run.supervisor.stop().await.unwrap();
    let mut database = run.environment.admin().await.unwrap();

    let well = after(&mut database, &sent, "select").await;
    assert_eq!((well.lost, well.doubled), (0, 0), "{well:?}");
    assert!(well.failures.is_empty(), "{well:?}");

    // A message that is nowhere.
    let found = after(
        &mut database,
        &sent,
        "delete from raw.quarantine where message_id = (select min(message_id::text)::uuid from raw.quarantine)",
    )
    .await;
    assert_eq!((found.lost, found.doubled), (1, 0), "{found:?}");

    // A core row that is gone.
    let found = after(
        &mut database,
        &sent,
        "delete from academico.inscripciones where (id_alumno, id_grupo) = (select min(id_alumno), min(id_grupo) from (
           select id_alumno, id_grupo from academico.inscripciones limit 1) x)",
    )
    .await;
    assert_eq!(found.lost, 1, "{found:?}");

    // A core row with another value, or of another version.
    for change in [
        "update academico.alumnos set edad = edad + 1 where id = (select min(id) from academico.alumnos)",
        "update academico.alumnos set message_id = gen_random_uuid() where id = (select min(id) from academico.alumnos)",
        "update consumo.clientes set nombre = 'x' where propietario_id = 'CLI_00001'",
    ] {
        let found = after(&mut database, &sent, change).await;
        assert_eq!(found.failures.len(), 1, "{found:?}");
    }

    // A reading with another value: the row, and the day that is not its sum any more.
    let change = "update consumo.lecturas set consumo_kwh = consumo_kwh + 1
        where (propietario_id, instante) = (select propietario_id, min(instante) from consumo.lecturas group by 1 limit 1)";
    let found = after(&mut database, &sent, change).await;
    assert_eq!(found.failures.len(), 2, "{found:?}");

    // An anomaly that is gone, one that is another, an alert that was not withdrawn.
    for (modo, change, failures) in [
        ("original", "delete from consumo.anomalias", 1),
        ("original", "update consumo.anomalias set score = 0.99", 1),
        // Nobody knows of it, and the last that was told of it is not true.
        ("estacional", "delete from consumo.anomalias", 2),
    ] {
        let change = format!(
            "{change} where (propietario_id, modo, instante, ambito) =
             (select propietario_id, modo, instante, ambito from consumo.anomalias where modo = '{modo}' order by 1, 3 limit 1)"
        );
        let found = after(&mut database, &sent, &change).await;
        assert_eq!(found.failures.len(), failures, "{modo}: {found:?}");
    }

    // A message counted twice: once more as received.
    let found = after(
        &mut database,
        &sent,
        "alter table core.batch_entities drop constraint every_message_is_accounted_for;
         alter table core.settled_totals drop constraint every_message_is_accounted_for;
         update core.batch_entities set received = received + 1, inserted = inserted + 1
         where ctid = (select min(ctid) from core.batch_entities where inserted > 0)",
    )
    .await;
    assert_eq!((found.lost, found.doubled), (0, 2), "{found:?}");

    // A change of a mark applied twice, and one that is missing.
    let found = after(
        &mut database,
        &sent,
        "insert into academico.calificaciones_audit (id_alumno, id_grupo, calificacion_anterior, calificacion_nueva,
           message_id_anterior, message_id, event_at)
         select id_alumno, id_grupo, calificacion_anterior, calificacion_nueva, message_id_anterior, message_id, event_at
         from academico.calificaciones_audit order by audit_id desc limit 1",
    )
    .await;
    assert_eq!(found.doubled, 1, "{found:?}");
    let found = after(
        &mut database,
        &sent,
        "delete from academico.calificaciones_audit where audit_id = (select max(audit_id) from academico.calificaciones_audit)",
    )
    .await;
    assert!(!found.failures.is_empty(), "{found:?}");

    // A message that was not sent.
    let found = after(
        &mut database,
        &sent,
        "update raw.quarantine set message_id = gen_random_uuid()
         where message_id = (select min(message_id::text)::uuid from raw.quarantine)",
    )
    .await;
    assert_eq!((found.lost, found.failures.len()), (1, 2), "{found:?}");
}
