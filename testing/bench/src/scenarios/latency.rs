//! How long a message takes at a steady rate: from the publisher's call until others can read it in
//! the core, and in a mart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use acequia_publisher::{Ids, Outgoing};
use acequia_testkit::wait_within;
use anyhow::Context;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, PgConnection};

use super::drain;
use crate::cpu;
use crate::environment::BenchEnv;
use crate::load;
use crate::process::Process;
use crate::sample::Sample;
use crate::statements;
use crate::watch::Watch;

/// Students who are there before the load begins.
const STUDENTS: usize = 10_000;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for &rate in &bench.size.rates {
        samples.push(at(bench, rate, &case(rate)).await?);
    }
    Ok(samples)
}

/// Name of the case of a rate, as 1,000/s.
fn case(rate: u32) -> String {
    let (thousands, rest) = (rate / 1000, rate % 1000);
    if thousands == 0 {
        format!("{rest}/s")
    } else {
        format!("{thousands},{rest:03}/s")
    }
}

async fn at(bench: &BenchEnv<'_>, rate: u32, case: &str) -> anyhow::Result<Sample> {
    let count = usize::try_from(bench.size.seconds)? * rate as usize;
    let (parents, load) = load(count, bench.size.seed)?;
    let (before_load, all) = (parents.len(), parents.len() + load.len());
    let environment = bench.environment().await?;
    environment.fill(Arc::new(parents)).await?;
    let watch = Watch::start(&environment).await?;
    let mut owner = environment.owner().await?;
    let mut workers = [Process::worker::<&str>(&environment, &[])?];
    drain::until_promoted(&mut owner, before_load, &mut workers).await?;

    let count = load.len();
    let first: i64 = sqlx::query_scalar("select last_value from core.batch_id")
        .fetch_one(&mut owner)
        .await?;
    let pids = [workers[0].pid];
    let before = cpu::read(bench.services, &pids)?;
    if bench.size.statements {
        statements::begin(&environment).await?;
    }
    let begun = std::time::Instant::now();
    load::send(&environment.amqp()?, Arc::new(load), Some(f64::from(rate))).await?;
    let took = begun.elapsed();
    drain::until_promoted(&mut owner, all, &mut workers).await?;
    let cpu = cpu::read(bench.services, &pids)? - before;
    if bench.size.statements {
        statements::tell(&environment, count).await?;
    }
    until_refreshed(&mut owner).await?;

    let marts = mart_times(&mut owner, first).await?;
    let seen = watch.seen();
    let mut core = Vec::with_capacity(count);
    let mut mart = Vec::with_capacity(count);
    let mut staged = Vec::with_capacity(count);
    for (batch, published) in published(&mut owner, first).await? {
        let visible = seen
            .promoted
            .get(&batch)
            .with_context(|| format!("batch {batch} was promoted without anybody hearing of it"))?;
        core.push((visible - published) as f64 / 1e3);
        if let Some(at) = seen.staged.get(&batch) {
            staged.push((at - published) as f64 / 1e3);
        }
        if let Some(refreshed) = marts.get(&batch) {
            mart.push((refreshed - published) as f64 / 1e3);
        }
    }
    let peak = workers[0].peak_memory()?;
    for worker in workers {
        worker.stop().await?;
    }
    drop(watch);
    environment.clear().await?;
    core.sort_by(f64::total_cmp);
    mart.sort_by(f64::total_cmp);
    staged.sort_by(f64::total_cmp);
    Ok(Sample::new(case)
        .throughput(count, took)
        .cpu(cpu)
        .with("peak_mb", peak)
        .with("staged_p50_ms", percentile(&staged, 0.50))
        .with("staged_p99_ms", percentile(&staged, 0.99))
        .with("core_p50_ms", percentile(&core, 0.50))
        .with("core_p95_ms", percentile(&core, 0.95))
        .with("core_p99_ms", percentile(&core, 0.99))
        .with("core_max_ms", percentile(&core, 1.0))
        .with("mart_p50_ms", percentile(&mart, 0.50))
        .with("mart_p99_ms", percentile(&mart, 0.99)))
}

/// Messages that must be there first, and a load of enrolments and marks in random order.
fn load(count: usize, seed: u64) -> anyhow::Result<(Vec<Outgoing>, Vec<Outgoing>)> {
    let enrolments = count * 3 / 8;
    let options = format!(
        "--seed {seed} --alumnos {STUDENTS} --inscripciones {enrolments} --calificaciones {}",
        count - enrolments
    );
    let options: Vec<&str> = options.split(' ').collect();
    let mut parents = acequia_publisher::messages(load::domain()?.name, &options, Ids::Fresh)?;
    let mut load = parents.split_off(parents.len() - count);
    load.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    Ok((parents, load))
}

/// Batch and publish time of every message that was staged after a batch.
async fn published(owner: &mut PgConnection, after: i64) -> anyhow::Result<Vec<(i64, i64)>> {
    let mut all = Vec::new();
    for entity in &load::domain()?.entities {
        let query = format!(
            "select batch_id, (extract(epoch from published_at) * 1000000)::bigint from {} where batch_id > $1",
            entity.staging
        );
        let rows: Vec<(i64, i64)> = sqlx::query_as(AssertSqlSafe(query))
            .bind(after)
            .fetch_all(&mut *owner)
            .await?;
        all.extend(rows);
    }
    Ok(all)
}

/// Waits until every materialized mart shows the last change of the core, but for those whose rules
/// hold them back.
async fn until_refreshed(owner: &mut PgConnection) -> anyhow::Result<()> {
    let within = Duration::from_secs(120);
    wait_within(within, "the marts' refresh", async || {
        let behind: i64 = sqlx::query_scalar("select count(*) from core.mart_status where due")
            .fetch_one(&mut *owner)
            .await?;
        Ok(behind == 0)
    })
    .await
}

/// When the last materialized mart showed a batch, in microseconds since 1970.
async fn mart_times(owner: &mut PgConnection, after: i64) -> anyhow::Result<HashMap<i64, i64>> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "select b.batch_id, (extract(epoch from max(r.finished_at)) * 1000000)::bigint
         from core.batches b
         cross join (select mart from core.marts where kind = 'materialized') m
         join lateral (
             select min(l.finished_at) as finished_at from core.mart_refresh_log l
             where l.mart = m.mart and l.status = 'ok' and l.promoted_through >= b.promoted_at
         ) r on true
         where b.batch_id > $1 and b.promoted_at is not null
         group by b.batch_id having bool_and(r.finished_at is not null)",
    )
    .bind(after)
    .fetch_all(owner)
    .await?;
    Ok(rows.into_iter().collect())
}

/// The value that a share of the sorted values does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{case, percentile};

    #[test]
    fn rates_are_named_as_people_write_them() {
        assert_eq!(
            [100, 1_000, 20_050].map(case),
            ["100/s", "1,000/s", "20,050/s"]
        );
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
