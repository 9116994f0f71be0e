//! Which messages are made, for every domain that has a generator.

use std::collections::{BTreeMap, HashMap};

use acequia_contracts::{Domain, catalog, fixtures};
use acequia_publisher::{Ids, Outgoing, messages, write_lines};
use uuid::Uuid;

fn generators() -> impl Iterator<Item = &'static Domain> {
    catalog().iter().filter(|domain| domain.generator.is_some())
}

fn make(domain: &Domain, options: &str) -> Vec<Outgoing> {
    let options: Vec<_> = options.split_whitespace().collect();
    let base = "2024-12-31T00:00:00Z".parse().unwrap();
    messages(domain.name, &options, Ids::Seeded { seed: 9, base }).unwrap()
}

fn is_invalid(domain: &Domain, message: &Outgoing) -> bool {
    domain.entities.iter().any(|entity| {
        let samples = fixtures::invalid(domain.name, entity.name);
        samples.iter().any(|sample| sample.body == message.body)
    })
}

/// How often each id occurs.
fn copies(messages: &[Outgoing]) -> HashMap<Option<Uuid>, usize> {
    let mut copies = HashMap::new();
    for message in messages {
        *copies.entry(message.id).or_insert(0) += 1;
    }
    copies
}

#[test]
fn invalid_messages_and_copies_are_added_in_exact_numbers() {
    for domain in generators() {
        let good = make(domain, "");
        let count = good.len();
        assert!(good.iter().all(|message| !is_invalid(domain, message)));
        assert_eq!(copies(&good).len(), count, "ids are distinct");

        let mixed = make(domain, "--invalid 2.5 --duplicates 10");
        let bad = (count as f64 * 0.025).round() as usize;
        let again = (count as f64 * 0.1).round() as usize;
        assert_eq!(mixed.len(), count + bad + again);
        let originals = copies(&mixed);
        assert_eq!(originals.len(), count + bad);
        assert!(originals.values().all(|copies| *copies <= 2));

        let mut first = HashMap::new();
        let mut distinct_bad = 0;
        let mut at = Vec::new();
        for (place, message) in mixed.iter().enumerate() {
            if let Some(original) = first.insert(message.id, message) {
                assert_eq!(original, message, "a copy is the same in every respect");
            } else if is_invalid(domain, message) {
                distinct_bad += 1;
                at.push(place);
            }
        }
        assert_eq!(distinct_bad, bad);
        // All over the place: some in each quarter.
        for quarter in 0..4 {
            let range = mixed.len() * quarter / 4..mixed.len() * (quarter + 1) / 4;
            assert!(at.iter().any(|place| range.contains(place)));
        }
    }
}

#[test]
fn what_is_added_leaves_the_good_messages_as_they_are() {
    for domain in generators() {
        let good = make(domain, "--seed 5");
        let mixed = make(domain, "--seed 5 --invalid 3 --duplicates 30");
        let mut seen = HashMap::new();
        let kept: Vec<_> = mixed
            .iter()
            .filter(|message| seen.insert(message.id, ()).is_none())
            .filter(|message| !is_invalid(domain, message))
            .map(|message| &message.body)
            .collect();
        let bodies: Vec<_> = good.iter().map(|message| &message.body).collect();
        assert_eq!(kept, bodies);
    }
}

#[test]
fn more_copies_than_messages_are_dealt_evenly() {
    for domain in generators() {
        let count = make(domain, "").len();
        let mixed = make(domain, "--duplicates 250");
        assert_eq!(mixed.len(), count + (count as f64 * 2.5).round() as usize);
        let copies = copies(&mixed);
        assert!(copies.values().all(|copies| (3..=4).contains(copies)));
    }
}

#[test]
fn the_same_seed_makes_the_same_messages() {
    for domain in generators() {
        let options = "--seed 3 --invalid 1 --duplicates 2 --shuffle";
        let one = make(domain, options);
        assert_eq!(one, make(domain, options));
        assert_ne!(one, make(domain, &options.replace('3', "4")));

        let ordered = make(domain, &options.replace("--shuffle", ""));
        assert_ne!(one, ordered);
        let sorted = |messages: &[Outgoing]| {
            let mut all: Vec<_> = messages.iter().map(|m| (m.id, m.body.clone())).collect();
            all.sort();
            all
        };
        assert_eq!(sorted(&one), sorted(&ordered), "shuffled, nothing else");
    }
}

#[test]
fn the_file_is_the_same_byte_for_byte() {
    for domain in generators() {
        let write = |ids| {
            let mut file = Vec::new();
            let options = ["--invalid", "2", "--duplicates", "1"];
            let count = write_lines(
                messages(domain.name, &options, ids).unwrap().into_iter(),
                &mut file,
            );
            assert_eq!(
                count.unwrap(),
                file.iter().filter(|byte| **byte == b'\n').count() as u64
            );
            file
        };
        assert!(
            write(Ids::Fresh) == write(Ids::Fresh),
            "ids do not show in the file"
        );
    }
}

#[test]
fn routes_are_named_after_the_entity_unless_they_are_legacy() {
    for domain in generators() {
        let mut counts = BTreeMap::new();
        for message in make(domain, "") {
            let entity = message.route.label.strip_prefix(domain.name).unwrap();
            let entity = entity.strip_prefix('.').unwrap().to_owned();
            assert!(domain.find(&entity).is_some(), "{entity}");
            assert_eq!(message.route.routing_key(), message.route.label);
            assert!(message.id.is_some());
            *counts.entry(entity).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), domain.entities.len());

        let Some(queue) = domain.legacy_queue else {
            continue;
        };
        for message in make(domain, "--legacy") {
            assert!(message.route.is_legacy());
            assert_eq!(message.route.routing_key(), queue);
            assert_eq!(message.id, None);
        }
    }
}

#[test]
fn wrong_options_are_explained() {
    let domain = generators().next().unwrap().name;
    for (options, why) in [
        (["--invalid", "-1"], "unexpected argument"),
        (["--invalid", "1001"], "must be a number from 0 to 1000"),
        (["--duplicates", "NaN"], "must be a number from 0 to 1000"),
        (["--nonsense", "1"], "unexpected argument"),
    ] {
        let error = messages(domain, &options, Ids::Fresh).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = messages("nowhere", &[], Ids::Fresh).unwrap_err();
    assert!(error.to_string().contains("no generator for nowhere"));
}
