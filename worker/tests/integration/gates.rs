//! Trustworthy? Data that fail a rule of severity error stay out of the materialized marts and are named
//! in the live ones, until they are repaired or an operator decides otherwise.

use serde_json::Value;
use sqlx::Row;

use crate::freshness::{Fresh, all_are, published, school};
use crate::support::Platform;
use crate::support::program::{Finished, finish, program};
use crate::support::school::{alumno, calificacion};

const MART: &str = "marts.kpi_materia";
const RULE: &str = "calificaciones_fecha_not_future";
/// Breaks and mends the rule behind the platform's back.
const BREAK: &str =
    "update academico.calificaciones set fecha_registro = current_date + 30 where id_alumno = 1";
const MEND: &str = "update academico.calificaciones set fecha_registro = current_date where fecha_registro > current_date + 1";
/// Checks and refreshes that come soon.
const SOON: [&str; 2] = ["--check-every", "200ms"];
/// Checks that do not come while a test runs, after the first one.
const LATER: [&str; 2] = ["--check-every", "1h"];

impl Platform {
    async fn gate(&self, arguments: &[&str]) -> Finished {
        let mut all = vec!["gate"];
        all.extend(arguments);
        all.extend(["--database-url", &self.database.operator]);
        finish(program(&all)).await
    }

    /// The rows of the mart, as an analyst sees them.
    async fn shown(&self) -> Vec<String> {
        let query = "select k::text from marts.kpi_materia k order by 1";
        sqlx::query_scalar(query)
            .fetch_all(&mut self.analyst().await)
            .await
            .unwrap()
    }

    /// Waits until the mart's row of `marts.freshness` is as wanted.
    async fn mart(&self, what: &str, wanted: impl Fn(&Fresh) -> bool) -> Fresh {
        let rows = self.freshness(what, |rows| rows.get(MART).is_some_and(&wanted));
        rows.await.remove(MART).unwrap()
    }

