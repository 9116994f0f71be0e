//! The archive loop: by schedule, once, whichever processes run.

use acequia_testkit::wait_for;

use super::Archive;

/// Every second.
const OFTEN: &str = "* * * * * *";

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_archive_once() {
    let archive = Archive::of("--clients 3 --days 40 --start 2024-09-02 --suspicious 0").await;
    let platform = &archive.platform;
    let url = archive.depot.url();
    let options = ["--archive-url", url.as_str(), "--archive-schedule", OFTEN];
    let workers = [platform.worker(&options), platform.worker(&options)];
    wait_for("the archives", async || {
        Ok(archive.partitions().await == ["lecturas_default"])
    })
    .await
    .unwrap();
    // Some more runs, which find nothing to do.
    let runs = "select count(*) from core.archive_runs where domain = 'consumo' and status = 'ok'";
    wait_for("more runs", async || Ok(platform.number(runs).await >= 3))
        .await
        .unwrap();
    for worker in workers {
        worker.ready().await;
        worker.stop().await;
    }
    let archived = "select coalesce(sum(partitions), 0) from core.archive_runs";
    assert_eq!(platform.number(archived).await, 2);
    let attempts = "select count(*) from core.archives";
    assert_eq!(platform.number(attempts).await, 2, "each was tried once");
    let twice = "select count(*) from (select from core.archive_runs where scheduled_for is not null group by domain, scheduled_for having count(*) > 1) x";
    assert_eq!(platform.number(twice).await, 0);
    archive.done("archive verify").await;
}

/// /readyz and the run's row report a store that cannot be written; the other loops go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_is_reported() {
    let archive = Archive::of("--clients 2 --days 20 --start 2024-09-02 --suspicious 0").await;
    let platform = &archive.platform;
    let everything = archive.readings().await;
    std::fs::create_dir_all(&archive.depot.0).unwrap();
    // A file where the table's folder should be: root may write anywhere, so rights would not do.
    std::fs::write(archive.depot.0.join("consumo.lecturas"), "in the way").unwrap();
    let url = archive.depot.url();
    let worker = platform.worker(&[
        "--archive-url",
        &url,
        "--archive-schedule",
        OFTEN,
        "--stall-after",
        "1s",
    ]);
    // The other domain's loop may still be starting; later attempts meet the leftovers of the first.
    let mut last = String::new();
    let named = wait_for("a reason that names the table", async || {
        last = worker.not_ready("archive").await;
        Ok(last.contains("consumo.lecturas"))
    });
    let named = named.await.is_ok();
    assert!(named, "{last}");
    let failed =
        "select count(*) from core.archive_runs where status = 'failed' and error is not null";
    wait_for("the failed run", async || {
        Ok(platform.number(failed).await >= 1)
    })
    .await
    .unwrap();
    assert_eq!(archive.readings().await, everything);
    std::fs::remove_file(archive.depot.0.join("consumo.lecturas")).unwrap();
    wait_for("the archives", async || {
        Ok(archive.partitions().await == ["lecturas_default"])
    })
    .await
    .unwrap();
    worker.ready().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_refused() {
    let archive = Archive::of("--clients 2 --days 2 --start 2024-09-02 --suspicious 0").await;
    let refused = archive
        .platform
        .worker(&["--archive-schedule", OFTEN])
        .ended()
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("ARCHIVE_URL"), "{refused}");
    let refused = archive
        .platform
        .worker(&["--archive-url", "ftp://x/y"])
        .ended()
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("file:///"), "{refused}");
    let finished = archive.run("run --archive-schedule often").await;
    assert_eq!(finished.status.code(), Some(2));
    assert!(finished.stderr.contains("cron"), "{finished:?}");
}
