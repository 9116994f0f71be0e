//! Messages that say that their key is gone: what they do, and which of them are refused.

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Code, Context, Violation};
use acequia_ops::trace::MessageTrace;
use acequia_ops::trace::staged::Outcome;
use serde_json::json;
use uuid::Uuid;

use super::bench::{Feed, delivery, feed, install};
use super::cases::{Says, Sent};
use super::domain::domain;
use super::oracle::Heard;
use crate::drift::database::tables_and_merge;
use crate::support::Platform;

/// Message `number` about article 1, at this minute.
fn article(number: u128, minute: i64, says: Says) -> Sent {
    let body = json!({"id_articulo": 1, "nombre": format!("version {number}")});
    Sent {
        heard: Heard {
            entity: "articulo",
            id: Uuid::from_u128(number),
            at: 1_709_294_400_000_000 + minute * 60_000_000,
            deletes: says != Says::Nothing,
            body: body.as_object().unwrap().clone(),
        },
        says,
        untimed: false,
    }
}

async fn send(feed: &mut Feed, sent: &Sent) {
    feed.stage(&[delivery(1, sent)]).await;
    feed.promote_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_message_brings_a_deleted_key_back() {
    let platform = Platform::new().await;
    install(&mut platform.connect().await).await;
    let mut feed = feed(&platform).await;
    let sold = "select id_articulo || ' ' || nombre from pruebas.en_venta";
    let row = "select coalesce(nombre, '-') || ' ' || (deleted_at = event_at and deleted_at is not null)::text from pruebas.articulos";

    send(&mut feed, &article(1, 1, Says::Nothing)).await;
    assert_eq!(platform.texts(sold).await, ["1 version 1"]);
    send(&mut feed, &article(2, 3, Says::Body)).await;
    assert!(platform.texts(sold).await.is_empty());
    assert_eq!(platform.texts(row).await, ["- true"]);
    // Older than the delete: it stays out.
    send(&mut feed, &article(3, 2, Says::Nothing)).await;
    assert_eq!(platform.texts(row).await, ["- true"]);
    // Deleted once more, by header: nothing changes but the version.
    send(&mut feed, &article(4, 4, Says::Header)).await;
    send(&mut feed, &article(5, 5, Says::Nothing)).await;
    assert_eq!(platform.texts(sold).await, ["1 version 5"]);
    send(&mut feed, &article(6, 6, Says::WholeBody)).await;
    assert!(platform.texts(sold).await.is_empty());

    // The trace of the message shows it.
    let trace = async |number: u128| {
        let id = Uuid::from_u128(number);
        let identity = Identity::of_text(&id.to_string());
        let mut connection = platform.connect().await;
        let domains = std::slice::from_ref(domain());
        MessageTrace::read_in(&mut connection, domains, "", identity, false)
            .await
            .unwrap()
            .outcome
    };
    assert_eq!(trace(6).await, Outcome::Deleted);
    assert_eq!(trace(5).await, Outcome::Superseded);

    let ledger = "select format('%s %s %s %s %s %s %s', received, promoted, inserted, updated, unchanged, stale, deleted)
        from core.conservation where domain = 'pruebas' and difference = 0";
    assert_eq!(platform.texts(ledger).await, ["6 5 1 1 1 1 2"]);
}

/// The drift test names tables that do not fit an entity with deletes.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_delete_are_named() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    install(&mut owner).await;
    for entity in &domain().entities {
        let amiss = tables_and_merge(&mut owner, entity).await;
        assert!(amiss.is_empty(), "{amiss:?}");
    }
    platform
        .execute(
            "alter table stg.pruebas_tarifa drop column deleted; \
             alter table pruebas.tarifas drop column deleted_at, alter column importe set not null",
        )
        .await;
    let tariff = domain().find("tarifa").unwrap();
    let amiss = tables_and_merge(&mut owner, tariff).await.join("\n");
    for words in [
        "stg.pruebas_tarifa",
        "deleted_at of",
        "importe of pruebas.tarifas",
    ] {
        assert!(amiss.contains(words), "{words}: {amiss}");
    }
}

/// Codes and paths of the violations of a body.
fn refused(entity: &str, body: &str, header: Option<&str>) -> Vec<(Code, String)> {
    let entity = domain().find(entity).unwrap();
    let mut columns = entity.new_columns();
    let context = Context::now();
    let decoded = match header {
        Some(op) => entity.decode_with_op(body, op, &context, &mut columns),
        None => entity.decode(body, &context, &mut columns),
    };
    assert_eq!(
        columns,
        entity.new_columns(),
        "nothing of a bad message is kept"
    );
    let violations = decoded.unwrap_err().into_iter();
    violations
        .map(|Violation { code, path, .. }| (code, path.into_owned()))
        .collect()
}

