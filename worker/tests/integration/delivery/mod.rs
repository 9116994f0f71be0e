//! Messages come twice, connections break, servers go away and come back: everything arrives, and
//! nothing has effect twice.

mod connections;
mod copies;
mod programs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acequia_publisher::{Ids, Outgoing, Publisher, messages};
use acequia_testkit::wait_for;
use tokio::task::JoinHandle;

use crate::support::school::DOMAIN;
use crate::support::{Message, Platform, school};

/// Enough for many small batches, few enough for a second.
const LOAD: i32 = 5_000;

fn count(messages: &[Message]) -> i64 {
    i64::try_from(messages.len()).unwrap()
}

/// Waits for the load, and asserts that the core has exactly its students, each as it was sent.
async fn assert_core_gets_the_load(platform: &Platform) {
    let total = platform.settled_unique(i64::from(LOAD)).await;
    assert_eq!(
        (total.inserted, total.quarantined, total.pending),
        (i64::from(LOAD), 0, 0)
    );
    let right = "select count(*) from academico.alumnos where nombre = 'Alumno ' || id and id between 1 and ";
    assert_eq!(
        platform.number(&format!("{right}{LOAD}")).await,
        i64::from(LOAD)
    );
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        i64::from(LOAD)
    );
}

/// A load that goes out while the test does something terrible.
fn publish_load(platform: &Platform) -> (JoinHandle<()>, Arc<AtomicBool>) {
    let url = platform.broker.url.clone();
    let sent = Arc::new(AtomicBool::new(false));
    let all_sent = sent.clone();
    let load = load();
    let runtime = tokio::runtime::Handle::current();
    // On a thread of its own: it must not wait for what the test does meanwhile.
    let task = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let mut publisher = connected(&url).await;
            let summary = publisher.send_all(load).await;
            assert!(summary.is_complete(), "{summary:?}");
            publisher.close().await;
            all_sent.store(true, Ordering::Relaxed);
        });
    });
    (task, sent)
}

/// A publisher; its first connection may be one of those that the test breaks.
async fn connected(url: &str) -> Publisher {
    let mut publisher = None;
    wait_for("a connection to publish by", async || {
        publisher = Publisher::connect(url).await.ok();
        Ok(publisher.is_some())
    })
    .await
    .unwrap();
    publisher.unwrap()
}

/// The students of the load, as our publisher sends them.
fn load() -> Vec<Outgoing> {
    let nothing_else = [
        "--maestros",
        "1",
        "--materias",
        "1",
        "--grupos",
        "1",
        "--inscripciones",
        "0",
        "--calificaciones",
        "0",
    ];
    let students = LOAD.to_string();
    let options = [nothing_else.as_slice(), &["--alumnos", &students]].concat();
    let mut all = messages(DOMAIN, &options, Ids::Fresh).unwrap();
    all.retain(|outgoing| outgoing.route.routing_key().ends_with(".alumno"));
    for (id, outgoing) in std::iter::zip(1.., &mut all) {
        outgoing.body = school::alumno_body(id).to_string().into_bytes();
    }
    assert_eq!(all.len(), LOAD as usize);
    all
}
