//! Messages from lines, for the domains and entities that there are.

use std::sync::mpsc::channel;

use acequia_contracts::{Domain, catalog, fixtures};
use acequia_publisher::{BadLine, Lines, Outgoing};

fn read(input: &[u8], domain: Option<&'static Domain>) -> (Vec<Outgoing>, Vec<BadLine>) {
    let (sender, bad) = channel();
    let messages = Lines::new(input, domain, sender).collect();
    (messages, bad.iter().collect())
}

fn some_entity() -> (&'static Domain, &'static str) {
    let domain = &catalog()[0];
    (domain, domain.entities[0].name)
}

#[test]
fn a_line_finds_its_domain_by_its_entity() {
    for domain in catalog() {
        for entity in &domain.entities {
            let label = format!("{}.{}", domain.name, entity.name);
            for name in [label.clone(), entity.name.to_uppercase()] {
                let line = format!(r#"{{"entity":"{name}"}}"#);
                let (messages, bad) = read(line.as_bytes(), Some(domain));
                assert_eq!(bad, []);
                assert_eq!(messages[0].route.label, label);
            }
        }
    }
}

#[test]
fn valid_samples_are_sent_as_they_are() {
    let mut file = Vec::new();
    let mut expected = Vec::new();
    for domain in catalog() {
        for entity in &domain.entities {
            for sample in fixtures::valid(domain.name, entity.name) {
                file.extend_from_slice(sample.body);
                file.push(b'\n');
                expected.push((format!("{}.{}", domain.name, entity.name), sample.body));
            }
        }
    }
    let (messages, bad) = read(&file, None);
    assert_eq!(bad, []);
    assert_eq!(messages.len(), expected.len());
    for (message, (label, body)) in messages.iter().zip(expected) {
        assert_eq!(message.route.label, label);
        assert_eq!(message.body, body);
    }
}

#[test]
fn what_cannot_be_sent_is_told_with_its_line_and_the_rest_goes_on() {
    let (domain, entity) = some_entity();
    let good = format!(r#"{{"entity":"{entity}"}}"#);
    let input = format!(
        "{good}\r\n\n   \n{{\"entity\":\"unheard-of\"}}\nnot json\n[1]\n{{\"entity\":7}}\n{good}"
    );
    let (messages, bad) = read(input.as_bytes(), None);
    assert_eq!(messages.len(), 2);
    assert!(
        messages
            .iter()
            .all(|message| message.body == good.as_bytes())
    );
    let numbers: Vec<_> = bad.iter().map(|line| line.number).collect();
    assert_eq!(numbers, [4, 5, 6, 7]);
    assert!(
        bad[0]
            .to_string()
            .starts_with("line 4: no domain has this entity")
    );
    assert!(bad.iter().all(|line| !line.reason.contains("unheard")));

    // With a domain given, everything is sent: quarantine is where it can be seen.
    let (messages, bad) = read(input.as_bytes(), Some(domain));
    assert_eq!(bad, []);
    let keys: Vec<_> = messages
        .iter()
        .map(|message| message.route.routing_key())
        .collect();
    let known = format!("{}.{entity}", domain.name);
    let unknown = format!("{}.unheard-of", domain.name);
    assert_eq!(
        keys,
        [
            known.as_str(),
            unknown.as_str(),
            domain.name,
            domain.name,
            domain.name,
            known.as_str()
        ]
    );
}

#[test]
fn bytes_that_are_no_text_and_names_that_are_too_long_do_no_harm() {
    let (domain, _) = some_entity();
    let (messages, bad) = read(b"\xff\xfe{}\n", Some(domain));
    assert_eq!((messages.len(), bad.len()), (1, 0));
    let long = format!(r#"{{"entity":"{}"}}"#, "x".repeat(300));
    let (messages, bad) = read(long.as_bytes(), Some(domain));
    assert_eq!((messages.len(), bad.len()), (0, 1));
    assert_eq!(bad[0].reason, "the entity's name is too long");
}

#[test]
fn an_event_id_of_version_7_becomes_the_message_id() {
    let (_, entity) = some_entity();
    let v7 = "0193a1b2-7c00-7abc-8def-0123456789ab";
    let v4 = "0193a1b2-7c00-4abc-8def-0123456789ab";
    let line = |id: &str| format!("{{\"entity\":\"{entity}\",\"event_id\":\"{id}\"}}\n");
    let input = [line(v7), line(v7), line(v4), line("7")].concat();
    let (messages, _) = read(input.as_bytes(), None);
    let ids: Vec<_> = messages.iter().map(|message| message.id.unwrap()).collect();
    assert_eq!(ids[0].to_string(), v7);
    assert_eq!(ids[0], ids[1]);
    for id in &ids[2..] {
        assert_eq!(id.get_version_num(), 7);
        assert_ne!(*id, ids[0]);
    }
    assert_ne!(ids[2], ids[3]);
}
