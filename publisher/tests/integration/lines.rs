//! Messages from lines, for the domains and entities that there are.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

use acequia_contracts::{Domain, catalog, fixtures};
use acequia_publisher::{BadLine, Lines, Outgoing};

fn read(input: &[u8], domain: Option<&'static Domain>) -> (Vec<Outgoing>, Vec<BadLine>) {
    let (sender, bad) = sync_channel(100);
    let messages = Lines::new(input, domain, sender).keeping(true).collect();
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
fn an_unsendable_line_is_reported_by_number_and_the_rest_is_sent() {
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

    // With a domain given, every object is sent: quarantine is where it can be seen.
    let (messages, bad) = read(input.as_bytes(), Some(domain));
    let numbers: Vec<_> = bad.iter().map(|line| line.number).collect();
    assert_eq!(numbers, [5, 6]);
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
            known.as_str()
        ]
    );
}

#[test]
fn bytes_that_are_no_text_and_names_that_are_too_long_do_no_harm() {
    let (domain, _) = some_entity();
    let (messages, bad) = read(b"{}\n{\"x\":\"\xff\xfe\"}\n", Some(domain));
    assert_eq!((messages.len(), bad.len()), (1, 1));
    let long = format!(r#"{{"entity":"{}"}}"#, "x".repeat(300));
    let (messages, bad) = read(long.as_bytes(), Some(domain));
    assert_eq!((messages.len(), bad.len()), (0, 1));
    assert_eq!(bad[0].reason, "the entity's name is too long");
}

#[test]
fn a_line_is_sent_under_its_own_event_id() {
    let (_, entity) = some_entity();
    let v7 = "0193a1b2-7c00-7abc-8def-0123456789ab";
    let v4 = "0193a1b2-7c00-4abc-8def-0123456789ab";
    let line = |id: &str| format!("{{\"entity\":\"{entity}\",\"event_id\":\"{id}\"}}\n");
    let nil = "00000000-0000-0000-0000-000000000000";
    let max = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let input = [line(v7), line(v7), line(v4), line("7")].concat();
    let (messages, _) = read(input.as_bytes(), None);
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    assert_eq!(ids[0].unwrap().to_string(), v7);
    assert_eq!(ids[0], ids[1]);
    // The worker reads an id of another form from the body: another message_id would hide it.
    assert_eq!(ids[2..], [None, None]);

    let none = format!("{{\"entity\":\"{entity}\"}}\n");
    let input = [line(nil), line(max), line(" "), none].concat();
    let (messages, _) = read(input.as_bytes(), None);
    let ids: BTreeSet<_> = messages.iter().map(|message| message.id.unwrap()).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| id.get_version_num() == 7));
}

#[test]
fn lines_know_their_number_and_may_begin_later() {
    let (_, entity) = some_entity();
    let good = format!("{{\"entity\":\"{entity}\"}}\n");
    let input = format!("{good}no json\n\n{good}[1]\n{good}");
    let from = |first: u64| {
        let (bad, lines) = sync_channel(100);
        let messages: Vec<_> = Lines::new(input.as_bytes(), None, bad)
            .from_line(first)
            .keeping(true)
            .collect();
        let numbers: Vec<_> = messages
            .iter()
            .map(|message| message.line.unwrap())
            .collect();
        (
            numbers,
            lines
                .iter()
                .map(|line| (line.number, line.body))
                .collect::<Vec<_>>(),
        )
    };
    let bad = |number: u64, text: &str| (number, text.as_bytes().to_vec());
    assert_eq!(
        from(1),
        (vec![1, 4, 6], vec![bad(2, "no json"), bad(5, "[1]")])
    );
    assert_eq!(from(5), (vec![6], vec![bad(5, "[1]")]));
    assert_eq!(from(7), (vec![], vec![]));
}

