//! How many connections a worker holds, what it asks when there is nothing to do, and what wakes its loops.

use std::time::{Duration, Instant};

use acequia_contracts::{Context, Domain, Entity, catalog, fixtures};
use acequia_store::db;
use acequia_store::staging::{DecodedBatch, Store, WriteMode};
use acequia_testkit::{wait_for, wait_within};
use lapin::BasicProperties;
use lapin::message::Delivery;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Message, Platform};

/// The documented connections of a worker for five domains.
const DOMAINS: usize = 5;
const CONNECTIONS: usize = 16;
const STATEMENTS_A_SECOND: f64 = 10.0;

/// Connections of the process, beside two for each domain.
const OF_THE_PROCESS: usize = CONNECTIONS - 2 * DOMAINS;

/// Connections of the workers of a platform, without the two of the start, which the server may still be closing.
const OF_WORKERS: &str = "from pg_stat_activity where datname = current_database() \
    and usename = 'acequia_worker' and application_name like 'acequia %' and application_name <> 'acequia start'";

/// Listening connections of the workers of a platform.
const LISTENERS: &str = "select count(*) from pg_stat_activity \
    where datname = current_database() and application_name = 'acequia listen' and query <> ''";

/// A valid message of an entity, under a new id.
fn valid(entity: &Entity) -> Message {
    let (domain, name) = (entity.domain, entity.name);
    Message::new(domain, name, fixtures::valid(domain, name)[0].body)
}

/// One of each entity, parents first.
fn samples() -> Vec<Message> {
    let entities = catalog().iter().flat_map(|domain| &domain.entities);
    entities.map(valid).collect()
}

/// Connects as superuser, who may see and end the sessions of others.
async fn admin(platform: &Platform) -> PgConnection {
    PgConnection::connect(&platform.database.admin)
        .await
        .unwrap()
}

