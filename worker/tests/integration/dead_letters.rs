//! What the broker gives up is kept with the broker's reason, and good messages among it can be sent again.

use acequia_net::topology::DEAD_QUEUE;
use acequia_testkit::wait_for;
use lapin::options::{BasicGetOptions, BasicRejectOptions};

use crate::quarantine::told;
use crate::replay::QUEUE;
use crate::support::Platform;
use crate::support::school::alumno;

async fn dead(platform: &Platform, messages: u32) {
    wait_for("the dead letters", async || {
        let queue = platform.queue(DEAD_QUEUE).await;
        Ok(queue.is_some_and(|queue| queue.message_count() == messages))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_rejected_messages_are_kept_under_their_reason_and_replayed() {
    let platform = Platform::new().await;
    platform.declare().await;
    let mut expired = alumno(1);
    expired.properties = expired.properties.with_expiration("1".into());
    platform.publish_all([&expired]).await;
    dead(&platform, 1).await;
    let rejected = alumno(2);
    platform.publish_all([&rejected]).await;
    let (connection, channel) = platform.channel().await;
    wait_for("a consumer that rejects it", async || {
        let got = channel.basic_get(QUEUE.into(), BasicGetOptions::default());
        let Some(delivery) = got.await? else {
            return Ok(false);
        };
        let give_up = BasicRejectOptions { requeue: false };
        delivery.acker.reject(give_up).await?;
        Ok(true)
    })
    .await
    .unwrap();
    dead(&platform, 2).await;
    acequia_net::topology::close(&connection).await;

    let worker = platform.worker(&[]);
    platform.settled(2).await;
    for (message, code) in [(&expired, "expired"), (&rejected, "rejected")] {
        let row = platform.quarantined(message).await;
        assert_eq!(row.reason(), ("broker", code, None));
        assert_eq!(row.body, message.body);
        let report = told(&platform, &["replay", "--code", code], 0).await;
        assert_eq!(report["replayed"], 1, "{report}");
    }
    platform.settled(4).await;
    let promoted = platform.number("select count(*) from academico.alumnos");
    assert_eq!(promoted.await, 2);
    assert_eq!(platform.unaccounted().await, 0);
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}
