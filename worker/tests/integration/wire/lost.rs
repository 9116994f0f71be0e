//! A queue consumer that loses its connection again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use acequia_testkit::wait_within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Platform;
use crate::support::school::alumnos;

/// A way to the broker that is cut whenever a message comes along it, while `cuts` holds: what a message
/// does to a library that cannot read it.
async fn way(listener: TcpListener, broker: u16, cuts: Arc<AtomicBool>) {
    loop {
        let (ours, _) = listener.accept().await.unwrap();
        let theirs = TcpStream::connect(("127.0.0.1", broker)).await.unwrap();
        let cuts = cuts.clone();
        tokio::spawn(async move {
            let (mut from_worker, mut to_worker) = ours.into_split();
            let (mut from_broker, mut to_broker) = theirs.into_split();
            let up = tokio::io::copy(&mut from_worker, &mut to_broker);
            let down = async {
                let mut piece = [0; 4096];
                loop {
                    let length = from_broker.read(&mut piece).await?;
                    // The name of the method basic.deliver.
                    let delivers = piece[..length]
                        .windows(4)
                        .position(|name| name == [0, 60, 0, 60])
                        .filter(|_| cuts.load(Ordering::Relaxed));
                    if let Some(at) = delivers {
                        // Everything before its frame: the last answer that reaches the worker is basic.consume-ok.
                        let before = at.saturating_sub(7);
                        to_worker.write_all(&piece[..before]).await?;
                        to_worker.flush().await?;
                    }
                    if length == 0 || delivers.is_some() {
                        return std::io::Result::Ok(());
                    }
                    to_worker.write_all(&piece[..length]).await?;
                }
            };
            tokio::select! {
                _ = up => {}
                _ = down => {}
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_lost_again_and_again_is_not_ready() {
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..51)).await;
    let mut url: url::Url = platform.broker.url.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicBool::new(true));
    tokio::spawn(way(listener, url.port().unwrap(), cuts.clone()));
    url.set_port(Some(port)).unwrap();
    let options = ["--stall-after", "6s"];
    let worker = platform.worker_by(&platform.database.worker, url.as_str(), &options);
    let lost = async || {
        let (_, page) = crate::support::get(&worker.http, "/metrics").await;
        let lost = page.lines().filter(|line| {
            // Cut before it was told that it consumes, or after.
            (line.starts_with("acequia_amqp_disconnects_total")
                || line.starts_with("acequia_amqp_connection_attempts_total{outcome=\"failure\""))
                && line.contains("acequia.academico")
        });
        let times = lost.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        times.sum::<f64>()
    };
    // Each attempt begins well, and nothing is ever done.
    let minute = Duration::from_secs(60);
    wait_within(minute, "a lane that is lost again and again", async || {
        Ok(lost().await > 2.0)
    })
    .await
    .unwrap();
    // The lanes of other queues may still start.
    let mut reason = String::new();
    let named = wait_within(minute, "a reason that names the connection", async || {
        reason = worker.not_ready("ingest").await;
        Ok(reason.contains("broker") || reason.contains("connection"))
    });
    let named = named.await.is_ok();
    assert!(named, "{reason}");
    // It stays so, however often it begins well.
    let (before, ready) = (lost().await, std::sync::atomic::AtomicUsize::new(0));
    wait_within(minute, "more losses", async || {
        let (status, _) = crate::support::get(&worker.http, "/readyz").await;
        ready.fetch_add(usize::from(status == 200), Ordering::Relaxed);
        Ok(lost().await > before + 2.0)
    })
    .await
    .unwrap();
    assert_eq!(ready.load(Ordering::Relaxed), 0, "looks that say ready");
    cuts.store(false, Ordering::Relaxed);
    let total = platform.settled_unique(50).await;
    assert_eq!(total.inserted, 50);
    worker.ready().await;
    worker.stop().await;
}