async fn count(connection: &mut PgConnection, statement: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Whether that number of messages has come and none waits.
async fn all_merged(platform: &Platform, messages: i64) -> bool {
    let entry = platform.total().await;
    (entry.received, entry.staged) == (messages, 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_few_and_an_idle_worker_asks_little() {
    const STATEMENTS: &str = "
        select coalesce(sum(s.calls), 0)::bigint from pg_stat_statements s
        join pg_database d on d.oid = s.dbid and d.datname = current_database()
        join pg_roles r on r.oid = s.userid and r.rolname = 'acequia_worker'";

    // On servers of its own: what others do makes the server forget statements.
    let platform = Platform::own().await;
    let worker = platform.worker(&["--refresh-every", "5s"]);
    worker.ready().await;
    let mut admin = admin(&platform).await;
    let mut most = 0;
    let messages = samples();
    platform.publish_all(&messages).await;
    wait_for("every message in the core", async || {
        worker.metrics().await;
        most = most.max(count(&mut admin, &format!("select count(*) {OF_WORKERS}")).await);
        Ok(all_merged(&platform, i64::try_from(messages.len())?).await)
    })
    .await
    .unwrap();

    wait_for("marts of all that came", async || {
        let behind = "select count(*) from core.mart_status where needs_refresh";
        Ok(platform.number(behind).await == 0)
    })
    .await
    .unwrap();

    sqlx::raw_sql("create extension if not exists pg_stat_statements")
        .execute(&mut admin)
        .await
        .unwrap();
    wait_for_run(&platform, async || {}).await;
    let (begun, before) = (Instant::now(), count(&mut admin, STATEMENTS).await);
    wait_for_run(&platform, async || {
        most = most.max(count(&mut admin, &format!("select count(*) {OF_WORKERS}")).await);
    })
    .await;
    let (asked, seconds) = (
        count(&mut admin, STATEMENTS).await - before,
        begun.elapsed().as_secs_f64(),
    );
    worker.stop().await;

    let domains = catalog().len();
    let limit = i64::try_from(2 * domains + OF_THE_PROCESS).unwrap();
    assert!(
        most <= limit,
        "{most} connections for {domains} domains, at most {limit}"
    );
    assert!(asked > 0, "no statement was counted");
    // Were all of them for the domains, five would ask so much more.
    let five = asked as f64 / seconds * DOMAINS as f64 / domains as f64;
    assert!(
        five < STATEMENTS_A_SECOND,
        "{asked} statements in {seconds:.0} s for {domains} domains: {five:.1} a second for {DOMAINS}"
    );
}

/// Waits until the rules of every domain were run once more. Of all loops they wait longest, so what happens
/// meanwhile has the share of each loop.
async fn wait_for_run(platform: &Platform, mut meanwhile: impl AsyncFnMut()) {
    const RUNS: &str = "select min(runs) from (
        select count(*) filter (where l.loop = 'check') as runs from core.etl_run_log l group by l.domain) r";
    let before = platform.number(RUNS).await;
    wait_within(Duration::from_secs(180), "a run of the rules", async || {
        meanwhile().await;
        Ok(platform.number(RUNS).await > before)
    })
    .await
    .unwrap();
}

/// Stages a message as another process does, which then does nothing more.
async fn stage_elsewhere(platform: &Platform, domain: &'static Domain) {
    let queue = format!("acequia.{}", domain.name);
    let message = valid(&domain.entities[0]);
    let key = message.routing_key.as_str().into();
    let mut delivery = Delivery::mock(1, "acequia".into(), key, false, message.body);
    delivery.properties =
        BasicProperties::default().with_message_id(Uuid::now_v7().to_string().into());
    let mut decoded = DecodedBatch::new(domain);
    decoded.add(0, &delivery, &queue, &Context::now());
    let mut connection = db::connect(&platform.database_url(), "test").await.unwrap();
    let written = Store::new("elsewhere:1", &[domain])
        .write(
            &mut connection,
            &queue,
            &decoded,
            &[delivery],
            WriteMode::Commit,
        )
        .await
        .unwrap();
    assert!(written.counts.iter().all(|(_, counts)| counts.staged == 1));
}

/// No poll helps: it would come after an hour.
#[tokio::test(flavor = "multi_thread")]
async fn work_is_done_at_once_where_it_comes_from_and_where_it_is_announced() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--poll-every", "1h"]);
    worker.ready().await;
    let mut admin = admin(&platform).await;
    wait_for("a worker that listens", async || {
        Ok(count(&mut admin, LISTENERS).await == 1)
    })
    .await
    .unwrap();
    for number in 1..=3 {
        outbox(&platform).await;
        sent(&platform, number).await;
    }
    let messages = samples();
    platform.publish_all(&messages).await;
    wait_for("a promotion without a poll", async || {
        Ok(all_merged(&platform, i64::try_from(messages.len())?).await)
    })
    .await
    .unwrap();
    wait_for("marts without a poll", async || {
        let behind = "select count(*) from core.mart_status where needs_refresh";
        Ok(platform.number(behind).await == 0)
    })
    .await
    .unwrap();
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_announcements_everything_goes_on() {
    const END: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
        where datname = current_database() and application_name = 'acequia listen'";
    let platform = Platform::new().await;
    let worker = platform.worker(&["--poll-every", "500ms"]);
    worker.ready().await;
    // Ended again and again: nobody hears anything for long.
    let stop = CancellationToken::new();
    let ender = tokio::spawn({
        let (stop, mut admin) = (stop.clone(), admin(&platform).await);
        async move {
            let mut ended = 0;
            while !stop.is_cancelled() {
                ended += count(&mut admin, END).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ended
        }
    });
    let messages = samples();
    platform.publish_all(&messages).await;
    for domain in catalog() {
        stage_elsewhere(&platform, domain).await;
    }
    let sent = i64::try_from(messages.len() + catalog().len()).unwrap();
    platform
        .execute("insert into core.outbox (domain, routing_key, body) select distinct domain, 'told', '{}'::jsonb from core.entities")
        .await;
    let refreshed = "select count(distinct m.domain) from core.mart_refresh_log l join core.marts m on m.mart = l.mart where l.status = 'ok'";
    wait_within(
        Duration::from_secs(120),
        "promotion, refresh and delivery",
        async || {
            let told = platform
                .number("select count(*) from core.outbox where published_at is not null")
                .await;
            Ok(all_merged(&platform, sent).await
                && told >= i64::try_from(catalog().len())?
                && platform.number(refreshed).await > 0)
        },
    )
    .await
    .unwrap();
    stop.cancel();
    assert!(
        ender.await.unwrap() > 1,
        "no listening connection was ended"
    );
    worker.ready().await;
    let mut admin = admin(&platform).await;
    wait_for("a worker that listens again", async || {
        Ok(count(&mut admin, LISTENERS).await == 1)
    })
    .await
    .unwrap();
    worker.stop().await;
}

/// The worker listens, and nobody says anything: what another process staged, and a message in the outbox.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_nobody_announces_is_found() {
    let platform = Platform::new().await;
    let worker = platform.worker(&["--poll-every", "500ms"]);
    worker.ready().await;
    let mut admin = admin(&platform).await;
    wait_for("a worker that listens", async || {
        Ok(count(&mut admin, LISTENERS).await == 1)
    })
    .await
    .unwrap();
    platform
        .execute("alter table core.outbox disable trigger announce_outbox")
        .await;
    for number in 1..=3 {
        outbox(&platform).await;
        sent(&platform, number).await;
    }
    for (staged, domain) in (1..).zip(catalog()) {
        stage_elsewhere(&platform, domain).await;
        wait_for("a promotion of what another process staged", async || {
            Ok(all_merged(&platform, staged).await)
        })
        .await
        .unwrap();
    }
    worker.stop().await;
}

/// Leaves a message in the outbox.
async fn outbox(platform: &Platform) {
    platform
        .execute("insert into core.outbox (domain, routing_key, body) select domain, 'told', '{}'::jsonb from core.entities limit 1")
        .await;
}

/// Waits until that number of messages of the outbox was sent.
async fn sent(platform: &Platform, number: i64) {
    wait_for("a message of the outbox that was sent", async || {
        let sent = "select count(*) from core.outbox where published_at is not null";
        Ok(platform.number(sent).await == number)
    })
    .await
    .unwrap();
}
