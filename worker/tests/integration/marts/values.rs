//! Every mart against the oracle's own calculation.

use serde_json::Value;
use sqlx::Connection;
use sqlx::PgConnection;

use super::{Demo, catalogues, compare_marts, enrolment, fetch, mark, sent, student};
use crate::oracle::{AlumnoEnRiesgo, Core, KpiGrupo, MateriaPeriodo, Oracle, RankingMaestro};
use crate::permutations::Feed;
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn every_mart_is_what_the_oracle_calculates() {
    let demo = Demo::new().await;
    let mut analyst = demo.analyst().await;
    compare_marts(&mut analyst, &demo.core).await.unwrap();

    // The comparison is worth something: there is something of everything in the demo.
    let core = &demo.core;
    assert!(core.ranking_maestros().len() > 10);
    assert!(core.alumnos_en_riesgo().len() > 10);
    assert!(core.top_materias("2024A", 10).len() == 10);
    let top: Vec<MateriaPeriodo> =
        fetch(&mut analyst, "select * from marts.top_materias('2024A')").await;
    assert_eq!(top.len(), 10, "ten by default");
    let none: Vec<MateriaPeriodo> = fetch(
        &mut analyst,
        "select * from marts.top_materias('1999A', 10)",
    )
    .await;
    assert_eq!(none, []);
}

/// Cases that the demo happens not to have.
#[tokio::test(flavor = "multi_thread")]
async fn marts_at_the_edges_of_their_limits() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let students =
        |count: i32, group: i32, value: f64| (1..=count).map(move |id| mark(id, group, value));
    let messages: Vec<_> = (1..=7)
        .flat_map(catalogues)
        .chain((1..=40).map(student))
        // 29 marks are too few for the ranking, 30 are enough, more go first among equals.
        .chain(students(29, 1, 9.0))
        .chain(students(30, 2, 8.0))
        .chain(students(31, 3, 8.0))
        .chain(students(30, 4, 8.5))
        // Means of 5.9967, 6 and 5.995: the first and the last are below 6, and shown as 6.00.
        .chain(
            [(35, 5, 5.99), (35, 6, 6.0), (35, 7, 6.0)]
                .map(|(id, group, value)| mark(id, group, value)),
        )
        .chain([(36, 5, 6.0), (36, 6, 6.0)].map(|(id, group, value)| mark(id, group, value)))
        .chain([(37, 5, 5.99), (37, 6, 6.0)].map(|(id, group, value)| mark(id, group, value)))
        .collect();
    let messages = sent(1, messages);
    feed.send(&messages, 50).await;
    feed.refresh().await;

    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    let ranking: Vec<RankingMaestro> =
        fetch(&mut analyst, "select * from marts.ranking_maestros").await;
    let ranking: Vec<_> = ranking
        .iter()
        .map(|row| (row.id_maestro, row.promedio.to_string(), row.evaluaciones))
        .collect();
    let of = |id: i32, promedio: &str, marks: i64| (id, promedio.to_owned(), marks);
    assert_eq!(
        ranking,
        [of(4, "8.50", 30), of(3, "8.00", 31), of(2, "8.00", 30)]
    );
    let at_risk: Vec<AlumnoEnRiesgo> =
        fetch(&mut analyst, "select * from marts.alumnos_en_riesgo").await;
    let mut at_risk: Vec<_> = at_risk
        .iter()
        .map(|row| (row.id_alumno, row.promedio.to_string()))
        .collect();
    at_risk.sort();
    assert_eq!(at_risk, [(35, "6.00".to_owned()), (37, "6.00".to_owned())]);

    let mut oracle = Oracle::default();
    messages.iter().for_each(|sent| sent.tell(&mut oracle));
    compare_marts(&mut analyst, &oracle.outcome().core)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn marts_of_an_empty_core_are_empty() {
    let platform = Platform::new().await;
    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    compare_marts(&mut analyst, &Core::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_kpi_grupo_grows_with_its_rows_and_not_with_their_product() {
    const STUDENTS: i32 = 300;
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let mut owner = platform.connect().await;
    let mut work = Vec::new();
    for group in [1, 2] {
        let messages = catalogues(group)
            .into_iter()
            .chain((1..=STUDENTS).map(student))
            .chain((1..=STUDENTS).map(|id| enrolment(id, group)))
            .chain((1..=STUDENTS).map(|id| mark(id, group, 7.5)));
        feed.send(&sent(10_000 * group as u128, messages), 2_000)
            .await;
        for statement in [
            "analyze academico.grupos",
            "analyze academico.inscripciones",
            "analyze academico.calificaciones",
        ] {
            sqlx::query(statement).execute(&mut owner).await.unwrap();
        }
        let plan: Value =
            sqlx::query_scalar("explain (analyze, format json) select * from marts.kpi_grupo")
                .fetch_one(&mut owner)
                .await
                .unwrap();
        work.push(actual_rows(&plan[0]["Plan"]));
    }
    let kpi: Vec<KpiGrupo> = fetch(
        &mut owner,
        "select * from marts.kpi_grupo order by id_grupo",
    )
    .await;
    assert_eq!(kpi.len(), 2);
    assert!(
        kpi.iter().all(
            |row| row.alumnos_inscritos == 300 && row.promedio == Some("7.50".parse().unwrap())
        )
    );
    // Each row passes a handful of nodes; the product of both sides would be 90,000 for a group.
    let input = f64::from(2 * STUDENTS);
    assert!(work[0] < 5.0 * input, "one group: {work:?} rows of work");
    assert!(
        work[1] < 2.0 * 5.0 * input,
        "two groups: {work:?} rows of work"
    );
}

/// Rows that the nodes of a plan gave, summed.
fn actual_rows(node: &Value) -> f64 {
    let own = node["Actual Rows"].as_f64().unwrap() * node["Actual Loops"].as_f64().unwrap();
    let children = node["Plans"].as_array().into_iter().flatten();
    own + children.map(actual_rows).sum::<f64>()
}