    /// Waits until the rules of the domain have run again, all of them, twice: the second run began after the call.
    async fn checked(&self) {
        let runs =
            "select count(*) from core.etl_run_log where loop = 'check' and domain = 'academico'";
        let before = self.number(runs).await;
        acequia_testkit::wait_for("two runs of the rules", async || {
            Ok(self.number(runs).await >= before + 2)
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_rule_holds_the_refresh_until_it_passes() {
    let platform = Platform::new().await;
    let worker = platform.worker(&SOON);
    worker.ready().await;
    platform.publish_all(&school()).await;
    let rows = platform.freshness("fresh marts", |rows| all_are(rows, "fresh"));
    let before = rows.await;
    let shown = platform.shown().await;
    assert!(before.values().all(|row| row.trusted));
    assert_eq!(before[MART].gate, "open");

    platform.execute(BREAK).await;
    platform
        .mart("a closed gate", |row| row.gate == "closed")
        .await;
    let news = [
        published(10, alumno(2)),
        published(12, calificacion(2, 1, 2.0)),
    ];
    platform.publish_all(&news).await;
    let blocked = platform
        .mart("a blocked mart", |row| row.status == "blocked")
        .await;
    assert_eq!(blocked.blocking_rules, [RULE]);
    assert_eq!(blocked.data_as_of, before[MART].data_as_of);
    assert!(blocked.behind_since.is_some());
    // However often it is looked at.
    platform.checked().await;
    assert_eq!(platform.shown().await, shown);
    let refresh = ["refresh", "--database-url", &platform.database.worker];
    assert_eq!(finish(program(&refresh)).await.status.code(), Some(1));
    assert_eq!(platform.shown().await, shown);

    platform.execute(MEND).await;
    let rows = platform.freshness("fresh marts", |rows| all_are(rows, "fresh"));
    let released = rows.await;
    assert!(released.values().all(|row| row.trusted));
    assert_eq!(released[MART].gate, "open");
    assert!(released[MART].data_as_of > blocked.data_as_of);
    assert_ne!(platform.shown().await, shown);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_checked_is_not_published() {
    let platform = Platform::new().await;
    platform
        .execute(
            "insert into core.dq_rules (rule, domain, schema_name, table_name, test, severity, description, remedy, failing_rows)
             values ('no_zero', 'academico', 'academico', 'calificaciones', 'accepted_range', 'error', 'No mark is 0', 'Ask.',
                     'select id_alumno as key from academico.calificaciones where calificacion = 0')",
        )
        .await;
    let worker = platform.worker(&LATER);
    worker.ready().await;
    platform.publish_all(&school()).await;
    platform
        .freshness("fresh marts", |rows| all_are(rows, "fresh"))
        .await;
    let shown = platform.shown().await;

    // It comes by the front door, and no check is due for an hour: the refresh checks for itself.
    platform
        .publish_all([&published(10, calificacion(1, 1, 0.0))])
        .await;
    let rows = platform
        .freshness("a blocked mart", |rows| rows[MART].status == "blocked")
        .await;
    let blocked = &rows[MART];
    assert_eq!(
        (blocked.gate.as_str(), blocked.blocking_rules.as_slice()),
        ("closed", ["no_zero".to_owned()].as_slice())
    );
    // The shown rows have passed; the missing ones are reported.
    assert!(blocked.trusted && blocked.behind_since.is_some());
    let through = blocked.complete_through.unwrap();
    assert_eq!(blocked.data_as_of, Some(through));
    assert_eq!(platform.shown().await, shown);
    // Views show what there is; they cannot be blocked, only marked.
    for row in rows.values().filter(|row| row.kind == "view") {
        assert_eq!(
            (row.status.as_str(), row.trusted, row.gate.as_str()),
            ("untrusted", false, "none"),
            "{row:?}"
        );
        assert_eq!(row.blocking_rules, ["no_zero"]);
        assert!(row.complete_through > Some(through), "{row:?}");
    }

    // The publisher corrects it. Nobody opens anything: the next run of the rules does.
    platform
        .publish_all([&published(12, calificacion(1, 1, 6.0))])
        .await;
    platform.settled(8).await;
    assert_eq!(platform.mart("the mart", |_| true).await.status, "blocked");
    let check = ["check", "--database-url", &platform.database.worker];
    assert!(finish(program(&check)).await.status.success());
    let rows = platform.freshness("fresh marts", |rows| all_are(rows, "fresh"));
    assert!(
        rows.await
            .values()
            .all(|row| row.trusted && row.blocking_rules.is_empty())
    );
    let after = platform.shown().await;
    assert!(after[0].contains("6.00"), "{after:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_marts_that_read_the_table_are_concerned() {
    let platform = Platform::new().await;
    let worker = platform.worker(&SOON);
    worker.ready().await;
    platform.publish_all(&school()).await;
    platform
        .freshness("fresh marts", |rows| all_are(rows, "fresh"))
        .await;
    platform
        .execute("update academico.alumnos set nombre = ' '")
        .await;
    let concerned = platform
        .texts("select mart from core.lineage where core_table = 'academico.alumnos'")
        .await;
    assert!(!concerned.is_empty());
    let rows = platform.freshness("untrusted marts", |rows| {
        rows.values()
            .all(|row| (row.status == "untrusted") == concerned.contains(&row.mart))
    });
    for row in rows.await.values() {
        let rules = ["alumnos_nombre_not_blank"];
        let rules = if row.trusted { &[][..] } else { &rules[..] };
        assert_eq!(row.blocking_rules, rules);
    }
    // Of the platform's own ledger every mart depends.
    platform
        .execute("update academico.alumnos set nombre = 'Ana'; alter table core.batch_entities drop constraint every_message_is_accounted_for; alter table core.settled_totals drop constraint every_message_is_accounted_for; update core.batch_entities set received = received + 1")
        .await;
    platform
        .freshness("marts without trust", |rows| {
            rows.values()
                .all(|row| !row.trusted && row.blocking_rules == ["conservation"])
        })
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mart_that_was_never_refreshed_is_held_too() {
    let platform = Platform::new().await;
    platform
        .execute("update core.dq_rules set failing_rows = 'select 1 as key' where rule = 'calificaciones_unique'")
        .await;
    let worker = platform.worker(&LATER);
    worker.ready().await;
    platform.publish_all(&school()).await;
    let blocked = platform
        .mart("a blocked mart", |row| row.status == "blocked")
        .await;
    assert_eq!((blocked.data_as_of, blocked.complete_through), (None, None));
    assert_eq!(platform.shown().await, Vec::<String>::new());
    // A rule that cannot run has not passed.
    platform
        .execute("update core.dq_rules set failing_rows = 'select 1 / 0 as key' where rule = 'calificaciones_unique'")
        .await;
    let check = ["check", "--database-url", &platform.database.worker];
    assert_eq!(finish(program(&check)).await.status.code(), Some(1));
    let blocked = platform.mart("the mart", |_| true).await;
    assert_eq!(
        (blocked.status.as_str(), blocked.blocking_rules),
        ("blocked", vec!["calificaciones_unique".to_owned()])
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_opens_a_gate() {
    let platform = Platform::new().await;
    let worker = platform.worker(&SOON);
    worker.ready().await;
    let mut messages = school();
    messages.push(published(7, alumno(2)));
    messages.push(published(8, calificacion(2, 1, 7.5)));
    platform.publish_all(&messages).await;
    platform
        .freshness("fresh marts", |rows| all_are(rows, "fresh"))
        .await;
    let listed = platform.gate(&["list"]).await;
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let nothing = platform.gate(&["open", "--reason", "none"]).await;
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");

    // Held, with a mark that it does not show.
    platform.execute(BREAK).await;
    platform.checked().await;
    platform
        .publish_all([&published(10, calificacion(2, 1, 5.5))])
        .await;
    let blocked = platform
        .mart("a blocked mart", |row| row.status == "blocked")
        .await;
    let shown = platform.shown().await;
    let listed = platform.gate(&["list", "--mart", MART, "--json"]).await;
    assert_eq!(listed.status.code(), Some(1), "{listed:?}");
    let gates: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(
        (
            &gates[0]["gate"],
            &gates[0]["rule"],
            &gates[0]["failing_count"]
        ),
        (&"closed".into(), &RULE.into(), &1.into())
    );

    // Wrong use changes nothing.
    for wrong in [
        &["open", "--mart", MART][..],
        &["open", "--mart", MART, "--reason", " "],
        &["open", "--mart", "marts.nothing", "--reason", "x"],
        &["open", "--mart", MART, "--for", "soon", "--reason", "x"],
    ] {
        assert_eq!(platform.gate(wrong).await.status.code(), Some(2));
    }
    assert_eq!(platform.shown().await, shown);

    // Opened: refreshed without a person, and marked.
    let arguments = ["open", "--mart", MART, "--by", "Ada", "--json"];
    let opened = platform
        .gate(&[&arguments[..], &["--reason", "known, one date"]].concat())
        .await;
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    let opened: Value = serde_json::from_str(&opened.stdout).unwrap();
    assert_eq!(
        (&opened[0]["mart"], &opened[0]["rule"]),
        (&MART.into(), &RULE.into())
    );
    let row = platform
        .mart("a refreshed mart", |row| {
            row.gate == "opened" && row.data_as_of > blocked.data_as_of
        })
        .await;
    assert_eq!(
        (row.status.as_str(), row.trusted, row.behind_since),
        ("untrusted", false, None)
    );
    assert_eq!(row.blocking_rules, [RULE]);
    assert_ne!(platform.shown().await, shown);
    let listed = platform.gate(&["list"]).await;
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(
        listed
            .stdout
            .contains("by Ada until the result changes: known, one date"),
        "{listed:?}"
    );
    let audit =
        sqlx::query("select who, login, action, marts, filters, reason from core.audit_log")
            .fetch_one(&mut platform.connect().await)
            .await
            .unwrap();
    let text = |column: &str| audit.get::<String, _>(column);
    assert_eq!(
        [text("who"), text("login"), text("action"), text("reason")],
        ["Ada", "acequia_operator", "open_gate", "known, one date"].map(ToOwned::to_owned)
    );
    assert_eq!(audit.get::<Vec<String>, _>("marts"), [MART]);

    // That was for one row. Two are another matter.
    platform
        .execute("update academico.calificaciones set fecha_registro = current_date + 30")
        .await;
    platform
        .mart("a closed gate", |row| row.gate == "closed")
        .await;
    platform.checked().await;
    let ended = "select ended_by from core.gate_openings order by opening_id";
    assert_eq!(platform.texts(ended).await, ["the rule got worse"]);

    // Until a time, with and without new data.
    let arguments = ["open", "--for", "15s", "--reason", "month's end"];
    let opened = platform.gate(&arguments).await;
    assert!(opened.stdout.contains(" until 20"), "{opened:?}");
    platform
        .mart("an opened gate", |row| row.gate == "opened")
        .await;
    platform
        .execute("insert into academico.alumnos values (101, 'Eva', 20, 'F', now(), gen_random_uuid(), 1); insert into academico.calificaciones values (101, 1, 5, current_date + 30, now(), gen_random_uuid(), 1)")
        .await;
    platform
        .mart("a closed gate", |row| row.gate == "closed")
        .await;
    platform.checked().await;
    assert_eq!(platform.texts(ended).await[1], "its time was up");

    // Taken back.
    assert!(
        platform
            .gate(&["open", "--reason", "a"])
            .await
            .status
            .success()
    );
    platform
        .mart("an opened gate", |row| row.gate == "opened")
        .await;
    assert!(
        platform
            .gate(&["close", "--reason", "b"])
            .await
            .status
            .success()
    );
    platform
        .mart("a closed gate", |row| row.gate == "closed")
        .await;
    let closed = platform.gate(&["close", "--reason", "b"]).await;
    assert_eq!(closed.status.code(), Some(1), "{closed:?}");

    // A mart refreshed in spite of the rule is refreshed again when the rule passes, although
    // nothing was promoted since.
    let refreshes = "select count(*) from core.mart_refresh_log where mart = 'marts.kpi_materia'";
    let before = platform.number(refreshes).await;
    platform.execute(MEND).await;
    let row = platform.mart("a trusted mart", |row| row.trusted).await;
    assert_eq!((row.status.as_str(), row.gate.as_str()), ("fresh", "open"));
    assert!(platform.number(refreshes).await > before);
    worker.stop().await;
}
