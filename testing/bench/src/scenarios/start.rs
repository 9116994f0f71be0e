//! How long a worker takes from its start to the first batch that is committed; its acknowledgement
//! follows at once.

use std::sync::Arc;
use std::time::Duration;

use acequia_testkit::wait_for;
use chrono::Utc;

use crate::environment::BenchEnv;
use crate::load;
use crate::process::Process;
use crate::sample::Sample;
use crate::watch::Watch;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let environment = bench.environment().await?;
    let messages = load::messages(load::LEAST, bench.size.seed, &[])?;
    environment.fill(Arc::new(messages)).await?;
    let watch = Watch::start(&environment).await?;
    let begun = Utc::now().timestamp_micros();
    let mut worker = Process::worker::<&str>(&environment, &[])?;
    wait_for("the first batch", async || {
        worker.check()?;
        Ok(!watch.seen().staged.is_empty())
    })
    .await?;
    let first = Duration::from_micros(u64::try_from(watch.first_staged()? - begun)?);
    worker.stop().await?;
    drop(watch);
    environment.clear().await?;
    Ok(vec![
        Sample::new("acequia").with("first_ms", first.as_secs_f64() * 1e3),
    ])
}
