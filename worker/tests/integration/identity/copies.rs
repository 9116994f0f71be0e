//! Copies and other messages under one id, in earlier batches and in the same.

use super::{bodies, text};
use crate::support::Platform;
use crate::support::school::alumno;

/// A worker that has run for a while meets a copy and another message of earlier batches, and of the same batch.
#[tokio::test(flavor = "multi_thread")]
async fn copies_are_told_from_other_messages_in_any_batch() {
    let platform = Platform::new().await;
    platform.declare().await;
    let worker = platform.worker(&[]);
    let [early, early_other, late, late_other, same, same_other] = [1, 2, 3, 4, 5, 6].map(alumno);
    let early_other = early_other.with_id(early.id());
    let late_other = late_other.with_id(late.id());
    let same_other = same_other.with_id(same.id());
    platform.publish_all([&early]).await;
    platform.settled(1).await;
    platform.publish_all([&late]).await;
    platform.settled(2).await;
    platform
        .publish_all([
            &late,
            &same,
            &late_other,
            &same_other,
            &early,
            &same,
            &early_other,
        ])
        .await;
    platform.settled(9).await;
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.duplicates,
            total.quarantined,
            total.unaccounted
        ),
        (3, 3, 3, 0)
    );
    let rows = platform.quarantine().await;
    assert!(
        rows.iter()
            .all(|row| row.reason() == ("load", "id_reused", None))
    );
    let mut refused: Vec<_> = [&early_other, &late_other, &same_other].map(text).to_vec();
    refused.sort();
    assert_eq!(bodies(&platform).await, refused);
    worker.stop().await;
}
