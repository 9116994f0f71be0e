//! What analysts read: every mart against the oracle's own calculation, the data quality rules,
//! the audit trail of marks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acequia_store::quality;
use acequia_store::quality::Checked;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Column, Connection, FromRow, PgConnection, Row};
use uuid::Uuid;

use crate::oracle::{
    AlumnoEnRiesgo, Core, KpiAlumno, KpiGrupo, KpiMateria, MateriaPeriodo, Oracle, RankingMaestro,
    Tramo,
};
use crate::permutations::{Feed, Sent, demo, publish};
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
            // Which of several equal ones come last is not promised.
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
    // The orders are equally long, and so are these.
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
async fn columns_have_the_names_and_the_order_of_the_reference_and_the_count_after_them() {
    let demo = Demo::new().await;
    let mut analyst = demo.analyst().await;
    for (mart, columns) in [
        (
            "marts.kpi_grupo",
            "id_grupo, periodo, materia, profesor, alumnos_inscritos, promedio, n",
        ),
        (
            "marts.kpi_materia",
            "id_materia, nombre, promedio, tasa_aprob, n",
        ),
        (
            "marts.materia_periodo_stats",
            "periodo, id_materia, materia, promedio, tasa_aprob, n",
        ),
        (
            "marts.top_materias('2024A', 10)",
            "periodo, id_materia, materia, promedio, tasa_aprob, n",
        ),
        (
            "marts.top_materias(periodo_in => '2024A', n => 1)",
            "periodo, id_materia, materia, promedio, tasa_aprob, n",
        ),
        (
            "marts.ranking_maestros",
            "id_maestro, maestro, promedio, evaluaciones",
        ),
        (
            "marts.alumnos_en_riesgo",
            "periodo, id_alumno, nombre, promedio, n",
        ),
    ] {
        let query = format!("select * from {mart} limit 1");
        let row = sqlx::query(AssertSqlSafe(query))
            .fetch_one(&mut analyst)
            .await
            .unwrap();
        let found: Vec<_> = row.columns().iter().map(Column::name).collect();
        assert_eq!(found.join(", "), columns, "{mart}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_references_acceptance_queries_run_verbatim() {
    let demo = Demo::new().await;
    let mut owner = demo.platform.connect().await;
    let students: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM academico.alumnos;")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(students, 1_000);
    let mut analyst = demo.analyst().await;
    for query in [
        "SELECT * FROM marts.kpi_materia LIMIT 10;",
        "SELECT * FROM marts.ranking_maestros LIMIT 10;",
        "SELECT * FROM marts.alumnos_en_riesgo LIMIT 10;",
    ] {
        for connection in [&mut owner, &mut analyst] {
            let rows = sqlx::raw_sql(query).fetch_all(connection).await.unwrap();
            assert_eq!(rows.len(), 10, "{query}");
        }
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

#[derive(Debug, FromRow)]
struct Freshness {
    status: String,
    data_as_of: Option<DateTime<Utc>>,
    refreshed_at: Option<DateTime<Utc>>,
    behind_since: Option<DateTime<Utc>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_refreshes_the_mart_of_subjects_by_itself() {
    let platform = Platform::new().await;
    let mut analyst = PgConnection::connect(&platform.database.analyst)
        .await
        .unwrap();
    let freshness = "select * from marts.freshness where mart = 'marts.kpi_materia'";
    let before: Vec<Freshness> = fetch(&mut analyst, freshness).await;
    assert_eq!(before[0].status, "empty");
    assert_eq!(before[0].data_as_of, None);

    let worker = platform.worker(&["--check-every", "200ms"]);
    worker.ready().await;
    let first: Vec<_> = catalogues(1)
        .into_iter()
        .chain([student(1), mark(1, 1, 5.5)])
        .collect();
    let mut as_of = None;
    for (round, messages, promedio, passed) in [
        (1, first, "5.50", "0"),
        (2, vec![mark(1, 1, 8.25)], "8.25", "1"),
    ] {
        let changed = Utc::now();
        let messages = sent(100 * round, messages);
        publish(&platform, &messages.iter().collect::<Vec<_>>()).await;
        let wanted = KpiMateria {
            id_materia: 1,
            nombre: "Materia 1".to_owned(),
            promedio: Some(promedio.parse().unwrap()),
            tasa_aprob: Some(passed.parse().unwrap()),
            n: 1,
        };
        let mart = "select * from marts.kpi_materia";
        let begun = std::time::Instant::now();
        let fresh = loop {
            let found: Vec<KpiMateria> = fetch(&mut analyst, mart).await;
            let mut fresh: Vec<Freshness> = fetch(&mut analyst, freshness).await;
            let fresh = fresh.remove(0);
            if found == [wanted.clone()] && fresh.data_as_of > as_of && fresh.behind_since.is_none()
            {
                break fresh;
            }
            assert!(
                begun.elapsed().as_secs() < 30,
                "waited in vain, there is {found:?}, {fresh:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(fresh.status, "fresh");
        assert!(fresh.refreshed_at >= Some(changed), "{fresh:?}");
        as_of = fresh.data_as_of;
    }
    let others: Vec<String> =
        sqlx::query_scalar("select status from marts.freshness where domain = $1")
            .bind(DOMAIN)
            .fetch_all(&mut analyst)
            .await
            .unwrap();
    assert_eq!(others, ["fresh"; 7]);
    // Nothing changes, nothing is refreshed.
    let mut owner = platform.connect().await;
    let refreshes = "select count(*) from core.mart_refresh_log";
    let before: i64 = sqlx::query_scalar(refreshes)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after: i64 = sqlx::query_scalar(refreshes)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(after, before);
    // The rules are run by themselves, too.
    let ran: i64 = sqlx::query_scalar("select count(distinct check_name) from core.dq_results")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let rules: i64 = sqlx::query_scalar("select count(*) from core.dq_rules where enabled")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(ran, rules);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mart_is_late_when_it_lacks_a_change_for_longer_than_its_objective() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let mut owner = platform.connect().await;
    let status = async |feed: &mut Feed| -> (String, bool) {
        let query = "select status, behind_since is not null from marts.freshness where mart = 'marts.kpi_materia'";
        sqlx::query_as(query)
            .fetch_one(&mut feed.connection)
            .await
            .unwrap()
    };
    feed.send(&sent(1, catalogues(1)), 10).await;
    feed.refresh().await;
    // Nobody has looked at the queues: messages may wait there.
    assert_eq!(status(&mut feed).await, ("unknown".to_owned(), false));
    let looked = "insert into core.queue_looks (queue, domain, looked_at, passed_at) \
        values ('acequia.academico', 'academico', now(), now()), ('acequia.dead', null, now(), now()) \
        on conflict (queue) do update set looked_at = excluded.looked_at";
    sqlx::query(looked).execute(&mut owner).await.unwrap();
    assert_eq!(status(&mut feed).await, ("fresh".to_owned(), false));

    // A quiet hour, then a change: the mart lacks it since now, not for an hour.
    for statement in [
        "update core.batches set promoted_at = promoted_at - interval '1 hour'",
        "update core.entity_state set changed_at = changed_at - interval '1 hour'",
        "update core.mart_refresh_log set data_as_of = data_as_of - interval '1 hour', promoted_through = promoted_through - interval '1 hour'",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    feed.send(&sent(11, catalogues(2)), 10).await;
    sqlx::query(looked).execute(&mut owner).await.unwrap();
    assert_eq!(status(&mut feed).await, ("fresh".to_owned(), true));

    // It goes on lacking it, and newer changes do not make that any better.
    let later = "update core.batches set promoted_at = promoted_at - interval '2 minutes' where batch_id = (select max(batch_id) from core.batches)";
    sqlx::query(later).execute(&mut owner).await.unwrap();
    feed.send(&sent(21, catalogues(3)), 10).await;
    assert_eq!(status(&mut feed).await, ("late".to_owned(), true));
    feed.refresh().await;
    sqlx::query(looked).execute(&mut owner).await.unwrap();
    assert_eq!(status(&mut feed).await, ("fresh".to_owned(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_run_once_in_their_interval_however_many_workers_there_are() {
    let platform = Platform::new().await;
    let rules = "select count(*) from core.dq_rules where enabled and domain = 'academico'";
    let rules = platform.number(rules).await;
    let run = async |every: &str| {
        let run = format!("select count(*) from core.run_due_checks('academico', '{every}')");
        platform.number(&run).await
    };
    assert!(rules > 10);
    assert_eq!(run("1 hour").await, rules);
    assert_eq!(run("1 hour").await, 0);
    let due_in =
        "select core.checks_due_in('academico', '1 hour') between '59 minutes' and '1 hour'";
    assert_eq!(
        platform.texts(&format!("select ({due_in})::text")).await,
        ["true"]
    );
    // They take at most a tenth of the time.
    platform
        .execute("update core.etl_run_log set started_at = started_at - interval '1 minute'")
        .await;
    assert_eq!(run("0").await, 0);
    platform
        .execute("update core.etl_run_log set finished_at = finished_at - interval '1 minute'")
        .await;
    acequia_testkit::wait_for("rules that are due", async || Ok(run("0").await == rules))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mart_waits_for_a_backlog_but_not_for_long() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    feed.send(&sent(1, catalogues(1)), 10).await;
    let backlog = sent(11, catalogues(2));
    feed.stage(&backlog.iter().collect::<Vec<_>>()).await;
    let rows = i32::try_from(backlog.len()).unwrap();
    assert_eq!(feed.due(Some(rows)).await, ["marts.kpi_materia"]);
    assert_eq!(feed.due(Some(rows - 1)).await, [""; 0]);
    assert_eq!(feed.due(None).await, ["marts.kpi_materia"]);

    // A quarter of its objective, one minute.
    let later = "update core.batches set promoted_at = promoted_at - interval '16 seconds', received_at = received_at - interval '16 seconds'";
    platform.execute(later).await;
    assert_eq!(feed.due(Some(rows - 1)).await, ["marts.kpi_materia"]);
    feed.refresh().await;
    assert_eq!(feed.due(Some(rows - 1)).await, [""; 0]);
}

/// A result as it is kept.
#[derive(Debug, Clone, PartialEq, FromRow)]
struct Kept {
    check_name: String,
    passed: bool,
    outcome: String,
    severity: String,
    measured: Option<Decimal>,
    threshold: Decimal,
    failing_count: Option<i64>,
    sample_keys: Vec<String>,
    details: String,
}

/// Runs the rules; gives what was kept of this run, by rule.
async fn run_rules(connection: &mut PgConnection) -> BTreeMap<String, Kept> {
    let last = "select coalesce(max(id), 0) from core.dq_results";
    let last: i64 = sqlx::query_scalar(last)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let answered: Vec<Checked> = quality::check(connection, DOMAIN, Duration::from_secs(60))
        .await
        .unwrap();
    let kept: Vec<Kept> = sqlx::query_as(
        "select r.* from core.dq_results r join core.dq_rules q on q.rule = r.check_name \
         where r.id > $1 and r.domain = q.domain and r.schema_name = q.schema_name and r.table_name = q.table_name \
         and r.severity = q.severity and r.threshold = q.threshold and r.duration_ms >= 0",
    )
    .bind(last)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    // Exactly one result for every rule that is switched on, and the answer says the same.
    let rules: Vec<String> = sqlx::query_scalar(
        "select rule from core.dq_rules where enabled and domain = 'academico' order by rule collate \"C\"",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let mut names: Vec<_> = kept.iter().map(|kept| kept.check_name.clone()).collect();
    names.sort();
    assert_eq!(names, rules);
    let kept: BTreeMap<_, _> = kept
        .into_iter()
        .map(|kept| (kept.check_name.clone(), kept))
        .collect();
    assert_eq!(answered.len(), kept.len());
    for answer in answered {
        let kept = &kept[&answer.rule];
        assert_eq!(answer.outcome, kept.outcome);
        assert_eq!(answer.severity, kept.severity);
        assert_eq!(answer.failing_count, kept.failing_count);
        assert_eq!(kept.passed, kept.outcome == "pass");
        assert!(!kept.details.is_empty());
    }
    kept
}

/// The rules that did not pass: name, outcome, failing rows, sample keys in order.
fn not_passed(results: &BTreeMap<String, Kept>) -> Vec<(&str, &str, Option<i64>, Vec<&str>)> {
    let bad = results.values().filter(|kept| !kept.passed);
    bad.map(|kept| {
        let mut keys: Vec<_> = kept.sample_keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        (
            kept.check_name.as_str(),
            kept.outcome.as_str(),
            kept.failing_count,
            keys,
        )
    })
    .collect()
}

/// Pairs of students and groups with a mark but no enrolment.
fn strays(core: &Core) -> BTreeSet<String> {
    let enrolled: BTreeSet<_> = core
        .inscripciones
        .iter()
        .map(|row| (row.id_alumno, row.id_grupo))
        .collect();
    core.calificaciones
        .iter()
        .map(|row| (row.id_alumno, row.id_grupo))
        .filter(|pair| !enrolled.contains(pair))
        .map(|(student, group)| format!("{student}/{group}"))
        .collect()
}

/// Percent with two decimals.
fn percent(part: usize, whole: usize) -> Decimal {
    (Decimal::from(part) * Decimal::ONE_HUNDRED / Decimal::from(whole))
        .round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero)
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_in_messages_turn_exactly_their_rules() {
    let mut demo = Demo::new().await;
    let strays_before = strays(&demo.core);
    let worker = &mut demo.feed.connection;

    let results = run_rules(worker).await;
    assert_eq!(not_passed(&results), []);
    let enrolled = &results["calificaciones_enrolled"];
    assert!(!strays_before.is_empty());
    assert_eq!(
        enrolled.failing_count,
        Some(i64::try_from(strays_before.len()).unwrap())
    );
    assert_eq!(
        enrolled.measured,
        Some(percent(strays_before.len(), demo.core.calificaciones.len()))
    );
    assert_eq!(enrolled.threshold, Decimal::from(5));
    assert_eq!(enrolled.sample_keys.len(), 5);
    assert!(
        enrolled
            .sample_keys
            .iter()
            .all(|key| strays_before.contains(key))
    );
    let conservation = &results["conservation"];
    assert_eq!(
        (conservation.measured, conservation.failing_count),
        (Some(Decimal::ZERO), Some(0))
    );
    assert_eq!(conservation.sample_keys, [""; 0]);

    // A student of 14 years.
    let young = (
        "alumno",
        json!({"id_alumno": 5001, "nombre": "Niña", "edad": 14, "genero": "F"}),
    );
    demo.feed.send(&sent(1, [young]), 10).await;
    let age = ("alumnos_edad_range", "warn", Some(1), vec!["5001"]);
    let results = run_rules(&mut demo.feed.connection).await;
    assert_eq!(not_passed(&results), vec![age.clone()]);
    assert_eq!(results["alumnos_edad_range"].measured, Some(Decimal::ONE));

    // Two subjects of one name.
    let subject = |id: i32, name: &str| {
        (
            "materia",
            json!({"id_materia": id, "nombre": name, "creditos": 3}),
        )
    };
    let subjects = [
        subject(901, "Numismática"),
        subject(902, "NUMISMÁTICA"),
        subject(903, "Numismática II"),
    ];
    demo.feed.send(&sent(10, subjects), 10).await;
    let name = ("materias_nombre_unique", "warn", Some(1), vec!["901"]);
    let results = run_rules(&mut demo.feed.connection).await;
    assert_eq!(not_passed(&results), [age.clone(), name.clone()]);

    // Marks without enrolment, up to exactly 5 % and then one more.
    let marks = demo.core.calificaciones.len();
    let students: Vec<i32> = (6001..7000).collect();
    let more = students
        .iter()
        .enumerate()
        .take_while(|(more, _)| {
            percent(strays_before.len() + more + 1, marks + more + 1) <= Decimal::from(5)
        })
        .count();
    let new = students[..=more]
        .iter()
        .flat_map(|&id| [student(id), mark(id, 1, 7.0)]);
    let new = sent(1_000, new);
    demo.feed.send(&new[..2 * more], 500).await;
    let results = run_rules(&mut demo.feed.connection).await;
    assert_eq!(not_passed(&results), [age.clone(), name.clone()]);
    assert_eq!(
        results["calificaciones_enrolled"].measured,
        Some(percent(strays_before.len() + more, marks + more))
    );
    demo.feed.send(&new[2 * more..], 500).await;
    let results = run_rules(&mut demo.feed.connection).await;
    let names: Vec<_> = not_passed(&results)
        .iter()
        .map(|bad| (bad.0, bad.1))
        .collect();
    assert_eq!(
        names,
        [
            (age.0, "warn"),
            ("calificaciones_enrolled", "warn"),
            (name.0, "warn")
        ]
    );
    let enrolled = &results["calificaciones_enrolled"];
    let strays = strays_before.len() + more + 1;
    assert_eq!(enrolled.failing_count, Some(i64::try_from(strays).unwrap()));
    assert_eq!(enrolled.measured, Some(percent(strays, marks + more + 1)));
    assert!(enrolled.sample_keys.iter().all(|key| {
        strays_before.contains(key) || key.strip_suffix("/1").is_some_and(|id| id.starts_with('6'))
    }));
}

/// What only somebody with the owner's rights can do to the core: rule, outcome, statements,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_run_says_so_and_leaves_the_others_alone() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let before: Vec<_> = run_rules(&mut owner).await.into_keys().collect();
    let rule = |name: &str, rows: &str, measure: &str| {
        format!(
            "insert into core.dq_rules (rule, domain, schema_name, table_name, test, severity, description, remedy, failing_rows, measure) \
             values ('{name}', 'academico', 'academico', 'alumnos', 'not_null', 'warn', 'd', 'r', $${rows}$$, {measure});"
        )
    };
    let one = "select 1 as key where false";
    let broken = [
        (
            "a_missing_table",
            "select id as key from academico.nowhere",
            "null",
        ),
        ("a_missing_key", "select 1 as other", "null"),
        ("a_syntax", "selekt", "null"),
        (
            "k_division",
            "select 1 / (n - 1) as key from generate_series(0, 2) n",
            "null",
        ),
        ("k_measure", one, "'select nonsense'"),
        ("k_measure_text", one, "$$select 'much'$$"),
        ("z_slow", "select pg_sleep(60)::text as key", "null"),
        ("zz_last", "select id as key from marts.nowhere", "null"),
    ];
    let statements: String = broken
        .iter()
        .map(|(name, rows, measure)| rule(name, rows, measure))
        .collect();
    let fine = rule("zzz_fine", one, "null");
    let off = rule("zzz_off", "select nonsense", "null");
    let statements = format!(
        "{statements} {fine} {off} update core.dq_rules set enabled = false where rule = 'zzz_off'"
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut owner)
        .await
        .unwrap();

    sqlx::query("set statement_timeout = '5s'")
        .execute(&mut owner)
        .await
        .unwrap();
    let results = run_rules(&mut owner).await;
    for (name, ..) in broken {
        let kept = &results[name];
        assert_eq!(
            (kept.outcome.as_str(), kept.passed),
            ("error", false),
            "{name}"
        );
        assert_eq!((kept.measured, kept.failing_count), (None, None), "{name}");
        assert!(kept.details.contains("could not run"), "{kept:?}");
        assert!(kept.sample_keys.is_empty());
    }
    for name in before.iter().map(String::as_str).chain(["zzz_fine"]) {
        assert_eq!(results[name].outcome, "pass", "{name}");
    }
}

/// A row of the audit trail.
#[derive(Debug, Clone, PartialEq, FromRow)]
struct Change {
    id_alumno: i32,
    id_grupo: i32,
    calificacion_anterior: Decimal,
    calificacion_nueva: Decimal,
    message_id_anterior: Uuid,
    message_id: Uuid,
    event_at: DateTime<Utc>,
}

const TRAIL: &str = "select * from academico.calificaciones_audit order by audit_id";

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_has_one_row_for_each_change_of_a_mark() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let parents = catalogues(1).into_iter().chain([student(1), student(2)]);
    feed.send(&sent(1_000, parents), 10).await;
    let minute = |minute: u32| -> DateTime<Utc> {
        format!("2024-06-01T10:{minute:02}:00Z").parse().unwrap()
    };
    let version = |id: u128, at: u32, mark: f64, day: &str| {
        let body = json!({"id_alumno": 1, "id_grupo": 1, "calificacion": mark, "fecha_registro": day, "ts": minute(at)});
        Sent::new(id, "calificacion", &body)
    };
    let day = "2024-05-01";
    // Each line is a batch of its own, promoted at once.
    let batches = [
        vec![version(1, 10, 5.0, day)],
        vec![version(2, 20, 7.5, day)],          // 5.0 -> 7.5
        vec![version(2, 20, 7.5, day)],          // the same message again
        vec![version(3, 5, 9.9, day)],           // too old
        vec![version(4, 30, 7.50, day)],         // newer, the same mark
        vec![version(5, 40, 7.5, "2024-05-02")], // another day, the same mark
        vec![version(6, 50, 9.0, day)],          // 7.5 -> 9.0
        vec![version(7, 52, 1.0, day), version(8, 51, 2.0, day)], // 9.0 -> 1.0, never 2.0
        vec![mark_of(2, 9), version(10, 1, 3.0, day)], // another student's first mark
    ];
    for batch in &batches {
        feed.send(batch, 10).await;
    }
    let change = |old: &str, new: &str, old_id: u128, id: u128, at: u32| Change {
        id_alumno: 1,
        id_grupo: 1,
        calificacion_anterior: old.parse().unwrap(),
        calificacion_nueva: new.parse().unwrap(),
        message_id_anterior: Uuid::from_u128(old_id),
        message_id: Uuid::from_u128(id),
        event_at: minute(at),
    };
    let expected = [
        change("5.00", "7.50", 1, 2, 20),
        // The message that vouched for the old mark last.
        change("7.50", "9.00", 5, 6, 50),
        change("9.00", "1.00", 6, 7, 52),
    ];
    let mut owner = platform.connect().await;
    let trail: Vec<Change> = fetch(&mut owner, TRAIL).await;
    assert_eq!(trail, expected);
}

fn mark_of(student: i32, id: u128) -> Sent {
    let (entity, body) = mark(student, 1, 6.0);
    Sent::new(id, entity, &body)
}

type Marks = BTreeMap<(i32, i32), (Decimal, Uuid)>;

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_of_the_demo_is_the_difference_of_the_core_before_and_after() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let mut owner = platform.connect().await;
    let (mut before, mut expected) = (Marks::new(), Vec::new());
    // Parents come first in the demo; marks come with their corrections behind them.
    for batch in demo().chunks(500) {
        feed.send(batch, 100).await;
        let rows: Vec<(i32, i32, Decimal, Uuid)> = fetch(
            &mut owner,
            "select id_alumno, id_grupo, calificacion, message_id from academico.calificaciones",
        )
        .await;
        let after: Marks = rows
            .into_iter()
            .map(|(student, group, mark, id)| ((student, group), (mark, id)))
            .collect();
        for (pair, (mark, id)) in &after {
            if let Some((old, old_id)) = before.get(pair)
                && old != mark
            {
                expected.push((*pair, *old, *mark, *old_id, *id));
            }
        }
        before = after;
    }
    let trail: Vec<Change> = fetch(&mut owner, TRAIL).await;
    let mut trail: Vec<_> = trail
        .into_iter()
        .map(|row| {
            let pair = (row.id_alumno, row.id_grupo);
            (
                pair,
                row.calificacion_anterior,
                row.calificacion_nueva,
                row.message_id_anterior,
                row.message_id,
            )
        })
        .collect();
    assert!(
        expected.len() > 1_000,
        "the demo has {} corrections only",
        expected.len()
    );
    trail.sort();
    expected.sort();
    assert_eq!(trail, expected);
}