/// Files as other programs write them: the number of the line and what it is, nothing of it is sent.
#[test]
fn what_is_no_line_of_json_is_named_for_what_it_is() {
    let (domain, entity) = some_entity();
    let good = format!(r#"{{"entity":"{entity}"}}"#);
    let utf_16 = |bytes: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
        let text = if mark { "\u{feff}" } else { "" }.to_owned() + &good + "\n";
        text.encode_utf16().flat_map(bytes).collect()
    };
    let list = format!("[\n{good},\n{good}\n]\n");
    let spread = good.replace('{', "{\n  ");
    let files: Vec<(Vec<u8>, &str)> = vec![
        (
            vec![0x1f, 0x8b, 8, 0, b'\n', 1, 2, 3],
            "compressed with gzip",
        ),
        (b"\x28\xb5\x2f\xfdabc".to_vec(), "compressed with zstd"),
        (b"\xfd7zXZ\0abc".to_vec(), "compressed with xz"),
        (b"BZh91AY".to_vec(), "compressed with bzip2"),
        (b"PK\x03\x04abc".to_vec(), "a zip archive"),
        (b"PAR1abc".to_vec(), "a Parquet file"),
        (utf_16(u16::to_le_bytes, true), "in UTF-16"),
        (utf_16(u16::to_be_bytes, true), "in UTF-16"),
        (utf_16(u16::to_le_bytes, false), "in UTF-16"),
        (utf_16(u16::to_be_bytes, false), "in UTF-16"),
        (list.into_bytes(), "a JSON list"),
        (spread.into_bytes(), "over several lines"),
    ];
    for (file, what) in files {
        for domain in [None, Some(domain)] {
            let (messages, bad) = read(&file, domain);
            assert_eq!((messages.len(), bad.len()), (0, 1), "{what}");
            assert_eq!(bad[0].number, 1);
            assert!(bad[0].reason.contains(what), "{}", bad[0]);
        }
    }

    let inside = |value: &str| format!(r#"{{"entity":"{entity}","x":{value}}}"#).into_bytes();
    let latin_1 = [
        &b"{\"x\":\"a\xf1o\",\"entity\":\""[..],
        entity.as_bytes(),
        b"\"}",
    ]
    .concat();
    let lines: Vec<(Vec<u8>, &str)> = vec![
        (latin_1, "not UTF-8 from byte 8 on: if it is Latin-1"),
        (inside("NaN"), "NaN is no JSON"),
        (inside("[1,-Infinity]"), "-Infinity is no JSON"),
        (inside("Infinity"), "Infinity is no JSON"),
        (inside("None"), "None is no JSON: write null"),
        (inside("True"), "True is no JSON: write true"),
        (inside("undefined"), "undefined is no JSON"),
        (format!("[{good}]").into_bytes(), "a JSON list: an object"),
        (b"[]".to_vec(), "a JSON list: an object"),
        (b"17".to_vec(), "a JSON number: an object"),
        (b"\"entity\"".to_vec(), "a JSON text: an object"),
        (b"null".to_vec(), "null: an object"),
        (b"true".to_vec(), "true or false: an object"),
        (format!("{good},").into_bytes(), "a comma behind the object"),
        (
            format!("{good}{good}").into_bytes(),
            "another object begins at column",
        ),
        (
            good.replace('"', "'").into_bytes(),
            "a single quote at column 2",
        ),
        (
            good.as_bytes()[..good.len() - 1].to_vec(),
            "it ends in the middle",
        ),
        (inside("17 18"), "stops at column"),
        (b"id;nombre;edad".to_vec(), "stops at column 1"),
    ];
    for (line, what) in lines {
        let file = [good.as_bytes(), b"\n\n", &line, b"\n", good.as_bytes()].concat();
        for domain in [None, Some(domain)] {
            let (messages, bad) = read(&file, domain);
            assert_eq!((messages.len(), bad.len()), (2, 1), "{what}: {bad:?}");
            assert_eq!(bad[0].number, 3);
            assert!(bad[0].reason.contains(what), "{}, not {what}", bad[0]);
        }
    }
}

#[test]
fn a_byte_order_mark_is_dropped() {
    let (_, entity) = some_entity();
    let good = format!(r#"{{"entity":"{entity}"}}"#);
    // As one file, as two put together, and alone.
    for file in [
        format!("\u{feff}{good}\n{good}\n"),
        format!("\u{feff}{good}\r\n\u{feff}{good}"),
        format!("\u{feff}\n{good}\n{good}\n"),
    ] {
        let (messages, bad) = read(file.as_bytes(), None);
        assert_eq!(bad, [], "{file}");
        let bodies: Vec<_> = messages.iter().map(|message| &message.body).collect();
        assert_eq!(bodies, [good.as_bytes(), good.as_bytes()]);
    }
}

#[test]
fn an_entity_that_stands_twice_chooses_no_domain() {
    let (domain, entity) = some_entity();
    let line = format!(r#"{{"entity":"{entity}","\u0065ntity":"{entity}"}}"#);
    let (messages, bad) = read(line.as_bytes(), None);
    assert_eq!((messages.len(), bad.len()), (0, 1));
    assert!(bad[0].reason.contains("twice"), "{}", bad[0]);
    assert_eq!(read(line.as_bytes(), Some(domain)).0.len(), 1);
}
