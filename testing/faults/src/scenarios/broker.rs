//! Faults of the broker.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

use super::run_scenario;
use crate::environment::signal;
use crate::kinds::DOMAIN;
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::settle::queue_length;
use crate::setup::{RunOptions, Setup};

/// Killed, and started again on its data.
pub async fn kill(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let kills = run_options.pick(5, 1);
    run_scenario(&run_options, &setup, async |run| {
        for _ in 0..kills {
            run.flows(100).await?;
            let pid = run.environment.services().pid("rabbitmq")?;
            run.strike();
            signal("KILL", pid)?;
            run.tells(&["ingest"]).await?;
            let gone = !std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists();
            run.proof(gone, format!("server process {pid} is gone"));
            run.environment.services().restart().await?;
            run.healed().await?;
        }
        Ok(())
    })
    .await
}

/// The memory alarm.
pub async fn memory_alarm(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let raise = ["set_vm_memory_high_watermark", "0"];
    alarm(
        run_options,
        &raise,
        &["set_vm_memory_high_watermark", "0.5"],
    )
    .await
}

/// The disk alarm.
pub async fn disk_alarm(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let raise = ["set_disk_free_limit", "900000GB"];
    alarm(run_options, &raise, &["set_disk_free_limit", "50MB"]).await
}

/// For how many seconds the oldest message of the outbox has waited for the broker; -1 when none does.
const UNTOLD: &str = "select coalesce(extract(epoch from now() - min(created_at)), -1)::bigint
    from core.outbox where published_at is null";
/// Seconds after which workers must have said so: twice their `--stall-after`.
const SURELY: i64 = 6;

/// Publishers are blocked, consumers are not: workers go on and say so, and say which loop publishes.
async fn alarm(run_options: RunOptions, raise: &[&str], clear: &[&str]) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let times = run_options.pick(3, 1);
    run_scenario(&run_options, &setup, async |run| {
        for _ in 0..times {
            run.flows(100).await?;
            run.strike();
            run.environment.services().rabbitmqctl(raise).await?;
            let blocked = blocked(run).await?;
            let confirmed = last_confirmed(run).await;
            sleep(Duration::from_secs(run_options.pick(20, 3))).await;
            let held = run.load.confirmed() == confirmed;
            run.proof(
                held,
                format!("alarm in force, {blocked} connections blocked, nothing confirmed"),
            );
            // One loop of the worker publishes: it is kept back when, and only when, the core has
            // something to tell meanwhile.
            let waits = run.environment.number(UNTOLD).await?;
            let kept_back = run.kept_back();
            let allowed = kept_back.iter().all(|name| name == "outbox_relay" && waits >= 0);
            run.demand(
                allowed,
                "an alarm stops what publishes, not the worker: it is ready, except for messages that it has to publish",
            );
            run.demand(
                waits < SURELY || !kept_back.is_empty(),
                "/readyz names the loop that cannot tell what waits",
            );
            run.environment.services().rabbitmqctl(clear).await?;
            run.healed().await?;
        }
        Ok(())
    })
    .await
}

/// Messages that the broker took before the alarm are still confirmed: waits, for at most a while, until
/// nothing more comes.
async fn last_confirmed(run: &ScenarioRun) -> u64 {
    let begun = Instant::now();
    let mut confirmed = (run.load.confirmed(), Instant::now());
    while confirmed.1.elapsed() < Duration::from_secs(2) && begun.elapsed().as_secs() < 20 {
        sleep(Duration::from_millis(100)).await;
        if run.load.confirmed() != confirmed.0 {
            confirmed = (run.load.confirmed(), Instant::now());
        }
    }
    confirmed.0
}

/// Waits for the alarm, and until the broker says that a connection is blocked.
async fn blocked(run: &ScenarioRun) -> anyhow::Result<usize> {
    let broker = &run.environment.broker;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        let path = ["health", "checks", "local-alarms"];
        let alarm = broker.call("GET", &path, None).await.is_err();
        // Their state is known seconds later.
        let path = ["vhosts", &broker.name, "connections"];
        let connections = broker.call("GET", &path, None).await?;
        let blocked = connections.as_array().map_or(0, |connections| {
            let states = connections.iter().map(|connection| &connection["state"]);
            states
                .filter(|state| matches!(state.as_str(), Some("blocked" | "blocking")))
                .count()
        });
        if alarm && blocked > 0 {
            return Ok(blocked);
        }
        sleep(Duration::from_millis(200)).await;
    }
    bail!("no alarm, or no connection that it blocks")
}

/// All connections closed by the broker, the publisher's too.
pub async fn close_connections(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let times = run_options.pick(30, 8);
    run_scenario(&run_options, &Setup::default(), async |run| {
        let mut closed = 0;
        for _ in 0..times {
            run.flows(50).await?;
            run.strike();
            let now = run.environment.broker.close_connections().await?;
            run.demand(now > 0, "no connection was there to be closed");
            closed += now;
            run.healed().await?;
        }
        run.proof(closed >= times, format!("{closed} connections closed"));
        Ok(())
    })
    .await
}

/// The queue deleted and declared again by the worker. Messages in a deleted queue are gone with
/// it, so it is empty at that moment; everything sent from then on counts.
pub async fn delete_queue(run_options: RunOptions) -> anyhow::Result<Outcome> {
    let times = run_options.pick(10, 2);
    let queue = format!("acequia.{DOMAIN}");
    run_scenario(&run_options, &Setup::default(), async |run| {
        for _ in 0..times {
            run.load.pause(true);
            drained(run, &queue).await?;
            run.strike();
            run.environment.broker.delete_queue(&queue).await?;
            run.load.pause(false);
            run.healed().await?;
        }
        let cancelled = run.logged("the broker cancelled the consumer")?;
        run.proof(
            cancelled >= times,
            format!("{cancelled} times the broker cancelled the worker's consumer"),
        );
        Ok(())
    })
    .await
}

/// Waits until the queue is empty and everything that was in it is staged.
async fn drained(run: &ScenarioRun, queue: &str) -> anyhow::Result<()> {
    const UNIQUE: &str =
        "select coalesce(sum(received - duplicates), 0)::bigint from core.conservation";
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let sent = i64::try_from(run.load.different())?;
        if run.environment.number(UNIQUE).await? == sent
            && run.load.confirmed() == run.load.taken()
            && queue_length(&run.environment.broker.url, queue).await? == 0
        {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the queue did not get empty")
}
