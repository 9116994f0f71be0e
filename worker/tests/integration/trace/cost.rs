//! Cost of a trace, and its time limit.

use std::collections::BTreeSet;

use acequia_contracts::catalog;
use acequia_ops::trace::staged;
use chrono::NaiveDate;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::trace_by;
use crate::support::Platform;

/// The longest look is limited, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_takes_too_long_is_given_up() {
    let platform = Platform::new().await;
    platform
        .execute(
            "alter table stg.materias_upsert rename to materias_kept;
        create view stg.materias_upsert as select s.* from stg.materias_kept s, pg_sleep(30);
        grant select on stg.materias_upsert to acequia_worker",
        )
        .await;
    let arguments = ["academico.materia", "1", "--timeout", "200ms"];
    let done = trace_by(&platform.database.worker, &arguments).await;
    assert_eq!(done.status.code(), Some(2));
    assert!(
        done.stderr.contains("longer than 0.2 s") && done.stderr.contains("--timeout"),
        "{}",
        done.stderr
    );
}

/// By id one partition is read, by its primary key; the days before and after are not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_looked_up_in_one_partition() {
    let platform = Platform::new().await;
    let mut connection = platform.connect().await;
    sqlx::query("select core.ensure_partitions()")
        .execute(&mut connection)
        .await
        .unwrap();
    for entity in catalog().iter().flat_map(|domain| &domain.entities) {
        let today: NaiveDate = sqlx::query_scalar("select current_date")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let explain = format!("explain (format json) {}", staged::by_id(entity));
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain))
            .bind(staged::full_name(entity))
            .bind(Uuid::now_v7())
            .bind(today)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let table = entity.staging.trim_start_matches("stg.");
        let mut found = BTreeSet::new();
        visit(&plan, &mut |node| {
            let relation = node["Relation Name"].as_str().unwrap_or("");
            if relation.starts_with(table) {
                found.insert(relation.to_owned());
            }
            assert_ne!(node["Node Type"], "Seq Scan", "{relation}: {plan:#}");
        });
        let partition = today.format(&format!("{table}_p%Y%m%d")).to_string();
        assert_eq!(found, BTreeSet::from([partition]), "{plan:#}");
    }
}

fn visit(value: &Value, look: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            look(value);
            fields.values().for_each(|field| visit(field, look));
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        _ => {}
    }
}
