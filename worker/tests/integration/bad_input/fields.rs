//! JSON objects with fields, texts and times that the contract does not accept.

use acequia_contracts::Code;

use super::{Case, bad, bad_mark, with};

pub(super) fn cases() -> Vec<Case> {
    let number = "9".repeat(300);
    vec![
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
    ]
}