#[test]
fn a_bad_delete_is_refused_with_code_and_field() {
    let at = |code, path: &str| vec![(code, path.to_owned())];
    for (entity, body, header, expected) in [
        (
            "familia",
            r#"{"id_familia":1,"_op":"delete"}"#,
            None,
            at(Code::DeleteNotAllowed, "_op"),
        ),
        (
            "familia",
            r#"{"id_familia":1}"#,
            Some("delete"),
            at(Code::DeleteNotAllowed, "x-op"),
        ),
        (
            "articulo",
            r#"{"id_articulo":1}"#,
            Some("truncate"),
            at(Code::NotAllowed, "x-op"),
        ),
        (
            "articulo",
            r#"{"id_articulo":1}"#,
            Some(""),
            at(Code::NotAllowed, "x-op"),
        ),
        (
            "articulo",
            r#"{"id_articulo":1,"nombre":"a","_op":"c"}"#,
            None,
            at(Code::NotAllowed, "_op"),
        ),
        (
            "articulo",
            r#"{"_op":"delete","nombre":"a"}"#,
            None,
            at(Code::MissingField, "id_articulo"),
        ),
        (
            "articulo",
            r#"{"_op":"delete","id_articulo":0}"#,
            None,
            at(Code::OutOfRange, "id_articulo"),
        ),
        (
            "articulo",
            r#"{"_op":"delete","id_articulo":1,"id_articulo":2}"#,
            None,
            at(Code::DuplicateField, "id_articulo"),
        ),
        (
            "articulo",
            r#"{"_op":"delete","_op":"delete","id_articulo":1}"#,
            None,
            at(Code::DuplicateField, "_op"),
        ),
        (
            "articulo",
            r#"{"_op":"delete","id_articulo":1,"ts":"yesterday"}"#,
            None,
            at(Code::InvalidDate, "ts"),
        ),
        (
            "articulo",
            r#"{"_op":1,"id_articulo":1,"nombre":"a"}"#,
            None,
            at(Code::InvalidType, "_op"),
        ),
        (
            "tarifa",
            r#"{"id_articulo":1,"codigo":"a\u0000"}"#,
            Some("delete"),
            at(Code::NulCharacter, "codigo"),
        ),
        ("articulo", "[]", Some("delete"), at(Code::InvalidType, "")),
    ] {
        assert_eq!(
            refused(entity, body, header),
            expected,
            "{entity} {body} {header:?}"
        );
    }
    // Values of a delete do not count, whatever they are; the header comes before the body.
    let entity = domain().find("articulo").unwrap();
    let mut columns = entity.new_columns();
    let context = Context::now();
    let body = r#"{"id_articulo":1,"precio":"much","_op":"upsert","ts":"2024-03-01T12:00:00Z"}"#;
    let envelope = entity
        .decode_with_op(body, " Delete ", &context, &mut columns)
        .unwrap();
    assert_eq!(envelope.op, acequia_contracts::Op::Delete);
    assert!(envelope.ts.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_not_allowed_goes_to_quarantine() {
    let platform = Platform::new().await;
    install(&mut platform.connect().await).await;
    let mut feed = feed(&platform).await;
    let mut sent = article(1, 1, Says::Header);
    sent.heard.entity = "familia";
    sent.heard.body = json!({"id_familia": 1}).as_object().unwrap().clone();
    send(&mut feed, &sent).await;
    let found = "select stage || ' ' || code || ' ' || field_path from raw.quarantine";
    assert_eq!(
        platform.texts(found).await,
        ["contract delete_not_allowed x-op"]
    );
}

/// A delete whose row a table refuses is in quarantine as a delete: a replay must not bring an empty version.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delete_stays_a_delete_in_quarantine() {
    let platform = Platform::new().await;
    install(&mut platform.connect().await).await;
    let mut feed = feed(&platform).await;
    platform
        .execute(
            "alter table pruebas.articulos add constraint none_goes check (deleted_at is null)",
        )
        .await;
    send(&mut feed, &article(1, 1, Says::Body)).await;
    let found = "select code || ' ' || (convert_from(body, 'UTF8')::jsonb - 'ts')::text from raw.quarantine";
    let found = platform.texts(found).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (code, body) = found[0].split_once(' ').unwrap();
    assert_eq!(code, "merge_refused");
    let entity = domain().find("articulo").unwrap();
    let mut columns = entity.new_columns();
    let envelope = entity.decode(body, &Context::now(), &mut columns).unwrap();
    assert_eq!(envelope.op, acequia_contracts::Op::Delete);
}
