//! Foreign keys hold in promotions too, where they are checked per statement instead of per row.

use acequia_store::promotion::check_references_per_statement;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::Platform;

const PARENTS: &str = "
insert into academico.alumnos (id, nombre, event_at, message_id, batch_id)
select i, 'A', now(), gen_random_uuid(), 0 from generate_series(1, 3) i;
insert into academico.maestros (id, nombre, event_at, message_id, batch_id) values (1, 'B', now(), gen_random_uuid(), 0);
insert into academico.materias (id, nombre, creditos, event_at, message_id, batch_id) values (1, 'C', 1, now(), gen_random_uuid(), 0);
insert into academico.grupos (id, id_materia, id_maestro, periodo, fecha_inicio, event_at, message_id, batch_id)
values (1, 1, 1, '2024A', current_date, now(), gen_random_uuid(), 0);";

/// Enrols some students in group 1, in one statement.
fn enrol(students: &[i32]) -> String {
    format!(
        "insert into academico.inscripciones (id_alumno, id_grupo, fecha_inscripcion, event_at, message_id, batch_id)
         select i, 1, current_date, now(), gen_random_uuid(), 0 from unnest(array{students:?}) i"
    )
}

impl Platform {
    /// A session like that of the promote loop, with the rights of the merge functions.
    async fn promoting(&self) -> PgConnection {
        let mut connection = self.connect().await;
        assert!(
            check_references_per_statement(&mut connection)
                .await
                .unwrap()
        );
        connection
    }
}

/// The constraint that refused a statement.
fn refused_by(outcome: sqlx::Result<sqlx::postgres::PgQueryResult>) -> String {
    let error = outcome.unwrap_err();
    let error = error.as_database_error().unwrap();
    assert_eq!(error.code().as_deref(), Some("23503"), "{error}");
    error.constraint().unwrap().to_owned()
}

#[tokio::test]
async fn the_worker_may_check_references_per_statement() {
    let platform = Platform::new().await;
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    assert!(check_references_per_statement(&mut worker).await.unwrap());
}

#[tokio::test]
async fn a_promotion_cannot_write_a_row_that_refers_to_nothing() {
    let platform = Platform::new().await;
    platform.connect().await.execute(PARENTS).await.unwrap();
    let mut promoting = platform.promoting().await;

    let orphans = promoting.execute(AssertSqlSafe(enrol(&[1, 2, 99]))).await;
    assert_eq!(refused_by(orphans), "inscripciones_id_alumno_fkey");
    let enrolled = "select count(*) from academico.inscripciones";
    assert_eq!(platform.number(enrolled).await, 0);

    promoting
        .execute(AssertSqlSafe(enrol(&[1, 2])))
        .await
        .unwrap();
    assert_eq!(platform.number(enrolled).await, 2);
    let moved = "update academico.grupos set id_maestro = 7";
    let moved = promoting.execute(moved).await;
    assert_eq!(refused_by(moved), "grupos_id_maestro_fkey");
    // No merge changes a key. If one did, all rows of the table would be checked.
    let renamed = "update academico.inscripciones set id_alumno = 99 where id_alumno = 1";
    let renamed = promoting.execute(renamed).await;
    assert_eq!(refused_by(renamed), "inscripciones_id_alumno_fkey");
    let renamed = "update academico.inscripciones set id_alumno = 3 where id_alumno = 1";
    promoting.execute(renamed).await.unwrap();
}

#[tokio::test]
async fn a_row_cannot_go_while_a_promotion_refers_to_it() {
    let platform = Platform::new().await;
    platform.connect().await.execute(PARENTS).await.unwrap();
    let mut promoting = platform.promoting().await;
    let mut promotion = promoting.begin().await.unwrap();
    promotion.execute(AssertSqlSafe(enrol(&[3]))).await.unwrap();

    let mut other = platform.connect().await;
    let deletion = tokio::spawn(async move {
        let delete = "delete from academico.alumnos where id = 3";
        other.execute(delete).await
    });
    acequia_testkit::wait_for("the deletion to wait", async || {
        let waiting = "select count(*) from pg_stat_activity where wait_event = 'relation' \
            and query like 'delete from academico.alumnos%' and datname = current_database()";
        Ok(platform.number(waiting).await == 1)
    })
    .await
    .unwrap();
    promotion.commit().await.unwrap();
    assert_eq!(
        refused_by(deletion.await.unwrap()),
        "inscripciones_id_alumno_fkey"
    );
}

#[tokio::test]
async fn every_foreign_key_of_the_core_has_its_check() {
    let platform = Platform::new().await;
    let unguarded = "
        select count(*) from pg_constraint f
        cross join unnest(array['insert', 'update']) event
        where f.contype = 'f' and f.conparentid = 0
          and f.conrelid in (select core_table::regclass from core.entities)
          and not exists (
              select from pg_trigger t where t.tgrelid = f.conrelid and t.tgenabled = 'R'
                and t.tgname = 'check_' || event || '_' || f.conname)";
    assert_eq!(platform.number(unguarded).await, 0);
    let guards = "select count(*) from pg_trigger where tgenabled = 'R' and tgparentid = 0";
    assert!(platform.number(guards).await > 0);
}

/// Promotions switch ordinary triggers off: one of ours that is not marked would be silent there.
#[tokio::test]
async fn no_trigger_is_silent_in_promotions_by_accident() {
    let platform = Platform::new().await;
    let silent = "
        select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace
        -- Promotions hold the lock that number_outbox takes.
        where not t.tgisinternal and t.tgenabled = 'O' and t.tgname not in ('await_references', 'number_outbox')
          and n.nspname not in ('pg_catalog', 'information_schema')";
    assert_eq!(platform.number(silent).await, 0);
}
