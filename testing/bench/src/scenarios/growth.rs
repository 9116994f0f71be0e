//! A drain into a core that is full already, with a month of staging behind it.

use std::time::Instant;

use acequia_testkit::TestDatabase;
use anyhow::ensure;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::drain::drain;
use crate::environment::BenchEnv;
use crate::load;
use crate::sample::Sample;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for rows in [0].iter().chain(&bench.size.rows) {
        let case = format!("{} million rows", *rows as f64 / 1e6);
        eprintln!("  filling: {case}");
        let database = bench.database().await?;
        fill(&database, bench.size.messages, *rows).await?;
        let environment = bench.environment_on(database).await?;
        let messages = bench.messages().await?;
        let count = messages.len();
        environment.fill(messages).await?;
        let drained = drain(&environment, 1, count).await?;
        ensure!(drained.totals.pending == 0, "{:?}", drained.totals);
        environment.clear().await?;
        samples.push(drained.sample(case, count));
    }
    Ok(samples)
}

/// Rows of the very students that the messages are about, in other groups: so the new rows meet the
/// old ones all over the indexes. References are checked as the promote loop does.
const FILL: &str = "
set session_replication_role = replica;
insert into academico.maestros (id, nombre, especialidad, event_at, message_id, batch_id)
select m, 'Before', null, '2020-01-01', gen_random_uuid(), 0 from generate_series(1, 100) m;
insert into academico.materias (id, nombre, creditos, event_at, message_id, batch_id)
select m, 'Before', 1, '2020-01-01', gen_random_uuid(), 0 from generate_series(1, 50) m;
insert into academico.alumnos (id, nombre, edad, genero, event_at, message_id, batch_id)
select s, 'Before', 20, 'F', '2020-01-01', gen_random_uuid(), 0 from generate_series(1, :students) s;
insert into academico.grupos (id, id_materia, id_maestro, periodo, fecha_inicio, event_at, message_id, batch_id)
select 500 + g, 1 + g % 50, 1 + g % 100, '2023A', '2023-01-09', '2023-01-01', gen_random_uuid(), 0
from generate_series(1, :groups) g;
insert into academico.inscripciones (id_alumno, id_grupo, fecha_inscripcion, event_at, message_id, batch_id)
select s, 500 + g, '2023-01-09', '2023-01-09', gen_random_uuid(), 0
from generate_series(1, :students) s, generate_series(1, :groups) g;
insert into academico.calificaciones (id_alumno, id_grupo, calificacion, fecha_registro, event_at, message_id, batch_id)
select s, 500 + g, (s * 7 + g * 13) % 1001 / 100.0, '2023-06-09', '2023-06-09', gen_random_uuid(), 0
from generate_series(1, :students) s, generate_series(1, :groups) g;
";

/// A month of days with a little in each, and the batches of a month.
const MONTH: &str = "
select core.partition_by_day(e.staging, d::date)
from core.entities e, generate_series(current_date - 30, current_date - 1, interval '1 day') d;
insert into stg.calificaciones_event (message_id, day, batch_id, event_at, id_alumno, id_grupo, calificacion)
select gen_random_uuid(), current_date - d, -d, now() - d * interval '1 day', s, 1, 7
from generate_series(1, 30) d, generate_series(1, 10000) s;
insert into core.batches (batch_id, domain, queue, worker, received_at, promoted_at, state)
select -b, :domain, 'acequia', 'before', now() - b * interval '1 minute', now() - b * interval '1 minute', 'promoted'
from generate_series(1, 43200) b;
insert into core.batch_entities (batch_id, domain, entity, received)
select -b, :domain, 'calificacion', 0 from generate_series(1, 43200) b;
";

async fn fill(database: &TestDatabase, messages: usize, rows: u64) -> anyhow::Result<()> {
    let mut admin = PgConnection::connect(&database.admin).await?;
    let students = messages / 10;
    let groups = usize::try_from(rows)? / 2 / students.max(1);
    let domain = format!("'{}'", load::domain()?.name);
    for (text, needed) in [(FILL, rows > 0), (MONTH, true)] {
        if needed {
            let text = text
                .replace(":groups", &groups.to_string())
                .replace(":students", &students.to_string())
                .replace(":domain", &domain);
            sqlx::raw_sql(AssertSqlSafe(text))
                .execute(&mut admin)
                .await?;
        }
    }
    // Statements sent together are one transaction, in which there is no vacuum.
    for statement in ["reset session_replication_role", "vacuum analyze"] {
        sqlx::query(statement).execute(&mut admin).await?;
    }
    // As in a core that has grown: its rules have seen these rows within their interval.
    let begun = Instant::now();
    sqlx::query("select * from core.run_checks($1)")
        .bind(load::domain()?.name)
        .execute(&mut admin)
        .await?;
    eprintln!("  rules: {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
