//! How long a worker takes from its start to the first batch that is committed; its acknowledgement
//! follows at once.

use std::sync::Arc;
use std::time::Duration;

use acequia_testkit::wait_for;
use chrono::Utc;

use crate::ground::Ground;
use crate::load;
use crate::process::Process;
use crate::sample::Sample;
use crate::watch::Watch;

pub(super) async fn play(ground: &Ground<'_>) -> anyhow::Result<Vec<Sample>> {
    let plot = ground.plot().await?;
    let messages = load::messages(load::LEAST, ground.size.seed, &[])?;
    plot.fill(Arc::new(messages)).await?;
    let watch = Watch::start(&plot).await?;
    let begun = Utc::now().timestamp_micros();
    let mut worker = Process::worker::<&str>(&plot, &[])?;
    wait_for("the first batch", async || {
        worker.check()?;
        Ok(!watch.seen().staged.is_empty())
    })
    .await?;
    let first = Duration::from_micros(u64::try_from(watch.first_staged()? - begun)?);
    worker.stop().await?;
    drop(watch);
    plot.clear().await?;
    Ok(vec![
        Sample::new("acequia").with("first_ms", first.as_secs_f64() * 1e3),
    ])
}
