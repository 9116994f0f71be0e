//! Workers that are stopped or killed under load.

use super::{LOAD, assert_core_gets_the_load};
use crate::support::Platform;
use crate::support::school::alumnos;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stopped_in_mid_load_leaves_the_rest_to_the_next() {
    let platform = Platform::new().await;
    platform.declare().await;
    let load = alumnos(1..LOAD + 1);
    platform.publish_all(&load).await;
    let first = platform.worker(&["--batch-max", "50"]);
    platform.received(200).await;
    first.stop().await;
    let between = platform.total().await;
    assert!(
        between.received < i64::from(LOAD),
        "the load was too small to be stopped in it"
    );
    assert_eq!(between.unaccounted, 0);

    let second = platform.worker(&[]);
    platform.settled(i64::from(LOAD)).await;
    let total = platform.total().await;
    // A worker that was asked to stop has acknowledged what it staged, so no message came twice.
    assert_eq!((total.duplicates, total.inserted), (0, i64::from(LOAD)));
    assert_core_gets_the_load(&platform).await;
    second.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..LOAD + 1)).await;
    let auditor = platform.auditor().await;
    for round in 1..5 {
        let program = platform.program(&["--batch-max", "20"]);
        platform.received(200 * round).await;
        program.kill().await;
    }
    let between = platform.total().await;
    assert!(
        between.unique() < i64::from(LOAD),
        "the load was too small to be killed in it"
    );
    let worker = platform.worker(&[]);
    assert_core_gets_the_load(&platform).await;
    auditor.finish().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}
