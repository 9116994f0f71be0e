//! What `/readyz` must say before, during and after a fault, and the way back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::sleep;

use crate::scenario_run::ScenarioRun;

impl ScenarioRun {
    /// Since the last recovery nothing but "ready" may have been said.
    pub(crate) fn stays_calm(&mut self) {
        let Some(since) = self.calm_since.take() else {
            return;
        };
        let bad = self.watch.since(since).into_iter();
        if let Some(sample) = bad.into_iter().find(|sample| sample.status != 200) {
            self.outcome.failures.push(format!(
                "not ready although nothing was wrong: {} {:?}",
                sample.status, sample.reasons
            ));
        }
    }

    /// Waits until a worker says that a loop makes no progress; returns the reason.
    ///
    /// # Errors
    /// When none says so in time.
    pub async fn tells(&mut self, names: &[&str]) -> anyhow::Result<String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            for sample in self.watch.since(self.struck) {
                let named = sample
                    .reasons
                    .iter()
                    .find(|(name, reason)| names.contains(&name.as_str()) && !reason.is_empty());
                if let (503, Some((name, reason))) = (sample.status, named) {
                    let words = format!("/readyz: 503, {name}: {reason}");
                    self.outcome.told(&words);
                    return Ok(reason.clone());
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("/readyz did not name {names:?} within a minute of the fault")
    }

    /// Waits until a worker gives no answer, as one that is stopped.
    ///
    /// # Errors
    /// When all go on to answer.
    pub async fn falls_silent(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let samples = self.watch.since(self.struck);
            if samples.iter().any(|sample| sample.status == 0) {
                self.outcome.told("/readyz: no answer");
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("the worker went on to answer")
    }

    /// Whether the workers have said "ready" all the time since the fault began.
    #[must_use]
    pub fn ready_all_along(&self) -> bool {
        self.kept_back().is_empty()
    }

    /// Loops that made no progress since the fault began, as the workers say; an empty name
    /// for a worker that did not answer.
    #[must_use]
    pub fn kept_back(&self) -> BTreeSet<String> {
        let samples = self.watch.since(self.struck);
        let bad = samples.iter().filter(|sample| sample.status != 200);
        bad.flat_map(|sample| match sample.reasons.as_slice() {
            [] => vec![String::new()],
            reasons => reasons.iter().map(|(name, _)| name.clone()).collect(),
        })
        .collect()
    }

    /// The fault is over now: waits until messages reach the core and workers are ready again,
    /// and takes the time.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn healed(&mut self) -> anyhow::Result<()> {
        let within = self.run_options.recover_within();
        let took = self.back(Instant::now(), within).await?;
        self.outcome.recovery.push(took.as_secs_f64());
        Ok(())
    }

    /// Waits until a new message has reached the core and every worker has been ready for a
    /// second; returns when that began.
    pub(crate) async fn back(
        &mut self,
        from: Instant,
        within: Duration,
    ) -> anyhow::Result<Duration> {
        let student = self.load.probe()?;
        let query = format!("select count(*) from academico.alumnos where id = {student}");
        let mut connection: Option<PgConnection> = None;
        let mut arrived = None;
        loop {
            if arrived.is_none() {
                let there = async {
                    if connection.is_none() {
                        connection = Some(self.environment.owner().await?);
                    }
                    let connection = connection.as_mut().context("a connection")?;
                    let count: i64 = sqlx::query_scalar(AssertSqlSafe(query.as_str()))
                        .fetch_one(connection)
                        .await?;
                    anyhow::Ok(count > 0)
                };
                match tokio::time::timeout(Duration::from_secs(5), there).await {
                    Ok(Ok(true)) => arrived = Some(Instant::now()),
                    Ok(Ok(false)) => {}
                    _ => connection = None,
                }
            }
            let since = self.watch.since(from);
            let last_bad = since.iter().filter(|sample| sample.status != 200);
            let last_bad = last_bad.map(|sample| sample.at).max();
            let ready = last_bad.unwrap_or(from);
            let all = self.watch.last(ready).is_some_and(|last| {
                last.iter()
                    .all(|sample| sample.status == 200 && sample.at > ready)
            });
            if let Some(arrived) = arrived
                && all
                && ready.elapsed() > Duration::from_secs(1)
            {
                let back = arrived.max(ready);
                self.calm_since = Some(back + Duration::from_millis(1));
                return Ok(back - from);
            }
            if from.elapsed() > within + Duration::from_secs(1) {
                let last = self.watch.last(from);
                bail!(
                    "not back within {} s: the new message {} the core, /readyz says {:?}",
                    within.as_secs(),
                    if arrived.is_some() {
                        "reached"
                    } else {
                        "did not reach"
                    },
                    last.map(|last| last
                        .into_iter()
                        .map(|sample| (sample.status, sample.reasons))
                        .collect::<Vec<_>>()),
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
