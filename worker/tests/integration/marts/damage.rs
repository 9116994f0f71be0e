//! Damage done to the core by hand: each rule finds its own.

use std::collections::BTreeSet;

use sqlx::Connection;

use super::catalogues;
use super::enrolment;
use super::mark;
use super::rules::{not_passed, run_rules};
use super::sent;
use super::student;
use crate::permutations::Feed;
use crate::support::Platform;

/// Damage to the core that only the owner's rights allow: rule, outcome, statements,
/// failing rows, sample keys.
const DAMAGE: [(&str, &str, &str, i64, &[&str]); 21] = [
    (
        "alumnos_nombre_not_blank",
        "fail",
        "update academico.alumnos set nombre = E' \\t' where id in (3, 4)",
        2,
        &["3", "4"],
    ),
    (
        "alumnos_edad_range",
        "warn",
        "update academico.alumnos set edad = 14 where id = 1; update academico.alumnos set edad = 101 where id = 2; \
      update academico.alumnos set edad = 15 where id = 3; update academico.alumnos set edad = 100 where id = 4",
        2,
        &["1", "2"],
    ),
    (
        "alumnos_genero_values",
        "fail",
        "update academico.alumnos set genero = null where id = 7",
        1,
        &["7"],
    ),
    (
        "inscripciones_unique",
        "fail",
        "alter table academico.inscripciones drop constraint inscripciones_pkey; \
      insert into academico.inscripciones select * from academico.inscripciones where (id_alumno, id_grupo) = (1, 1)",
        1,
        &["1/1"],
    ),
    (
        "inscripciones_alumno_exists",
        "fail",
        "alter table academico.inscripciones drop constraint inscripciones_id_alumno_fkey; \
      insert into academico.inscripciones values (999, 1, '2024-01-01', now(), gen_random_uuid(), 1)",
        1,
        &["999/1"],
    ),
    (
        "inscripciones_grupo_exists",
        "fail",
        "alter table academico.inscripciones drop constraint inscripciones_id_grupo_fkey; \
      insert into academico.inscripciones values (1, 999, '2024-01-01', now(), gen_random_uuid(), 1)",
        1,
        &["1/999"],
    ),
    (
        "inscripciones_fecha_not_future",
        "fail",
        "delete from academico.calificaciones where (id_alumno, id_grupo) = (1, 1); \
      update academico.inscripciones set fecha_inscripcion = current_date + 2 where (id_alumno, id_grupo) = (1, 1)",
        1,
        &["1/1"],
    ),
    (
        "calificaciones_unique",
        "fail",
        "alter table academico.calificaciones drop constraint calificaciones_pkey; \
      insert into academico.calificaciones select * from academico.calificaciones where (id_alumno, id_grupo) = (1, 1)",
        1,
        &["1/1"],
    ),
    (
        "calificaciones_range",
        "fail",
        "alter table academico.calificaciones drop constraint calificaciones_calificacion_check; \
      update academico.calificaciones set calificacion = 10.01 where id_alumno = 2; \
      update academico.calificaciones set calificacion = -1 where id_alumno = 3",
        2,
        &["2/1", "3/1"],
    ),
    (
        "calificaciones_alumno_exists",
        "fail",
        "alter table academico.calificaciones drop constraint calificaciones_id_alumno_fkey; \
      insert into academico.calificaciones values (999, 1, 5, current_date, now(), gen_random_uuid(), 1)",
        1,
        &["999/1"],
    ),
    (
        "calificaciones_grupo_exists",
        "fail",
        "alter table academico.calificaciones drop constraint calificaciones_id_grupo_fkey; \
      insert into academico.calificaciones values (1, 999, 5, current_date, now(), gen_random_uuid(), 1)",
        1,
        &["1/999"],
    ),
    (
        "calificaciones_enrolled",
        "warn",
        "delete from academico.inscripciones where id_alumno in (1, 2, 3)",
        3,
        &["1/1", "2/1", "3/1"],
    ),
    (
        "calificaciones_fecha_not_future",
        "fail",
        "update academico.calificaciones set fecha_registro = current_date + 2 where id_alumno = 5",
        1,
        &["5/1"],
    ),
    (
        "calificaciones_after_inscripcion",
        "warn",
        "update academico.calificaciones set fecha_registro = '2001-01-01' where id_alumno = 5",
        1,
        &["5/1"],
    ),
    (
        "maestros_nombre_not_blank",
        "fail",
        "update academico.maestros set nombre = ''",
        1,
        &["1"],
    ),
    (
        "materias_nombre_unique",
        "warn",
        "insert into academico.materias select id + g, upper(nombre), creditos, event_at, message_id, batch_id \
      from academico.materias, generate_series(1, 2) g; \
      update core.entity_state set changed_at = clock_timestamp()",
        1,
        &["1"],
    ),
    (
        "grupos_complete",
        "fail",
        "alter table academico.grupos alter column periodo drop not null; update academico.grupos set periodo = null",
        1,
        &["1"],
    ),
    (
        "staging_recency",
        "warn",
        "update core.batches set received_at = now() - interval '25 hours'",
        1,
        &["academico"],
    ),
    (
        "conservation",
        "fail",
        "insert into core.pending values ('academico.alumno', gen_random_uuid(), '1970-01-01', 1, 'academico.x', '1')",
        1,
        &["alumno"],
    ),
    (
        "pending_is_short",
        "warn",
        "update core.pending set since = now() - interval '61 minutes'",
        1,
        &["academico.calificacion 00000000-0000-0000-0000-00000000270f"],
    ),
    (
        "kpi_materia_rows",
        "warn",
        "insert into academico.materias values (77, 'Geología', 5, now(), gen_random_uuid(), 1)",
        1,
        &["77"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_finds_its_violation_and_no_other_does() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let messages = catalogues(1)
        .into_iter()
        .chain((1..=40).map(student))
        .chain((1..=40).map(|id| enrolment(id, 1)))
        .chain((1..=40).map(|id| mark(id, 1, 7.0)));
    feed.send(&sent(1, messages), 1_000).await;
    // One mark waits for its group.
    feed.send(&sent(9_999, [mark(1, 50, 7.0)]), 10).await;
    feed.refresh().await;
    let mut owner = platform.connect().await;
    assert_eq!(not_passed(&run_rules(&mut owner).await), []);

    let rules: BTreeSet<String> = run_rules(&mut owner).await.into_keys().collect();
    let damaged: BTreeSet<String> = DAMAGE.iter().map(|damage| damage.0.to_owned()).collect();
    assert_eq!(rules, damaged, "each rule has a violation in this test");
    for (rule, outcome, statements, failing, keys) in DAMAGE {
        let mut transaction = owner.begin().await.unwrap();
        sqlx::raw_sql(statements)
            .execute(&mut *transaction)
            .await
            .unwrap();
        let results = run_rules(&mut transaction).await;
        assert_eq!(
            not_passed(&results),
            [(rule, outcome, Some(failing), keys.to_vec())]
        );
        let kept = &results[rule];
        assert!(kept.measured.unwrap() > kept.threshold, "{kept:?}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(not_passed(&run_rules(&mut owner).await), []);
}
