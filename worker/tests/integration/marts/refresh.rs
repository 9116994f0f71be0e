//! When marts are refreshed and rules run, and when marts are late.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

use super::{DOMAIN, catalogues, fetch, mark, sent, student};
use crate::oracle::KpiMateria;
use crate::permutations::{Feed, publish};
use crate::support::Platform;

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
    // The rules are run by themselves, too, those of each domain.
    let ran = "select count(distinct check_name) from core.dq_results";
    let rules = "select count(*) from core.dq_rules where enabled";
    let rules = platform.number(rules).await;
    acequia_testkit::wait_for("a result of each rule", async || {
        Ok(platform.number(ran).await == rules)
    })
    .await
    .unwrap();
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
