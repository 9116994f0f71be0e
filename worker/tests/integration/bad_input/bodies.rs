//! Bodies that are no JSON, JSON that is nested too deep, and unknown entities.

use acequia_contracts::Code;

use super::{Case, LEGACY, bad, bad_legacy, nested_lists, nested_objects, with};
use crate::support::Message;
use crate::support::school::DOMAIN;

pub(super) fn cases() -> Vec<Case> {
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
