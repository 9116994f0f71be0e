//! Decoding as such: properties of every message type.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use acequia_contracts::rules::{decimal, trimmed};
use acequia_contracts::{
    Code, Context, Envelope, ExactDecimal, MAX_DEPTH, Message, Op, Values, Violation, decode,
    entity_of, message, nameless,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use validator::ValidationError;

message! {
    entity "gate", staging "stg.gates", merge "demo.merge_gates", core "demo.gates",
    key ["id_gate"], aliases [("id", "id_gate"), ("nombre", "name")];

    /// A gate of a channel.
    pub struct Gate {
        /// Its number.
        #[validate(range(min = 1))]
        pub id_gate: i32,
        /// Its name.
        #[serde(deserialize_with = "trimmed")]
        #[validate(length(min = 1, max = 200))]
        pub name: String,
        /// How wide it is open, in metres.
        #[validate(custom(function = "opening"))]
        pub opening: ExactDecimal,
    }
}

fn opening(metres: &ExactDecimal) -> Result<(), ValidationError> {
    let (limits, decimals) = ("must be between 0 and 10", "at most two decimals");
    decimal(*metres, Decimal::ZERO, Decimal::TEN, 2, limits, decimals)
}

fn context() -> Context {
    Context {
        now: "2024-12-01T00:00:00Z".parse().unwrap(),
    }
}

fn columns() -> Vec<Values> {
    let kinds = Gate::COLUMNS.iter().map(|column| column.kind);
    kinds.map(Values::new).collect()
}

fn take(body: &str) -> Result<(Envelope, Vec<Values>), Vec<Violation>> {
    let mut columns = columns();
    let taken = decode::<Gate>(body, &context(), &mut columns);
    taken.map(|envelope| (envelope, columns))
}

/// Path and code of everything that is wrong with a body.
fn wrong(body: &str) -> Vec<(String, Code)> {
    let violations = take(body).expect_err(body);
    let found = violations.into_iter();
    found.map(|v| (v.path.into_owned(), v.code)).collect()
}

fn gate(opening: &str) -> String {
    format!(r#"{{"id_gate":1,"name":"norte","opening":{opening}}}"#)
}

fn opening_of(body: &str) -> Decimal {
    match take(body).expect(body).1.pop() {
        Some(Values::Decimal(values)) => values[0].unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_an_object_is_a_message() {
    for body in ["[]", "null", "1", "true", r#""gate""#, r#"[1,"norte",0.5]"#] {
        assert_eq!(wrong(body), [(String::new(), Code::InvalidType)], "{body}");
    }
    // Also what begins as another kind of JSON and is none.
    for body in [
        "",
        " ",
        "{",
        "gate",
        "{}}",
        "{'id':1}",
        "\u{feff}{}",
        "[1,]",
        "[1",
        "[}",
        "1 2",
        "\"gate",
        "nul",
        "[]x",
        r#"{"id_gate":1,}"#,
        r#"{"id_gate":"one","name":[1,]}"#,
        "[{\"a\":1},]",
    ] {
        assert_eq!(wrong(body), [(String::new(), Code::InvalidJson)], "{body}");
    }
}

#[test]
fn a_field_may_come_under_its_alias() {
    let (_, by_alias) = take(r#"{"id":1,"nombre":"norte","opening":0}"#).unwrap();
    let (_, by_name) = take(&gate("0")).unwrap();
    assert_eq!(by_alias, by_name);
    // ... but not under both, even when they agree, and a key with escapes is the same key.
    for body in [
        r#"{"id":1,"id_gate":1,"name":"norte","opening":0}"#,
        r#"{"id_gate":1,"id_gat\u0065":1,"name":"norte","opening":0}"#,
    ] {
        assert_eq!(wrong(body), [("id_gate".to_owned(), Code::DuplicateField)]);
    }
}

#[test]
fn unknown_fields_are_counted_and_nothing_else() {
    let body = r#"{"id_gate":1,"a":null,"name":"norte","b":[1,{"c":2},{"c":1e400}],"opening":0,"A":"again"}"#;
    let (envelope, columns) = take(body).unwrap();
    assert_eq!(envelope.unknown_fields, 3);
    assert_eq!(columns, take(&gate("0")).unwrap().1);
}

#[test]
fn no_key_stands_twice() {
    let fields = r#""id_gate":1,"name":"norte","opening":0"#;
    for (more, path) in [
        (r#""entity":"gate","entity":"gate""#, "entity"),
        (r#""entity":null,"entity":"gate""#, "entity"),
        (r#""entity":"gate","\u0065ntity":"weir""#, "entity"),
        (r#""v":1,"v":1"#, "v"),
        (r#""v":null,"v":null"#, "v"),
        (r#""\u0076":1,"v":1"#, "v"),
        (r#""ts":null,"ts":"2024-06-10T16:20:00Z""#, "ts"),
        (r#""ts":"2024-06-10T16:20:00Z","ts":null"#, "ts"),
        (r#""event_id":null,"event_id":"17""#, "event_id"),
        (r#""opening":0"#, "opening"),
        (r#""openin\u0067":0"#, "opening"),
        (r#""nombre":"norte""#, "name"),
        (r#""x":1,"x":1"#, ""),
        (r#""x":1,"y":2,"\u0078":1"#, ""),
        (r#""x":{"a":1,"a":1}"#, ""),
        (r#""x":[[{"b":{"a":[],"\u0061":[]}}]]"#, ""),
    ] {
        let expected = [(path.to_owned(), Code::DuplicateField)];
        assert_eq!(wrong(&format!("{{{fields},{more}}}")), expected, "{more}");
        assert_eq!(wrong(&format!("{{{more},{fields}}}")), expected, "{more}");
    }
    // Many keys are looked at once each.
    let many: Vec<_> = (0..50_000).map(|n| format!("\"k{n}\":0")).collect();
    let body = format!("{{{fields},{}}}", many.join(","));
    assert_eq!(take(&body).unwrap().0.unknown_fields, 50_000);
}

#[test]
fn one_version_of_the_contract_is_served() {
    let with = |v: &str| format!(r#"{{"id_gate":1,"name":"norte","opening":0,"v":{v}}}"#);
    for v in ["1", "null"] {
        assert!(take(&with(v)).is_ok(), "{v}");
    }
    let huge = "9".repeat(400);
    for (v, code) in [
        ("0", Code::NotAllowed),
        ("2", Code::NotAllowed),
        ("99", Code::NotAllowed),
        ("-1", Code::NotAllowed),
        ("18446744073709551617", Code::NotAllowed),
        (huge.as_str(), Code::NotAllowed),
        ("\"1\"", Code::InvalidType),
        ("1.0", Code::InvalidType),
        ("1e0", Code::InvalidType),
        ("2.5", Code::InvalidType),
        ("true", Code::InvalidType),
        ("[1]", Code::InvalidType),
    ] {
        assert_eq!(wrong(&with(v)), [("v".to_owned(), code)], "{v}");
    }
}

#[test]
fn a_body_that_names_no_entity_gets_the_reason() {
    for (body, path, code) in [
        ("{}", "", Code::UnknownEntity),
        (r#"{"entity":null}"#, "", Code::UnknownEntity),
        (r#"{"entity":"unheard-of"}"#, "", Code::UnknownEntity),
        (r#"{"entity":7}"#, "", Code::UnknownEntity),
        (
            r#"{"entity":"gate","\u0065ntity":"gate"}"#,
            "entity",
            Code::DuplicateField,
        ),
        (r#"["gate"]"#, "", Code::UnknownEntity),
        ("7", "", Code::UnknownEntity),
        ("[7,]", "", Code::InvalidJson),
        ("{\"entity\":NaN}", "", Code::InvalidJson),
    ] {
        let violation = nameless(body);
        assert_eq!(
            (violation.path.as_ref(), violation.code),
            (path, code),
            "{body}"
        );
        let named = entity_of(body);
        assert!(
            named.is_none() || named.as_deref() == Some("unheard-of"),
            "{body}"
        );
    }
}

#[test]
fn the_envelope_is_read_wherever_it_stands() {
    let id = "0193a1b2-7c00-7abc-8def-0123456789ab";
    let body = format!(
        r#"{{"ts":"2024-06-10T18:20:00+02:00","entity":"gate","id_gate":1,"v":1,"name":"norte","opening":0,"event_id":"{id}"}}"#
    );
    let (envelope, _) = take(&body).unwrap();
    let expected = Envelope {
        ts: Some("2024-06-10T16:20:00Z".parse().unwrap()),
        event_id: Some(id.to_owned()),
        unknown_fields: 0,
        op: Op::Upsert,
    };
    assert_eq!(envelope, expected);
    assert_eq!(entity_of(&body).as_deref(), Some("gate"));
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let form = r#"{"id_gate":"one","opening":[],"ts":"2024-06-10T18:20:00","v":1.5}"#;
    let expected = [
        ("id_gate", Code::InvalidType),
        ("name", Code::MissingField),
        ("opening", Code::InvalidType),
        ("ts", Code::InvalidDate),
        ("v", Code::InvalidType),
    ];
    assert_eq!(
        wrong(form),
        expected.map(|(path, code)| (path.to_owned(), code))
    );

    // An unreadable field hides no rule of the other fields.
    let both = r#"{"id_gate":0,"name":7,"opening":10.005,"ts":"2999-01-01T00:00:00Z","v":2,"x":{"a":1,"a":2}}"#;
    let expected = [
        ("", Code::DuplicateField),
        ("id_gate", Code::OutOfRange),
        ("name", Code::InvalidType),
        ("opening", Code::OutOfRange),
        ("ts", Code::FutureDate),
        ("v", Code::NotAllowed),
    ];
    assert_eq!(
        wrong(both),
        expected.map(|(path, code)| (path.to_owned(), code))
    );

    let rules = r#"{"id_gate":0,"name":" \n","opening":10.5,"ts":"2999-01-01T00:00:00Z"}"#;
    let expected = [
        ("id_gate", Code::OutOfRange),
        ("name", Code::InvalidLength),
        ("opening", Code::OutOfRange),
        ("ts", Code::FutureDate),
    ];
    assert_eq!(
        wrong(rules),
        expected.map(|(path, code)| (path.to_owned(), code))
    );
}

#[test]
fn violations_of_all_rules_are_sorted_by_field() {
    let body = r#"{"id_gate":0,"name":"\u0000","opening":11,"ts":"2999-01-01T00:00:00Z"}"#;
    let expected = [
        ("id_gate", Code::OutOfRange),
        ("name", Code::NulCharacter),
        ("opening", Code::OutOfRange),
        ("ts", Code::FutureDate),
    ];
    assert_eq!(
        wrong(body),
        expected.map(|(path, code)| (path.to_owned(), code))
    );
}

#[test]
fn decimals_are_exact() {
    for (json, exact) in [
        ("8.70", "8.7"),
        ("8.7", "8.7"),
        ("0.1", "0.1"),
        ("1e1", "10"),
        ("-0", "0"),
        ("1.10000000000000000000", "1.1"),
        ("75e-2", "0.75"),
        ("8.750000000000000000000000000000000000000000", "8.75"),
        ("87500000000000000000000000000000000000000000e-43", "8.75"),
    ] {
        assert_eq!(opening_of(&gate(json)), exact.parse().unwrap(), "{json}");
    }
    for (json, code) in [
        (r#""8.7""#, Code::InvalidType),
        ("8.701", Code::TooPrecise),
        ("10.01", Code::OutOfRange),
        ("1e400", Code::OutOfRange),
        ("1.00000000000000000000000000000000000001", Code::TooPrecise),
        ("1e-320", Code::TooPrecise),
        ("-1e400", Code::OutOfRange),
    ] {
        let expected = [("opening".to_owned(), code)];
        assert_eq!(wrong(&gate(json)), expected, "{json}");
    }
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: usize| {
        let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"id_gate":1,"name":"norte","opening":0,"x":{lists}}}"#)
    };
    assert!(take(&nested(MAX_DEPTH - 1)).is_ok());
    for levels in [MAX_DEPTH, 200, 100_000] {
        assert_eq!(wrong(&nested(levels)), [(String::new(), Code::TooDeep)]);
    }
}

proptest! {
    #[test]
    fn a_text_goes_through_unchanged(name in "\\PC{1,200}|[^\u{0}]{1,200}") {
        let body = serde_json::json!({"id_gate": 1, "name": name, "opening": 0}).to_string();
        let name = name.trim();
        if name.is_empty() {
            prop_assert_eq!(wrong(&body), [("name".to_owned(), Code::InvalidLength)]);
        } else {
            let (_, columns) = take(&body).expect("a good name");
            prop_assert_eq!(&columns[1], &Values::Text(vec![Some(name.to_owned())]));
        }
    }
}
