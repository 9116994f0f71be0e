//! The demonstration of each domain, to the message: the ledger equals the plan.

use std::collections::{BTreeMap, HashSet};

use acequia_contracts::envelope::{Identity, UNKNOWN};
use acequia_contracts::{Context, Domain, catalog, entity_of};
use acequia_publisher::{Ids, Outgoing, Publisher, messages};

use crate::support::{Platform, RunningWorker};

/// The expected outcomes of the messages of one entity.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Planned {
    received: i64,
    duplicates: i64,
    quarantined: i64,
}

/// The options of a domain's demonstration, from the first line of its file.
fn demo_options(domain: &Domain) -> Vec<String> {
    let file = format!(
        "{}/../sql/demo/{}.sql",
        env!("CARGO_MANIFEST_DIR"),
        domain.name
    );
    let text = std::fs::read_to_string(file).unwrap();
    let mut words = text.lines().next().unwrap().split_whitespace().skip(2);
    assert_eq!(words.next(), Some(domain.name));
    words.map(ToOwned::to_owned).collect()
}

/// The messages of a demonstration.
fn demo(domain: &Domain, more: &[&str]) -> Vec<Outgoing> {
    let options = demo_options(domain);
    let options: Vec<_> = options
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    messages(domain.name, &options, Ids::Fresh).unwrap()
}

/// Reads each message as its contract says; the worker must come to the same.
fn expected(domain: &Domain, messages: &[Outgoing]) -> BTreeMap<String, Planned> {
    let mut planned: BTreeMap<String, Planned> = BTreeMap::new();
    let mut seen = HashSet::new();
    for message in messages {
        let body = std::str::from_utf8(&message.body).unwrap();
        let named = if message.route.is_legacy() {
            entity_of(body)
        } else {
            message
                .route
                .label
                .rsplit('.')
                .next()
                .map(ToOwned::to_owned)
        };
        let entity = named.and_then(|name| domain.find(&name));
        let decoded =
            entity.map(|entity| entity.decode(body, &Context::now(), &mut entity.new_columns()));
        let event_id = decoded
            .as_ref()
            .and_then(|decoded| decoded.as_ref().ok()?.event_id.clone());
        let identity = match (message.id, event_id) {
            (Some(id), _) => Identity::of_text(&id.to_string()),
            (None, Some(id)) => Identity::of_text(&id),
            (None, None) => Identity::of_bytes(message.route.routing_key(), &message.body),
        };
        let planned = planned
            .entry(entity.map_or(UNKNOWN, |entity| entity.name).to_owned())
            .or_default();
        planned.received += 1;
        if !seen.insert(identity) {
            planned.duplicates += 1;
        } else if !matches!(decoded, Some(Ok(_))) {
            planned.quarantined += 1;
        }
    }
    planned
}

async fn send(platform: &Platform, messages: Vec<Outgoing>) {
    let mut publisher = Publisher::connect(&platform.broker.url).await.unwrap();
    let count = messages.len();
    let summary = publisher.send_all(messages).await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(
        (summary.confirmed, summary.retried),
        (count as u64, 0),
        "{summary:?}"
    );
    publisher.close().await;
}

/// Compares the ledger with the plan, and with what lies in the tables.
async fn assert_books(platform: &Platform, domain: &Domain, planned: &BTreeMap<String, Planned>) {
    for (entity, planned) in planned {
        let what = format!("{}.{entity}", domain.name);
        let entry = platform.ledger_entry(domain.name, entity).await;
        let found = Planned {
            received: entry.received,
            duplicates: entry.duplicates,
            quarantined: entry.quarantined,
        };
        assert_eq!(found, *planned, "{what}");
        assert_eq!(
            (entry.staged, entry.pending, entry.unaccounted),
            (0, 0, 0),
            "{what}: {entry:?}"
        );
        let sum = entry.duplicates
            + entry.staged
            + entry.promoted()
            + entry.stale
            + entry.pending
            + entry.quarantined;
        assert_eq!(entry.received, sum, "{what}: {entry:?}");
        let Some(entity) = domain.find(entity) else {
            continue;
        };
        let rows = async |table: &str| {
            platform
                .number(&format!("select count(*) from {table}"))
                .await
        };
        assert_eq!(
            rows(entity.core).await,
            entry.inserted,
            "{what}: rows of {}",
            entity.core
        );
        assert_eq!(
            rows(entity.staging).await,
            entry.unique() - entry.quarantined,
            "{what}: rows of {}",
            entity.staging
        );
    }
    let rows = format!(
        "select count(*) from raw.quarantine where domain = '{}'",
        domain.name
    );
    let quarantined: i64 = planned.values().map(|planned| planned.quarantined).sum();
    assert_eq!(platform.number(&rows).await, quarantined);
    let entities = format!(
        "select count(*) from core.conservation where domain = '{}'",
        domain.name
    );
    assert_eq!(
        platform.number(&entities).await,
        i64::try_from(planned.len()).unwrap()
    );
}

/// The data quality rules have nothing to say against the demonstration.
async fn assert_quality(platform: &Platform, domain: &Domain) {
    let results = acequia_store::quality::check(
        &mut platform.connect().await,
        domain.name,
        std::time::Duration::from_secs(60),
    )
    .await
    .unwrap();
    let bad: Vec<_> = results
        .iter()
        .filter(|result| !["pass", "warn"].contains(&result.outcome.as_str()))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

async fn stop(platform: &Platform, workers: Vec<RunningWorker>) {
    for worker in workers {
        worker.ready().await;
        worker.stop().await;
    }
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_is_accounted_for_to_the_message() {
    for domain in catalog().iter().filter(|domain| domain.generator.is_some()) {
        let platform = Platform::new().await;
        let worker = platform.worker(&[]);
        worker.ready().await;
        let messages = demo(domain, &[]);
        let planned = expected(domain, &messages);
        // The plan is what the options asked for: copies have the id of their original.
        let ids: HashSet<_> = messages.iter().map(|message| message.id.unwrap()).collect();
        let copies: i64 = planned.values().map(|planned| planned.duplicates).sum();
        assert_eq!(i64::try_from(messages.len() - ids.len()).unwrap(), copies);
        assert!(copies > 0 && planned.values().any(|planned| planned.quarantined > 0));
        assert!(!planned.contains_key(UNKNOWN));

        let auditor = platform.auditor().await;
        let count = i64::try_from(messages.len()).unwrap();
        send(&platform, messages).await;
        platform.settled(count).await;
        assert_books(&platform, domain, &planned).await;
        assert_quality(&platform, domain).await;
        auditor.finish().await;
        stop(&platform, vec![worker]).await;
    }
}

/// Without ids, in any order, by the old way, and two workers at it.
#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_by_the_legacy_queue_is_accounted_for_to_the_message() {
    for domain in catalog()
        .iter()
        .filter(|domain| domain.generator.is_some() && domain.legacy_queue.is_some())
    {
        let platform = Platform::new().await;
        let workers = vec![
            platform.worker(&["--batch-max", "700"]),
            platform.worker(&["--batch-max", "300"]),
        ];
        workers[0].ready().await;
        let messages = demo(domain, &["--legacy", "--shuffle"]);
        let planned = expected(domain, &messages);
        let auditor = platform.auditor().await;
        let count = i64::try_from(messages.len()).unwrap();
        send(&platform, messages).await;
        platform.settled(count).await;
        assert_books(&platform, domain, &planned).await;
        assert_quality(&platform, domain).await;
        auditor.finish().await;
        stop(&platform, workers).await;
    }
}
