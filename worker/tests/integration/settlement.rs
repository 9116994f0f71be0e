//! Ledger rows are settled into running totals: right at every moment, and as cheap after many batches as after few.

use acequia_store::promotion;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::retention::{now, retain, settings};
use crate::support::school::{DOMAIN, alumno, grupo, maestro, materia};
use crate::support::{Message, Platform};

/// Batches of one message that was there before, with the statements of a worker of any age.
const BATCHES_OF_ONE: &str = "
with b as (
    insert into core.batches (batch_id, domain, queue, worker, state, received_at)
    select nextval('core.batch_id'), 'academico', 'acequia.academico', 'w', 'promoted', now() - interval '3 hours'
    from generate_series(1, :count)
    returning batch_id
)
insert into core.batch_entities (batch_id, domain, entity, received, duplicates, staged, quarantined, oldest_published_at, newest_published_at)
select b.batch_id, 'academico', 'alumno', 1, 1, 0, 0, now(), now() from b";

async fn batches_of_one(platform: &Platform, count: i64) {
    platform
        .execute(&BATCHES_OF_ONE.replace(":count", &count.to_string()))
        .await;
}

/// Settles everything: with the promotion that each look for work is.
async fn settle(platform: &Platform) {
    let mut worker = platform.connect().await;
    while platform
        .number("select count(*) from core.batch_entities where not settled")
        .await
        > 0
    {
        promotion::promote(&mut worker, DOMAIN, 1000).await.unwrap();
    }
}

/// Pages that a statement touches, and rows that it reads from tables of batches.
async fn cost(owner: &mut PgConnection, statement: &str) -> (i64, f64) {
    let explain = format!("explain (analyze, buffers, format json) {statement}");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain))
        .fetch_one(owner)
        .await
        .unwrap();
    let root = &plan[0]["Plan"];
    let pages = ["Shared Hit Blocks", "Shared Read Blocks"]
        .iter()
        .map(|name| root[name].as_i64().unwrap())
        .sum();
    (pages, rows_of_batches(root))
}

fn rows_of_batches(node: &Value) -> f64 {
    let own = match node["Relation Name"].as_str() {
        Some("batches" | "batch_entities") => {
            let one = |name: &str| node[name].as_f64().unwrap_or_default();
            (one("Actual Rows") + one("Rows Removed by Filter")) * one("Actual Loops")
        }
        _ => 0.0,
    };
    let plans = node["Plans"].as_array().into_iter().flatten();
    own + plans.map(rows_of_batches).sum::<f64>()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_cost_the_same_after_any_number_of_batches() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    for (count, whole) in [(1_000, 1_000), (49_000, 50_000)] {
        batches_of_one(&platform, count).await;
        settle(&platform).await;
        // Dead rows are gone, as after a while in operation.
        platform.execute("vacuum analyze core.batch_entities").await;
        assert_eq!(
            platform.ledger_entry(DOMAIN, "alumno").await.duplicates,
            whole
        );
        for statement in [
            "select * from core.conservation",
            "select core.staged_rows('academico')",
            "select * from core.mart_progress",
        ] {
            let (pages, rows) = cost(&mut owner, statement).await;
            assert!(pages < 300, "{statement}: {pages} pages of {whole} batches");
            assert!(rows < 1.0, "{statement}: {rows} rows of {whole} batches");
        }
    }

    // Old batches go, a bounded number of newer ones stays to be asked for; the ledger is as it was.
    let before = platform.total().await;
    let today = now(&mut owner).await;
    let removed = retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(
        removed,
        Vec::new(),
        "fewer than 200,000, and a month is not over"
    );
    platform
        .execute("select setval('core.batch_id', 300000)")
        .await;
    batches_of_one(&platform, 10).await;
    settle(&platform).await;
    let removed = retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(removed, [("core.batches".to_owned(), 50_000)]);
    for table in ["core.batches", "core.batch_entities"] {
        let rows = format!("select count(*) from {table}");
        assert_eq!(platform.number(&rows).await, 10, "{table}");
    }
    let after = platform.total().await;
    assert_eq!(after.received, before.received + 10);
    assert_eq!((after.duplicates, after.unaccounted), (50_010, 0));
}

