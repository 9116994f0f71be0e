//! Ticks and the loop that calls them, in running workers: by the clock, once for all workers, whatever ends one of them.

use acequia_ops::doctor::Verdict;
use acequia_testkit::wait_for;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::operations::doctor;
use crate::support::program::{Program, finish, program};
use crate::support::school::{alumnos, materia};
use crate::support::{Platform, get, ready};

/// Functions of two domains, and the calls that were committed.
const FUNCTIONS: &str = "
    create table core.test_calls (tick text not null, at timestamptz not null, due_at timestamptz not null);
    create function core.test_call(p_tick text, p_at timestamptz) returns integer language sql as $$
        insert into core.test_calls (tick, at, due_at)
        select p_tick, p_at, s.due_at from core.tick_state s where s.function = p_tick;
        select 0;
    $$;
    create function academico.late(p_at timestamptz) returns integer language sql as
        $$ select core.test_call('academico.late', p_at) $$;
    create function consumo.late(p_at timestamptz) returns integer language sql as
        $$ select core.test_call('consumo.late', p_at) $$;
    create function academico.falla(p_at timestamptz) returns integer language plpgsql as $$
    begin
        perform core.test_call('academico.falla', p_at);
        raise exception 'broken on purpose';
    end $$;
    create function academico.nombra(p_at timestamptz) returns integer language sql as $$
        insert into core.outbox (domain, routing_key, body) values ('academico', 'academico.nombrada', '{}');
        with renamed as (update academico.materias set nombre = 'renamed' where nombre <> 'renamed' returning 1)
        select count(*)::integer from renamed;
    $$";

/// A platform with these functions.
async fn platform() -> Platform {
    let platform = Platform::new().await;
    platform.execute(FUNCTIONS).await;
    platform
}

impl Platform {
    async fn register(&self, tick: &str, every: &str) {
        let (domain, _) = tick.split_once('.').unwrap();
        let changes = if tick == "academico.nombra" {
            "{academico.materias}"
        } else {
            "{}"
        };
        self.execute(&format!(
            "insert into core.ticks (function, domain, every, changes) values ('{tick}', '{domain}', '{every}', '{changes}')"
        ))
        .await;
    }

    async fn calls(&self, tick: &str) -> i64 {
        let count = format!("select count(*) from core.test_calls where tick = '{tick}'");
        self.number(&count).await
    }

    /// Waits until a tick was called this number of times.
    async fn called(&self, tick: &str, times: i64) {
        wait_for("calls of a tick", async || {
            Ok(self.calls(tick).await >= times)
        })
        .await
        .unwrap();
    }
}

