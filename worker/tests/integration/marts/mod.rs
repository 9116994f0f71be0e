//! The marts: each one against the oracle's own calculation, the data quality rules,
//! the audit trail of marks.

mod audit;
mod damage;
mod reference;
mod refresh;
mod rules;
mod values;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use crate::oracle::{
    AlumnoEnRiesgo, Core, KpiAlumno, KpiGrupo, KpiMateria, MateriaPeriodo, Oracle, RankingMaestro,
    Tramo,
};
use crate::permutations::{Feed, Sent, demo};
use crate::support::Platform;

const DOMAIN: &str = "academico";

/// A database with the messages of the demo in its core.
struct Demo {
    platform: Platform,
    feed: Feed,
    core: Core,
}

impl Demo {
    async fn new() -> Self {
        let platform = Platform::new().await;
        let mut feed = Feed::new(&platform.database).await;
        let messages = demo();
        feed.send(&messages, 2_000).await;
        let mut oracle = Oracle::default();
        messages.iter().for_each(|sent| sent.tell(&mut oracle));
        feed.refresh().await;
        Self {
            platform,
            feed,
            core: oracle.outcome().core,
        }
    }

    async fn analyst(&self) -> PgConnection {
        PgConnection::connect(&self.platform.database.analyst)
            .await
            .unwrap()
    }
}

/// Compares every mart with the oracle's: all rows, and the order on the columns that the mart
/// promises one for.
pub async fn compare_marts(connection: &mut PgConnection, core: &Core) -> Result<(), String> {
    let unordered = |_: &_| ();
    let rows = "select * from marts.kpi_grupo";
    compare(
        connection,
        rows,
        core.kpi_grupo(),
        |row: &KpiGrupo| row.id_grupo,
        |_| (),
    )
    .await?;
    let rows = "select * from marts.kpi_materia";
    compare(
        connection,
        rows,
        core.kpi_materia(),
        |row: &KpiMateria| row.id_materia,
        |_| (),
    )
    .await?;
    let rows = "select * from marts.materia_periodo_stats";
    let key = |row: &MateriaPeriodo| (row.periodo.clone(), row.id_materia);
    compare(
        connection,
        rows,
        core.materia_periodo_stats(),
        key,
        unordered,
    )
    .await?;
    let rows = "select * from marts.ranking_maestros";
    let order = |row: &RankingMaestro| (row.promedio, row.evaluaciones);
    compare(
        connection,
        rows,
        core.ranking_maestros(),
        |row| row.id_maestro,
        order,
    )
    .await?;
    let rows = "select * from marts.alumnos_en_riesgo";
    let order = |row: &AlumnoEnRiesgo| (row.periodo.clone(), row.promedio);
    let key = |row: &AlumnoEnRiesgo| (row.periodo.clone(), row.id_alumno);
    compare(connection, rows, core.alumnos_en_riesgo(), key, order).await?;
    let rows = "select * from marts.kpi_alumno";
    let key = |row: &KpiAlumno| row.id_alumno;
    compare(connection, rows, core.kpi_alumno(), key, |_| ()).await?;
    let rows = "select * from marts.distribucion_calificaciones";
    let key = |row: &Tramo| (row.periodo.clone(), row.id_materia, row.desde);
    compare(connection, rows, core.distribucion(), key, |_| ()).await?;

    let periods: BTreeSet<_> = core.grupos.iter().map(|grupo| &grupo.periodo).collect();
    for periodo in periods {
        for n in [1_usize, 3, 10, 1000] {
            let mut expected = core.top_materias(periodo, n);
            let rows = format!("select * from marts.top_materias('{periodo}', {n})");
            let order = |row: &MateriaPeriodo| (row.promedio, row.tasa_aprob);
            // The order of equal rows at the end is not defined.
            let all = core.top_materias(periodo, usize::MAX);
            if let Some(last) = expected.last().map(order)
                && all.get(n).map(order) == Some(last)
            {
                let found: Vec<MateriaPeriodo> = fetch(connection, &rows).await;
                expected.retain(|row| order(row) != last);
                expected.extend(
                    found
                        .into_iter()
                        .filter(|row| order(row) == last && all.contains(row)),
                );
            }
            compare(connection, &rows, expected, |row| row.id_materia, order).await?;
        }
    }
    Ok(())
}

async fn fetch<T>(connection: &mut PgConnection, query: &str) -> Vec<T>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let rows = sqlx::query_as(AssertSqlSafe(query));
    rows.fetch_all(connection).await.unwrap()
}

async fn compare<T, K: Ord, O: PartialEq>(
    connection: &mut PgConnection,
    query: &str,
    mut expected: Vec<T>,
    key: impl Fn(&T) -> K,
    order: impl Fn(&T) -> O,
) -> Result<(), String>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin + std::fmt::Debug + PartialEq,
{
    let mut found: Vec<T> = fetch(connection, query).await;
    if !found.iter().map(&order).eq(expected.iter().map(&order)) {
        return Err(format!(
            "{query}: other order:\n   found {found:?}\nexpected {expected:?}"
        ));
    }
    found.sort_by_key(&key);
    expected.sort_by_key(&key);
    // Both lists have the same length: the comparison of their order above checks it.
    match found
        .iter()
        .zip(&expected)
        .find(|(found, expected)| found != expected)
    {
        Some((found, expected)) => Err(format!(
            "{query}:\n   found {found:?}\nexpected {expected:?}"
        )),
        None => Ok(()),
    }
}

fn catalogues(group: i32) -> Vec<(&'static str, Value)> {
    vec![
        (
            "maestro",
            json!({"id_maestro": group, "nombre": format!("Maestro {group}")}),
        ),
        (
            "materia",
            json!({"id_materia": group, "nombre": format!("Materia {group}"), "creditos": 5}),
        ),
        (
            "grupo",
            json!({"id_grupo": group, "id_materia": group, "id_maestro": group, "periodo": "2024A"}),
        ),
    ]
}

fn student(id: i32) -> (&'static str, Value) {
    (
        "alumno",
        json!({"id_alumno": id, "nombre": format!("Alumno {id}"), "edad": 20, "genero": "F"}),
    )
}

fn enrolment(student: i32, group: i32) -> (&'static str, Value) {
    (
        "inscripcion",
        json!({"id_alumno": student, "id_grupo": group}),
    )
}

fn mark(student: i32, group: i32, mark: f64) -> (&'static str, Value) {
    (
        "calificacion",
        json!({"id_alumno": student, "id_grupo": group, "calificacion": mark}),
    )
}

/// Messages with ids from `first` on.
fn sent(first: u128, messages: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<Sent> {
    (first..)
        .zip(messages)
        .map(|(id, (entity, body))| Sent::new(id, entity, &body))
        .collect()
}