/// The totals are the sums of the batches.
const TOTALS_ARE_SUMS: &str = "
select count(*) from (
    (select entity, received, duplicates, staged, inserted, updated, unchanged, stale, pending, quarantined, written_off, deleted, newest_published_at
     from core.settled_totals)
    except
    (select entity, sum(received)::bigint, sum(duplicates)::bigint, sum(staged)::bigint, sum(inserted)::bigint, sum(updated)::bigint,
            sum(unchanged)::bigint, sum(stale)::bigint, sum(pending)::bigint, sum(quarantined)::bigint, sum(written_off)::bigint,
            sum(deleted)::bigint, max(newest_published_at)
     from core.batch_entities where settled group by entity)
) d";

/// Copies, rows that wait, rows that give up waiting, bad messages, several workers: counts change
/// after they were settled, and the equation holds at each look.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_hold_while_they_are_settled() {
    let platform = Platform::new().await;
    platform.declare().await;
    let auditor = platform.auditor().await;
    let workers = [
        platform.worker(&["--batch-max", "3", "--orphan-ttl", "20s"]),
        platform.worker(&["--batch-max", "2", "--orphan-ttl", "20s"]),
    ];
    let mut messages: Vec<Message> = Vec::new();
    for id in 1..=60 {
        // Groups whose teacher comes later, and groups whose teacher never comes.
        messages.push(grupo(id, id, if id % 2 == 0 { id } else { 1000 + id }));
        messages.push(alumno(id));
        messages.push(messages[messages.len() - 2].clone());
        messages.push(Message::new(DOMAIN, "alumno", "{"));
    }
    messages.extend((1..=60).map(materia));
    messages.extend((1..=60).map(maestro));
    platform.publish_all(&messages).await;
    // Those whose teacher comes must not give up before all are merged, however slow the machine is.
    let limit = std::time::Duration::from_secs(120);
    acequia_testkit::wait_within(limit, "rows that gave up waiting", async || {
        Ok(platform.total().await.quarantined == 90)
    })
    .await
    .unwrap();
    platform
        .settled(i64::try_from(messages.len()).unwrap())
        .await;
    let entry = platform.ledger_entry(DOMAIN, "grupo").await;
    assert_eq!(
        (entry.received, entry.inserted, entry.pending),
        (120, 30, 0),
        "{entry:?}"
    );
    assert_eq!(entry.quarantined + entry.duplicates, 90, "{entry:?}");
    settle(&platform).await;
    assert_eq!(platform.number(TOTALS_ARE_SUMS).await, 0);
    auditor.finish().await;
    for worker in workers {
        worker.stop().await;
    }
}

/// A batch is kept as long as a mart that is not refreshed lacks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_a_mart_lacks_is_kept() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--refresh-every", "1h"]);
    worker.ready().await;
    platform.publish_all([&maestro(1), &materia(1)]).await;
    platform.settled(2).await;
    worker.stop().await;
    platform
        .execute("delete from core.mart_refresh_log; update core.batches set received_at = received_at - interval '40 days', promoted_at = promoted_at - interval '40 days'")
        .await;
    let behind = "select coalesce(extract(epoch from min(behind_since))::bigint, 0) from core.mart_status where kind = 'materialized' and domain = 'academico'";
    let since = platform.number(behind).await;
    assert!(since > 0);
    let mut owner = platform.connect().await;
    let today = now(&mut owner).await;
    retain(&mut owner, &settings(&[]), today).await;
    assert_eq!(platform.number(behind).await, since);
    assert!(platform.number("select count(*) from core.batches").await > 0);
}