/// No poll finds them: the next would come after a minute.
#[tokio::test(flavor = "multi_thread")]
async fn new_ticks_are_called_by_the_workers_of_their_domain() {
    let platform = platform().await;
    let worker = platform.worker(&["--domains", "consumo"]);
    worker.ready().await;
    for tick in ["academico.late", "consumo.late"] {
        platform.register(tick, "1 second").await;
    }
    platform.called("consumo.late", 3).await;
    assert_eq!(platform.calls("academico.late").await, 0);
    worker
        .counts(r#"acequia_tick_calls_total{outcome="failed",tick="consumo.late"} 0"#)
        .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_call_a_tick_once_in_its_interval() {
    let platform = platform().await;
    platform.register("academico.late", "1 second").await;
    let workers = [platform.worker(&[]), platform.worker(&[])];
    for worker in &workers {
        worker.ready().await;
    }
    platform.called("academico.late", 6).await;
    for worker in workers {
        worker.stop().await;
    }
    // Each call has an interval of its own, and its time is in it or later.
    let wrong = "select count(*) from (
        select c.at < c.due_at as early, c.due_at - lag(c.due_at) over (order by c.at) < interval '1 second' as again
        from core.test_calls c) x where x.early or x.again";
    assert_eq!(platform.number(wrong).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_in_a_tick_leaves_nothing_and_another_calls_it() {
    const OPEN: &str = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'acequia loops' and state = 'idle in transaction' and query ilike 'release%'";
    let platform = platform().await;
    platform.register("academico.nombra", "1 hour").await;
    let doomed = platform.program_with(&[], &[("ACEQUIA_FAILPOINT", "tick.called")]);
    let mut admin = PgConnection::connect(&platform.database.admin)
        .await
        .unwrap();
    wait_for("a tick between its call and its commit", async || {
        let open: i64 = sqlx::query_scalar(OPEN).fetch_one(&mut admin).await?;
        Ok(open == 1)
    })
    .await
    .unwrap();
    // Not waited for: the server ends a session that does nothing in a transaction for long.
    let other = platform.worker(&[]);
    let told = "select count(*) from core.outbox";
    assert_eq!(platform.number(told).await, 0);
    doomed.kill().await;
    wait_for("a call by the other worker", async || {
        let ran = "select count(*) from core.tick_status where ran_at is not null and failures = 0";
        Ok(platform.number(ran).await == 1)
    })
    .await
    .unwrap();
    assert_eq!(platform.number(told).await, 1);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_fails_hinders_neither_ticks_nor_promotion() {
    let platform = platform().await;
    for tick in ["academico.falla", "academico.late"] {
        platform.register(tick, "1 second").await;
    }
    let worker: Program = platform.program(&[]);
    ready(&worker.http).await;
    wait_for("two failures", async || {
        let failures = "select coalesce(max(failures), 0)::bigint from core.tick_status";
        Ok(platform.number(failures).await >= 2)
    })
    .await
    .unwrap();
    platform.publish_all(&alumnos(1..11)).await;
    platform.settled(10).await;
    let before = platform.calls("academico.late").await;
    platform.called("academico.late", before + 2).await;
    assert_eq!(platform.calls("academico.falla").await, 0);
    // Counted, logged, shown; and the loop is ready.
    let (status, page) = get(&worker.http, "/metrics").await;
    let failed = page.lines().find_map(|line| {
        line.strip_prefix(r#"acequia_tick_calls_total{outcome="failed",tick="academico.falla"} "#)
    });
    assert!(
        status == 200 && failed.is_some_and(|failed| failed != "0"),
        "{page}"
    );
    let (status, page) = get(&worker.http, "/readyz").await;
    assert_eq!(status, 200, "{page}");
    let findings = doctor(&platform, &platform.database_url(), &platform.broker_url()).await;
    let found: Vec<_> = (findings.iter())
        .filter(|finding| finding.check.starts_with("tick"))
        .collect();
    assert!(
        matches!(found[..], [one] if one.verdict == Verdict::Warn && one.check == "tick academico.falla"
            && one.found.contains("broken on purpose")),
        "{found:?}"
    );
    let ended = worker.terminate().await;
    assert!(ended.stderr.contains("tick.failed"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("loop.failed"), "{}", ended.stderr);
}

/// Without a worker a tick is late, and the doctor says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_nobody_calls_is_late() {
    let platform = platform().await;
    platform.register("academico.late", "1 minute").await;
    let doctor = async || {
        let mut command = program(&["doctor", "--json"]);
        command.args(["--database-url", &platform.database.worker]);
        command.args(["--amqp-url", &platform.broker.url]);
        let findings: Value = serde_json::from_str(&finish(command).await.stdout).unwrap();
        let findings = findings.as_array().unwrap().clone();
        let ticks = findings.into_iter().filter(|finding| {
            let check = finding["check"].as_str().unwrap_or_default();
            check.starts_with("tick")
        });
        ticks
            .map(|finding| format!("{} {}", finding["check"], finding["verdict"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(doctor().await, [r#""ticks" "ok""#]);
    platform
        .execute("update core.ticks set registered_at = registered_at - interval '4 minutes'")
        .await;
    assert_eq!(doctor().await, [r#""tick academico.late" "warn""#]);
}

/// No poll helps: it would come after an hour.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_tick_changes_is_published_and_shown() {
    let platform = platform().await;
    let worker = platform.worker(&["--poll-every", "1h", "--check-every", "1h"]);
    worker.ready().await;
    platform.publish_all([&materia(1)]).await;
    let shown = async |name: &str| {
        let shown = format!("select count(*) from marts.kpi_materia where nombre = '{name}'");
        wait_for("a mart that shows it", async || {
            Ok(platform.number(&shown).await == 1)
        })
        .await
        .unwrap();
    };
    shown("Materia 1").await;
    platform.register("academico.nombra", "1 hour").await;
    shown("renamed").await;
    wait_for("a message of the tick that was published", async || {
        let told = "select count(*) from core.outbox where published_at is not null";
        Ok(platform.number(told).await == 1)
    })
    .await
    .unwrap();
    worker
        .counts(r#"acequia_tick_changed_rows_total{tick="academico.nombra"} 1"#)
        .await;
    worker.stop().await;
}
