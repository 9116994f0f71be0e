//! Faults of the broker.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

use super::trial;
use crate::kinds::DOMAIN;
use crate::report::Outcome;
use crate::settle::queue_length;
use crate::setup::{Game, Setup};
use crate::stage::signal;
use crate::trial::Trial;

/// Killed, and started again on its data.
pub async fn kill(game: Game) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let kills = game.pick(5, 1);
    trial(&game, &setup, async |trial| {
        for _ in 0..kills {
            trial.flows(100).await?;
            let pid = trial.stage.services().pid("rabbitmq")?;
            trial.strike();
            signal("KILL", pid)?;
            trial.tells(&["ingest"]).await?;
            let gone = !std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists();
            trial.proof(gone, format!("server process {pid} is gone"));
            trial.stage.services().restart().await?;
            trial.healed().await?;
        }
        Ok(())
    })
    .await
}

/// The memory alarm.
pub async fn memory_alarm(game: Game) -> anyhow::Result<Outcome> {
    let raise = ["set_vm_memory_high_watermark", "0"];
    alarm(game, &raise, &["set_vm_memory_high_watermark", "0.5"]).await
}

/// The disk alarm.
pub async fn disk_alarm(game: Game) -> anyhow::Result<Outcome> {
    let raise = ["set_disk_free_limit", "900000GB"];
    alarm(game, &raise, &["set_disk_free_limit", "50MB"]).await
}

/// For how many seconds the oldest message of the core's own has waited for the broker; -1 when none does.
const UNTOLD: &str = "select coalesce(extract(epoch from now() - min(created_at)), -1)::bigint
    from core.outbox where published_at is null";
/// Seconds after which workers must have said so: twice their `--stall-after`.
const SURELY: i64 = 6;

/// Publishers are blocked, consumers are not: workers go on and say so, and say which loop publishes.
async fn alarm(game: Game, raise: &[&str], clear: &[&str]) -> anyhow::Result<Outcome> {
    let setup = Setup {
        own_servers: true,
        ..Setup::default()
    };
    let times = game.pick(3, 1);
    trial(&game, &setup, async |trial| {
        for _ in 0..times {
            trial.flows(100).await?;
            trial.strike();
            trial.stage.services().rabbitmqctl(raise).await?;
            let blocked = blocked(trial).await?;
            let confirmed = last_confirmed(trial).await;
            sleep(Duration::from_secs(game.pick(20, 3))).await;
            let held = trial.load.confirmed() == confirmed;
            trial.proof(
                held,
                format!("alarm in force, {blocked} connections blocked, nothing confirmed"),
            );
            // One loop of the worker publishes: it is kept back when, and only when, the core has
            // something to tell meanwhile.
            let waits = trial.stage.number(UNTOLD).await?;
            let kept_back = trial.kept_back();
            let allowed = kept_back.iter().all(|name| name == "deliver" && waits >= 0);
            trial.demand(
                allowed,
                "an alarm stops what publishes, not the worker: it is ready, but for what it has to tell",
            );
            trial.demand(
                waits < SURELY || !kept_back.is_empty(),
                "/readyz names the loop that cannot tell what waits",
            );
            trial.stage.services().rabbitmqctl(clear).await?;
            trial.healed().await?;
        }
        Ok(())
    })
    .await
}

/// What the broker took before the alarm is still confirmed: waits, for at most a while, until
/// nothing more comes.
async fn last_confirmed(trial: &Trial) -> u64 {
    let begun = Instant::now();
    let mut confirmed = (trial.load.confirmed(), Instant::now());
    while confirmed.1.elapsed() < Duration::from_secs(2) && begun.elapsed().as_secs() < 20 {
        sleep(Duration::from_millis(100)).await;
        if trial.load.confirmed() != confirmed.0 {
            confirmed = (trial.load.confirmed(), Instant::now());
        }
    }
    confirmed.0
}

/// Waits for the alarm, and until the broker says that a connection is blocked.
async fn blocked(trial: &Trial) -> anyhow::Result<usize> {
    let broker = &trial.stage.broker;
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
pub async fn close_connections(game: Game) -> anyhow::Result<Outcome> {
    let times = game.pick(30, 8);
    trial(&game, &Setup::default(), async |trial| {
        let mut closed = 0;
        for _ in 0..times {
            trial.flows(50).await?;
            trial.strike();
            let now = trial.stage.broker.close_connections().await?;
            trial.demand(now > 0, "no connection was there to be closed");
            closed += now;
            trial.healed().await?;
        }
        trial.proof(closed >= times, format!("{closed} connections closed"));
        Ok(())
    })
    .await
}

/// The queue deleted and declared again by the worker. Messages in a deleted queue are gone with
/// it, so it is empty at that moment; everything sent from then on counts.
pub async fn delete_queue(game: Game) -> anyhow::Result<Outcome> {
    let times = game.pick(10, 2);
    let queue = format!("acequia.{DOMAIN}");
    trial(&game, &Setup::default(), async |trial| {
        for _ in 0..times {
            trial.load.pause(true);
            drained(trial, &queue).await?;
            trial.strike();
            trial.stage.broker.delete_queue(&queue).await?;
            trial.load.pause(false);
            trial.healed().await?;
        }
        let cancelled = trial.logged("the broker cancelled the consumer")?;
        trial.proof(
            cancelled >= times,
            format!("{cancelled} times the broker cancelled the worker's consumer"),
        );
        Ok(())
    })
    .await
}

/// Waits until the queue is empty and everything that was in it is staged.
async fn drained(trial: &Trial, queue: &str) -> anyhow::Result<()> {
    const UNIQUE: &str =
        "select coalesce(sum(received - duplicates), 0)::bigint from core.conservation";
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let sent = i64::try_from(trial.load.different())?;
        if trial.stage.number(UNIQUE).await? == sent
            && trial.load.confirmed() == trial.load.taken()
            && queue_length(&trial.stage.broker.url, queue).await? == 0
        {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("the queue did not get empty")
}
