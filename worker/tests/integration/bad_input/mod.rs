//! Bad messages among good ones: each ends in quarantine once, as it came, with its reason, and
//! none of its neighbours notices.

mod bodies;
mod fields;
mod properties;
mod samples;

use std::collections::HashMap;
use std::iter::zip;

use acequia_contracts::Code;
use serde_json::json;

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

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_end_in_quarantine_and_their_neighbours_in_the_core() {
    let platform = Platform::new().await;
    platform.declare().await;
    let cases: Vec<Case> = bodies::cases().into_iter().chain(fields::cases()).collect();
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
