//! Bad messages among good ones: each ends in quarantine once, as it came, with its reason, and
//! none of its neighbours notices.

use std::collections::HashMap;
use std::iter::zip;

use acequia_contracts::{Code, Context, Entity, catalog, fixtures};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use serde_json::{Value, json};

use crate::support::school::{DOMAIN, alumno, alumno_body};
use crate::support::{Message, Platform};

/// The queue of the publishers that name the entity in the body.
const LEGACY: &str = "etl";

/// A bad message and the expected quarantine row.
struct Case {
    what: &'static str,
    message: Message,
    entity: Option<&'static str>,
    code: Code,
    path: Option<&'static str>,
}

/// A bad student.
fn bad(what: &'static str, body: impl Into<Vec<u8>>, code: Code, path: &'static str) -> Case {
    Case {
        what,
        message: Message::new(DOMAIN, "alumno", body),
        entity: Some("alumno"),
        code,
        path: Some(path).filter(|path| !path.is_empty()),
    }
}

/// A bad message on the legacy queue.
fn bad_legacy(what: &'static str, body: impl Into<Vec<u8>>, code: Code) -> Case {
    Case {
        message: Message::straight(LEGACY, body),
        entity: None,
        ..bad(what, "", code, "")
    }
}

/// A bad mark.
fn bad_mark(what: &'static str, mark: &str, code: Code) -> Case {
    let body = format!(r#"{{"id_alumno":1,"id_grupo":1,"calificacion":{mark}}}"#);
    Case {
        message: Message::new(DOMAIN, "calificacion", body),
        entity: Some("calificacion"),
        ..bad(what, "", code, "calificacion")
    }
}

/// A student with one field replaced by any JSON text.
fn with(field: &str, json: &str) -> String {
    let mut fields: Vec<String> = [
        ("id_alumno", "1"),
        ("nombre", r#""Ana""#),
        ("edad", "20"),
        ("genero", r#""F""#),
    ]
    .into_iter()
    .filter(|(name, _)| *name != field)
    .map(|(name, value)| format!(r#""{name}":{value}"#))
    .collect();
    fields.push(format!(r#""{field}":{json}"#));
    format!("{{{}}}", fields.join(","))
}

fn nested_lists(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn nested_objects(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

fn cases() -> Vec<Case> {
    let number = "9".repeat(300);
    let mut broken_utf8 = with("nombre", r#""An?""#).into_bytes();
    if let Some(byte) = broken_utf8.iter_mut().find(|byte| **byte == b'?') {
        *byte = 0xff;
    }
    vec![
        // Bytes.
        bad("not UTF-8", broken_utf8, Code::NotUtf8, ""),
        bad("UTF-16", [0xff, 0xfe, b'{', 0, b'}', 0], Code::NotUtf8, ""),
        bad("empty", "", Code::InvalidJson, ""),
        bad("blank", " \n\t ", Code::InvalidJson, ""),
        bad("a raw NUL as body", [0], Code::InvalidJson, ""),
        bad("10 MB", vec![b'x'; 10 * 1024 * 1024], Code::TooLarge, ""),
        bad(
            "10 MB of JSON",
            with("nombre", &format!("{:?}", "x".repeat(10_000_000))),
            Code::TooLarge,
            "",
        ),
        // JSON.
        bad("not JSON", "hello", Code::InvalidJson, ""),
        bad(
            "truncated",
            r#"{"id_alumno":1,"nombre":"An"#,
            Code::InvalidJson,
            "",
        ),
        bad(
            "two objects",
            r#"{"id_alumno":1} {"id_alumno":2}"#,
            Code::InvalidJson,
            "",
        ),
        bad(
            "byte order mark",
            format!("\u{feff}{}", with("edad", "20")),
            Code::InvalidJson,
            "",
        ),
        bad("single quotes", "{'id_alumno':1}", Code::InvalidJson, ""),
        bad("NaN", with("edad", "NaN"), Code::InvalidJson, ""),
        bad(
            "a list",
            format!("[{}]", with("edad", "20")),
            Code::InvalidType,
            "",
        ),
        bad("a number", "42", Code::InvalidType, ""),
        bad("a text", r#""alumno""#, Code::InvalidType, ""),
        bad("true", "true", Code::InvalidType, ""),
        bad("null", "null", Code::InvalidType, ""),
        // Fields.
        bad(
            "a field missing",
            r#"{"id_alumno":1,"edad":20,"genero":"F"}"#,
            Code::MissingField,
            "nombre",
        ),
        bad(
            "a field null",
            with("nombre", "null"),
            Code::MissingField,
            "nombre",
        ),
        bad("no field at all", "{}", Code::MissingField, "edad"),
        bad(
            "a text for a number",
            with("edad", r#""veinte""#),
            Code::InvalidType,
            "edad",
        ),
        bad(
            "a number for a text",
            with("nombre", "7"),
            Code::InvalidType,
            "nombre",
        ),
        bad(
            "a fraction for an integer",
            with("edad", "20.5"),
            Code::InvalidType,
            "edad",
        ),
        bad(
            "out of range",
            with("edad", "121"),
            Code::OutOfRange,
            "edad",
        ),
        bad(
            "negative",
            with("id_alumno", "-1"),
            Code::OutOfRange,
            "id_alumno",
        ),
        bad(
            "beyond integer",
            with("id_alumno", "2147483648"),
            Code::OutOfRange,
            "id_alumno",
        ),
        bad(
            "300 digits",
            with("id_alumno", &number),
            Code::OutOfRange,
            "id_alumno",
        ),
        bad(
            "1e400 as id",
            with("id_alumno", "1e400"),
            Code::InvalidType,
            "id_alumno",
        ),
        bad_mark("1e400 as mark", "1e400", Code::OutOfRange),
        bad_mark("300 digits as mark", &number, Code::OutOfRange),
        bad_mark("-1e400 as mark", "-1e400", Code::OutOfRange),
        bad_mark("a mark as text", r#""8.5""#, Code::InvalidType),
        bad_mark("three decimals", "8.125", Code::TooPrecise),
        bad(
            "not in the list",
            with("genero", r#""X""#),
            Code::NotAllowed,
            "genero",
        ),
        bad(
            "the same key twice",
            with("edad", r#"20,"edad":21"#),
            Code::DuplicateField,
            "edad",
        ),
        bad(
            "the same key twice, once escaped",
            with("edad", r#"20,"ed\u0061d":21"#),
            Code::DuplicateField,
            "edad",
        ),
        bad(
            "a field and its alias",
            with("id_alumno", r#"1,"id":1"#),
            Code::DuplicateField,
            "id_alumno",
        ),
        bad(
            "two event times",
            with(
                "ts",
                r#""2024-01-01T00:00:00Z","ts":"2024-01-02T00:00:00Z""#,
            ),
            Code::DuplicateField,
            "ts",
        ),
        bad(
            "the entity twice",
            with("entity", r#""alumno","\u0065ntity":"maestro""#),
            Code::DuplicateField,
            "entity",
        ),
        bad(
            "an unknown field twice",
            with("extra", r#"1,"extra":1"#),
            Code::DuplicateField,
            "",
        ),
        bad("version 2", with("v", "2"), Code::NotAllowed, "v"),
        bad("version 99", with("v", "99"), Code::NotAllowed, "v"),
        bad(
            "a version as text",
            with("v", r#""1""#),
            Code::InvalidType,
            "v",
        ),
        bad(
            "a list with a comma too many",
            "[1,]",
            Code::InvalidJson,
            "",
        ),
        // Texts that PostgreSQL cannot hold.
        bad(
            "an escaped NUL",
            with("nombre", r#""A\u0000na""#),
            Code::NulCharacter,
            "nombre",
        ),
        bad(
            "a raw NUL",
            with("nombre", "\"A\0na\""),
            Code::InvalidJson,
            "",
        ),
        bad(
            "half of a surrogate pair",
            with("nombre", r#""Ana \ud83d""#),
            Code::InvalidFormat,
            "nombre",
        ),
        bad(
            "the other half",
            with("nombre", r#""Ana \ude00""#),
            Code::InvalidFormat,
            "nombre",
        ),
        bad(
            "half of a surrogate pair in a key",
            with(r"\ud83d", "1"),
            Code::InvalidJson,
            "",
        ),
        // Event times.
        bad(
            "year 9999",
            with("ts", r#""9999-12-31T23:59:59Z""#),
            Code::FutureDate,
            "ts",
        ),
        bad(
            "year 1",
            with("ts", r#""0001-01-01T00:00:00Z""#),
            Code::InvalidDate,
            "ts",
        ),
        bad(
            "no offset",
            with("ts", r#""2024-01-05T10:00:00""#),
            Code::InvalidDate,
            "ts",
        ),
        bad(
            "seconds since 1970",
            with("ts", "1704445200"),
            Code::InvalidType,
            "ts",
        ),
        bad(
            "30 February",
            with("ts", r#""2024-02-30T00:00:00Z""#),
            Code::InvalidDate,
            "ts",
        ),
        // Nesting.
        bad("10,000 lists", nested_lists(10_000), Code::InvalidType, ""),
        bad("10,000 objects", nested_objects(10_000), Code::TooDeep, ""),
        bad(
            "10,000 lists in an unknown field",
            with("extra", &nested_lists(10_000)),
            Code::TooDeep,
            "",
        ),
        bad(
            "10,000 objects in an unknown field",
            with("extra", &nested_objects(10_000)),
            Code::TooDeep,
            "",
        ),
        bad(
            "10,000 lists in a known field",
            with("nombre", &nested_lists(10_000)),
            Code::TooDeep,
            "nombre",
        ),
        bad(
            "10,000 lists in the id",
            with("id_alumno", &nested_lists(10_000)),
            Code::TooDeep,
            "id_alumno",
        ),
        bad(
            "10,000 lists that do not end",
            "[".repeat(10_000),
            Code::InvalidJson,
            "",
        ),
        bad(
            "10,000 objects that do not end",
            r#"{"a":"#.repeat(10_000),
            Code::InvalidJson,
            "",
        ),
        // Entities.
        Case {
            message: Message::new(DOMAIN, "nadie", r#"{"what":"an entity of nobody"}"#),
            entity: None,
            ..bad("unknown entity", "", Code::UnknownEntity, "")
        },
        Case {
            message: Message::new(DOMAIN, "nadie", "what is this"),
            entity: None,
            ..bad("unknown entity, no JSON either", "", Code::InvalidJson, "")
        },
        bad_legacy(
            "no entity in the body",
            with("edad", "20"),
            Code::UnknownEntity,
        ),
        bad_legacy(
            "unknown entity in the body",
            with("entity", r#""nadie""#),
            Code::UnknownEntity,
        ),
        bad_legacy(
            "entity is a number",
            with("entity", "7"),
            Code::UnknownEntity,
        ),
        bad_legacy(
            "entity is 10,000 lists",
            with("entity", &nested_lists(10_000)),
            Code::UnknownEntity,
        ),
        bad_legacy(
            "10,000 lists on the legacy queue",
            nested_lists(10_000),
            Code::UnknownEntity,
        ),
        Case {
            path: Some("entity"),
            ..bad_legacy(
                "the entity twice on the legacy queue",
                with("entity", r#""alumno","entity":"alumno""#),
                Code::DuplicateField,
            )
        },
        bad_legacy("nothing on the legacy queue", "", Code::InvalidJson),
        bad_legacy(
            "not UTF-8 on the legacy queue",
            [b'"', 0xc3, 0x28, b'"'],
            Code::NotUtf8,
        ),
        Case {
            message: Message::straight(
                LEGACY,
                r#"{"entity":"alumno","id_alumno":1,"nombre":"Ana","genero":"F"}"#,
            ),
            ..bad(
                "a field missing on the legacy queue",
                "",
                Code::MissingField,
                "edad",
            )
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_end_in_quarantine_and_their_neighbours_in_the_core() {
    let platform = Platform::new().await;
    platform.declare().await;
    let cases = cases();
    // One good message before each bad one, on the same queue.
    let good: Vec<Message> = zip(1000.., &cases)
        .map(|(id, case)| {
            if case.message.exchange.is_empty() {
                let mut body = alumno_body(id);
                body["entity"] = json!(["alumno", "Alumno", "ALUMNO"][id as usize % 3]);
                Message::straight(LEGACY, body.to_string())
            } else {
                alumno(id)
            }
        })
        .collect();
    let messages = zip(&good, &cases).flat_map(|(good, case)| [good, &case.message]);
    platform.publish_all(messages).await;

    // Everything is there before the worker is: good and bad come in the same batches.
    let worker = platform.worker(&[]);
    let count = i64::try_from(cases.len()).unwrap();
    platform.settled(2 * count).await;
    let mixed = platform
        .number("select count(*) from (select from core.batch_entities group by batch_id having sum(quarantined) > 0 and sum(received) > sum(quarantined)) b")
        .await;
    assert!(mixed > 0, "no batch held both good and bad messages");

    let mut quarantine: HashMap<_, Vec<_>> = HashMap::new();
    for row in platform.quarantine().await {
        let key = (row.queue.clone(), row.body.clone());
        quarantine.entry(key).or_default().push(row);
    }
    for case in &cases {
        let what = case.what;
        let queue = match case.message.exchange {
            "" => LEGACY.to_owned(),
            _ => acequia_net::topology::queue_of(DOMAIN),
        };
        let rows = quarantine.remove(&(queue, case.message.body.clone()));
        let rows = rows.unwrap_or_else(|| panic!("{what}: not in quarantine with its own bytes"));
        let [row] = rows.as_slice() else {
            panic!("{what}: {} times in quarantine", rows.len());
        };
        let expected = (case.code.stage().as_str(), case.code.as_str(), case.path);
        assert_eq!(row.reason(), expected, "{what}: {}", row.violations);
        assert_eq!(row.entity.as_deref(), case.entity, "{what}");
        assert_eq!(
            (row.domain.as_str(), row.occurrences, row.status.as_str()),
            (DOMAIN, 1, "open"),
            "{what}"
        );
        assert_eq!(row.violations[0]["code"], case.code.as_str(), "{what}");
    }
    assert!(quarantine.is_empty(), "more in quarantine than was sent");

    let in_core = platform
        .number("select count(*) from academico.alumnos")
        .await;
    assert_eq!(in_core, count, "a good neighbour is missing");
    let total = platform.total().await;
    assert_eq!((total.quarantined, total.inserted), (count, count));
    assert_eq!((total.duplicates, total.unaccounted), (0, 0));

    // It goes on as if nothing had been.
    worker.ready().await;
    platform.publish_all([&alumno(1)]).await;
    platform.settled(2 * count + 1).await;
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        count + 1
    );
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_properties_do_no_harm_and_are_kept() {
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    let table = |entries: Vec<(&str, AMQPValue)>| -> FieldTable {
        let entries = entries.into_iter();
        entries
            .map(|(name, value)| (ShortString::from(name), value))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into()
    };
    let nested = (0..20).fold(text("inside"), |inside, _| {
        AMQPValue::FieldTable(table(vec![("a", inside)]))
    });
    let every_type = table(vec![
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-1)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-1)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-1)),
        ("u32", AMQPValue::LongUInt(u32::MAX)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f64", AMQPValue::Double(1e300)),
        ("f32", AMQPValue::Float(1.5)),
        ("text", text("ñandú")),
        (
            "latin1",
            AMQPValue::LongString(LongString::from(vec![0xe9, 0x74, 0xe9])),
        ),
        ("nul", text("a\0b")),
        ("n\0l", text("in the name")),
        ("time", AMQPValue::Timestamp(u64::MAX)),
        ("void", AMQPValue::Void),
        (
            "list",
            AMQPValue::FieldArray(FieldArray::from(vec![text("a"), AMQPValue::Void])),
        ),
        (
            "table",
            AMQPValue::FieldTable(table(vec![("in", text("side"))])),
        ),
        ("bytes", AMQPValue::ByteArray(vec![0, 1, 2].into())),
        ("", text("no name")),
    ]);
    let long_id = "x".repeat(255);
    let odd: Vec<(&str, BasicProperties)> = vec![
        ("nothing", BasicProperties::default()),
        (
            "every type of header",
            BasicProperties::default().with_headers(every_type),
        ),
        (
            "tables in tables",
            BasicProperties::default().with_headers(table(vec![("deep", nested)])),
        ),
        (
            "100 kB in one header",
            BasicProperties::default()
                .with_headers(table(vec![("long", text(&"x".repeat(100_000)))])),
        ),
        (
            "an id of 255 characters",
            BasicProperties::default().with_message_id(long_id.as_str().into()),
        ),
        (
            "an empty id",
            BasicProperties::default().with_message_id("".into()),
        ),
        (
            "an id with a NUL",
            BasicProperties::default().with_message_id("a\0b".into()),
        ),
        (
            "an id of blanks",
            BasicProperties::default().with_message_id("   ".into()),
        ),
        (
            "a timestamp beyond time",
            BasicProperties::default().with_timestamp(u64::MAX),
        ),
        (
            "a publish time beyond time",
            BasicProperties::default().with_headers(table(vec![(
                "x-published-at",
                AMQPValue::LongLongInt(i64::MAX),
            )])),
        ),
        (
            "a publish time before time",
            BasicProperties::default().with_headers(table(vec![(
                "x-published-at",
                AMQPValue::LongLongInt(i64::MIN),
            )])),
        ),
        (
            "a publish time in words",
            BasicProperties::default()
                .with_headers(table(vec![("x-published-at", text("yesterday"))])),
        ),
        (
            "a type with a NUL",
            BasicProperties::default().with_type("alumno\0".into()),
        ),
        (
            "a type of another domain",
            BasicProperties::default().with_type("weather.rain".into()),
        ),
        (
            "everything else",
            BasicProperties::default()
                .with_content_type("application/json\0".into())
                .with_content_encoding("gzip".into())
                .with_priority(255)
                .with_correlation_id("c".into())
                .with_reply_to("r".into())
                .with_expiration("86400000".into())
                .with_app_id("a".into())
                .with_cluster_id("k".into()),
        ),
    ];
    let platform = Platform::new().await;
    platform.declare().await;
    let key = format!("{DOMAIN}.alumno");
    let message = |properties: &BasicProperties, body: Value| Message {
        exchange: acequia_net::topology::EXCHANGE,
        routing_key: key.clone(),
        properties: properties.clone(),
        body: body.to_string().into_bytes(),
    };
    // Each with a good body and with a bad one. Ids of good and bad messages are kept apart.
    let messages: Vec<Message> = zip(1.., &odd)
        .flat_map(|(id, (_, properties))| {
            let mut bad = alumno_body(id);
            bad["edad"] = json!(0);
            [
                message(properties, alumno_body(id)),
                message(properties, bad),
            ]
        })
        .collect();
    platform.publish_all(&messages).await;
    let worker = platform.worker(&[]);
    let count = i64::try_from(odd.len()).unwrap();
    platform.settled(2 * count).await;

    let total = platform.total().await;
    let quarantine = platform.quarantine().await;
    let others = (quarantine.iter()).filter(|row| row.reason().1 != "out_of_range");
    let others: Vec<_> = others.collect();
    assert_eq!(
        (total.inserted, total.quarantined, total.unaccounted),
        (count, count, 0),
        "{others:#?}"
    );
    for (message, (what, _)) in zip(messages.chunks(2).map(|pair| &pair[1]), &odd) {
        let row = quarantine.iter().find(|row| row.body == message.body);
        let row = row.unwrap_or_else(|| panic!("{what}: not in quarantine"));
        assert_eq!(
            row.reason(),
            ("contract", "out_of_range", Some("edad")),
            "{what}"
        );
        let headers = &row.properties["headers"];
        match *what {
            "every type of header" => assert_eq!(
                *headers,
                json!({
                    "bool": true, "i8": -1, "u8": 200, "i16": -1, "u16": 60_000, "i32": -1, "u32": u32::MAX, "i64": i64::MIN,
                    "f64": 1e300, "f32": 1.5, "text": "ñandú", "latin1": "\u{fffd}t\u{fffd}", "nul": "a\u{fffd}b",
                    "n\u{fffd}l": "in the name", "time": u64::MAX, "void": null, "list": ["a", null],
                    "table": {"in": "side"}, "bytes": headers["bytes"], "": "no name",
                })
            ),
            "tables in tables" => assert!(headers["deep"].to_string().contains(r#""a""#), "{what}"),
            "100 kB in one header" => assert_eq!(headers["long"].as_str().unwrap().len(), 100_000),
            "an id of 255 characters" => assert_eq!(row.properties["message_id"], long_id),
            "an id with a NUL" => assert_eq!(row.properties["message_id"], "a\u{fffd}b"),
            _ => {}
        }
    }
    worker.ready().await;
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

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
