//! The data quality rules: their runs and the kept results.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acequia_store::quality;
use acequia_store::quality::Checked;
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

use super::{DOMAIN, Demo, mark, sent, student};
use crate::oracle::Core;
use crate::support::Platform;

/// A result as it is kept.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub(super) struct Kept {
    pub(super) check_name: String,
    pub(super) passed: bool,
    pub(super) outcome: String,
    pub(super) severity: String,
    pub(super) measured: Option<Decimal>,
    pub(super) threshold: Decimal,
    pub(super) failing_count: Option<i64>,
    pub(super) sample_keys: Vec<String>,
    pub(super) details: String,
}

/// Runs the rules; returns the kept results of this run, by rule.
pub(super) async fn run_rules(connection: &mut PgConnection) -> BTreeMap<String, Kept> {
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
pub(super) fn not_passed(
    results: &BTreeMap<String, Kept>,
) -> Vec<(&str, &str, Option<i64>, Vec<&str>)> {
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
