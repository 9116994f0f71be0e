//! Roles that may delete kept data, and when.

use super::{answer, code, denied};
use crate::consumo::{Feed, generated};
use crate::support::program::{finish, program};
use crate::support::{Message, Platform};

const READINGS: &str = "--clients 2 --days 20 --start 2024-05-01 --seed 1";

#[tokio::test(flavor = "multi_thread")]
async fn only_a_copy_of_the_rows_lets_a_partition_go() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    feed.send(&generated(READINGS)).await;
    let readings = "select count(*) from consumo.lecturas";
    let rows = platform.number(readings).await;
    assert!(rows > 900, "{rows}");
    let (worker, archive) = (&platform.database.worker, &platform.database.archive);
    let begin = "select core.archive_begin(1, 'consumo.lecturas', '2024-05-01', 'x', 'mallory')";
    let verified = |rows: i64, first: &str, last: &str, sum: &str| {
        format!(
            "select core.archive_verified(1, max(archive_id), {rows}, '{first}', '{last}', '{sum}', '{sum}', 1, 1, '[]', 'mallory') from core.archives"
        )
    };
    let drop = "select core.archive_drop(1, max(archive_id), 'mallory') from core.archives";
    let sum = "0".repeat(64);
    let (first, last) = (
        platform
            .texts("select min(instante)::text from consumo.lecturas")
            .await
            .remove(0),
        platform
            .texts("select max(instante)::text from consumo.lecturas where instante < '2024-06-01'")
            .await
            .remove(0),
    );
    let may = "select count(*) from consumo.lecturas where instante < '2024-06-01'";
    let in_may = platform.number(may).await;
    // The worker can do no step of it.
    for statement in [
        begin,
        &verified(in_may, &first, &last, &sum),
        drop,
        "select core.archive_abandon(1, 1, '', '')",
        "select core.archive_recover(1, '')",
        "select core.archive_deleted(1, 1, '')",
        "select core.restore_begin(1, 1, '')",
        "select core.restore_attach(1, 1, 1, '', '1 day', '')",
        "select core.purge(1, 'consumo.lecturas', '2000-01-01', '2100-01-01', true, '', '')",
        "select core.drop_day('stg.consumo_lectura_p20240501', '2100-01-01')",
    ] {
        assert_eq!(code(worker, statement).await, denied(), "{statement}");
    }
    // The archive's role can do them, but only with figures that match the rows of the table.
    assert_eq!(code(archive, begin).await, None);
    assert!(code(archive, drop).await.is_some(), "nothing is verified");
    for (rows, first, last, sum) in [
        (in_may - 1, first.as_str(), last.as_str(), sum.as_str()),
        (in_may, "2024-05-02", last.as_str(), sum.as_str()),
        (in_may, first.as_str(), "2024-05-30", sum.as_str()),
        (in_may, first.as_str(), last.as_str(), "made up"),
    ] {
        let made_up = verified(rows, first, last, sum);
        let (code, said) = answer(archive, &made_up).await.expect("a refusal");
        assert_eq!(code, "XX001", "{made_up}: {said}");
        assert!(code != "42501" && self::code(archive, drop).await.is_some());
    }
    assert_eq!(platform.number(readings).await, rows);
    // An operator decides, too, which archives are given up.
    let purge =
        "select core.purge(1, 'consumo.lecturas', '2000-01-01', '2100-01-01', true, '', '')";
    assert_eq!(code(archive, purge).await, denied());
    assert_eq!(code(&platform.database.operator, drop).await, denied());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_less_than_the_owner_says() {
    let platform = Platform::new().await;
    let running = platform.worker(&[]);
    running.ready().await;
    let bad = |id: usize| Message::new("academico", "alumno", format!("[{id}]"));
    platform
        .publish_all(&(0..4).map(bad).collect::<Vec<_>>())
        .await;
    platform.settled(4).await;
    running.stop().await;
    // Two rows are resolved, two wait for a decision; all are as old as one can be without being due.
    let old = "update raw.quarantine set day = '1970-01-01', last_seen_at = now() - interval '364 days', received_at = now() - interval '364 days';
        insert into core.audit_log (at, who, action, quarantine_ids) values (now() - interval '364 days', 'ana', 'edit', '{1}')";
    platform.execute(old).await;
    let operator = &platform.database.operator;
    let discard = "update raw.quarantine set status = 'discarded', resolved_at = now() where quarantine_id in (select q.quarantine_id from raw.quarantine q order by 1 limit 2)";
    assert_eq!(code(operator, discard).await, None);

    let worker = &platform.database.worker;
    let rows = "select count(*) from raw.quarantine";
    let audit = "select count(*) from core.audit_log";
    for wish in [
        "'0', '0', '0'",
        "'-1 day', null, '1 second'",
        "null, null, null",
    ] {
        let retain = format!("select * from core.retain({wish})");
        assert_eq!(code(worker, &retain).await, None, "{wish}");
        assert_eq!(platform.number(rows).await, 4, "{wish}");
        assert_eq!(platform.number(audit).await, 1, "{wish}");
    }
    // Nor by a setting of the program.
    let keep = [
        "--quarantine-keep",
        "0s",
        "--log-keep",
        "0s",
        "--staging-keep",
        "0s",
        "--orphan-ttl",
        "1s",
    ];
    let running = platform.worker(&keep);
    running.ready().await;
    let maintained = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'acequia loops' and query like '%core.retain%'";
    acequia_testkit::wait_for("housekeeping", async || {
        Ok(platform.number(maintained).await > 0)
    })
    .await
    .unwrap();
    running.stop().await;
    assert_eq!(platform.number(rows).await, 4);
    assert_eq!(platform.number(audit).await, 1);

    // The period ends: decided rows go, open ones stay.
    platform
        .execute("update raw.quarantine set last_seen_at = now() - interval '4000 days'")
        .await;
    assert_eq!(
        code(worker, "select * from core.retain(null, null, null)").await,
        None
    );
    assert_eq!(
        platform.texts("select status from raw.quarantine").await,
        ["open", "open"]
    );

    // The owner's own bounds.
    for (what, least) in [
        ("staging", "1 day"),
        ("quarantine", "30 days"),
        ("logs", "7 days"),
    ] {
        let set = format!(
            "update core.retention set keep = interval '{least}' - interval '1 second' where what = '{what}'"
        );
        assert_eq!(
            code(&platform.database.owner, &set).await.as_deref(),
            Some("23514")
        );
        let set = format!("update core.retention set keep = '{least}' where what = '{what}'");
        assert_eq!(code(&platform.database.owner, &set).await, None);
        for role in [worker, operator, &platform.database.archive] {
            assert_eq!(code(role, &set).await, denied());
        }
    }
    let mut command = program(&["migrate", "--quarantine-keep", "29d"]);
    command.env("DATABASE_URL", &platform.database.owner);
    let refused = finish(command).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("quarantine 30 days"), "{refused:?}");
    let mut command = program(&["migrate", "--staging-keep", "3d", "--log-keep", "8d"]);
    command.env("DATABASE_URL", &platform.database.owner);
    assert!(finish(command).await.status.success());
    assert_eq!(
        platform.texts("select what || ' ' || extract(day from justify_hours(keep)) from core.retention order by 1").await,
        ["logs 8", "quarantine 30", "staging 3"]
    );
}
