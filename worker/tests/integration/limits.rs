//! Each data quality rule has a time limit of its own.

use std::time::Duration;

use acequia_store::marts::{Refreshed, refresh};
use acequia_store::quality::check;

use crate::freshness::school;
use crate::support::Platform;
use crate::support::program::{finish, program};
use crate::support::school::{DOMAIN, calificacion};

/// Time limit of a rule: shorter than two slow rules together.
const LIMIT: Duration = Duration::from_secs(6);
const MART: &str = "marts.kpi_materia";

impl Platform {
    /// Adds a rule of severity error on the marks that takes a number of seconds and passes.
    async fn slow_rule(&self, name: &str, seconds: u32) {
        self.execute(&format!(
            "insert into core.dq_rules (rule, domain, schema_name, table_name, test, severity, description, remedy, failing_rows)
             values ('{name}', 'academico', 'academico', 'calificaciones', 'row_count', 'error', 'It ends.', 'Wait.',
                     'select 1 as key from (select pg_sleep({seconds})::text as slept offset 0) s where s.slept <> ''''')"
        ))
        .await;
    }

    async fn outcomes(&self, names: &[&str]) -> Vec<String> {
        let query = format!(
            "select rule || ' ' || outcome from core.dq_status where rule = any (array{names:?}) order by rule"
        );
        self.texts(&query.replace('"', "'")).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_runs_out_of_time_is_an_error_of_that_rule_only() {
    let platform = Platform::new().await;
    for (name, seconds) in [
        ("a_slow", 4),
        ("b_slow", 4),
        ("c_endless", 3600),
        ("d_quick", 0),
    ] {
        platform.slow_rule(name, seconds).await;
    }
    // As the check loop runs the rules.
    let mut connection = platform.connect().await;
    let results = check(&mut connection, DOMAIN, LIMIT).await.unwrap();
    let broken: Vec<_> = results
        .iter()
        .filter(|result| result.outcome == "error")
        .map(|result| result.rule.as_str())
        .collect();
    assert_eq!(broken, ["c_endless"]);
    let wanted = [
        "a_slow pass",
        "b_slow pass",
        "c_endless error",
        "d_quick pass",
    ];
    let names = ["a_slow", "b_slow", "c_endless", "d_quick"];
    assert_eq!(platform.outcomes(&names).await, wanted);
    // The session has its usual limit again.
    let limit: String = sqlx::query_scalar("show statement_timeout")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(limit, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_follow_each_rule_by_itself() {
    let platform = Platform::new().await;
    // Its checks and refreshes are over before there is anything to check.
    let worker = platform.worker(&["--check-every", "1h", "--refresh-every", "1h"]);
    worker.ready().await;
    platform.publish_all(&school()).await;
    platform.settled(6).await;
    for name in ["a_slow", "b_slow"] {
        platform.slow_rule(name, 4).await;
    }
    let mut connection = platform.connect().await;
    let refreshed = refresh(&mut connection, MART, LIMIT).await.unwrap();
    assert!(matches!(refreshed, Refreshed::Rows(_)), "{refreshed:?}");

    platform.slow_rule("c_endless", 3600).await;
    platform.publish_all(&[calificacion(1, 1, 9.5)]).await;
    platform.settled(7).await;
    let refreshed = refresh(&mut connection, MART, LIMIT).await.unwrap();
    assert_eq!(refreshed, Refreshed::Blocked(vec!["c_endless".to_owned()]));
    let names = ["a_slow", "b_slow", "c_endless"];
    let wanted = ["a_slow pass", "b_slow pass", "c_endless error"];
    assert_eq!(platform.outcomes(&names).await, wanted);
    worker.stop().await;

    // With the option of the command.
    let check = [
        "check",
        "--rule-max",
        "6s",
        "--database-url",
        &platform.database.worker,
    ];
    let ended = finish(program(&check)).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let lines = ended.stdout.lines();
    let broken: Vec<_> = lines.filter(|line| line.starts_with("error ")).collect();
    assert!(
        matches!(broken[..], [one] if one.ends_with("c_endless")),
        "{broken:?}"
    );
}
