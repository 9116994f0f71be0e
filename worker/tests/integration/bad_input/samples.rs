//! The samples of the catalog, good and bad.

use acequia_contracts::{Context, Entity, catalog, fixtures};

use crate::support::{Message, Platform};

/// The samples of the catalog: each has the outcome that its contract states.
#[tokio::test(flavor = "multi_thread")]
async fn every_sample_of_every_entity_goes_where_its_contract_says() {
    let platform = Platform::new().await;
    platform.declare().await;
    let samples = |entity: &'static Entity, pick: fn(&str, &str) -> Vec<fixtures::Fixture>| {
        let samples = pick(entity.domain, entity.name).into_iter();
        samples.map(move |sample| {
            (
                entity,
                sample.name,
                Message::new(entity.domain, entity.name, sample.body),
            )
        })
    };
    let entities = || catalog().iter().flat_map(|domain| &domain.entities);
    let valid: Vec<_> = entities()
        .flat_map(|entity| samples(entity, fixtures::valid))
        .collect();
    let invalid: Vec<_> = entities()
        .flat_map(|entity| samples(entity, fixtures::invalid))
        .collect();
    assert!(!valid.is_empty() && !invalid.is_empty());
    platform
        .publish_all(valid.iter().chain(&invalid).map(|(_, _, message)| message))
        .await;
    let worker = platform.worker(&[]);
    platform
        .settled(i64::try_from(valid.len() + invalid.len()).unwrap())
        .await;

    for (entity, name, message) in &invalid {
        let what = format!("{}.{}/{name}", entity.domain, entity.name);
        let body = std::str::from_utf8(&message.body).unwrap();
        let violations = entity
            .decode(body, &Context::now(), &mut entity.new_columns())
            .unwrap_err();
        let first = &violations[0];
        let path = Some(first.path.as_ref()).filter(|path| !path.is_empty());
        let row = platform.quarantined(message).await;
        assert_eq!(
            row.reason(),
            (first.code.stage().as_str(), first.code.as_str(), path),
            "{what}"
        );
        assert_eq!(
            row.violations,
            serde_json::to_value(&violations).unwrap(),
            "{what}"
        );
        assert_eq!(row.body, message.body, "{what}");
        assert_eq!(row.entity.as_deref(), Some(entity.name), "{what}");
    }
    for entity in entities() {
        let what = format!("{}.{}", entity.domain, entity.name);
        let sent = |messages: &[(&Entity, &str, Message)]| {
            let of_entity = messages
                .iter()
                .filter(|(of, _, _)| std::ptr::eq(*of, entity));
            i64::try_from(of_entity.count()).unwrap()
        };
        let entry = platform.ledger_entry(entity.domain, entity.name).await;
        assert_eq!(entry.quarantined, sent(&invalid), "{what}");
        // The sample of a child need not have its parents among the samples.
        assert_eq!(
            entry.promoted() + entry.stale + entry.pending,
            sent(&valid),
            "{what}"
        );
        assert_eq!(
            (entry.staged, entry.duplicates, entry.unaccounted),
            (0, 0, 0),
            "{what}"
        );
    }
    let staged = platform
        .number("select count(*) from core.batches where state <> 'promoted'")
        .await;
    assert_eq!(staged, 0);
    worker.ready().await;
    worker.stop().await;
}
