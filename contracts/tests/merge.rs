//! Declarations of merges, and the errors that name their contradictions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use acequia_contracts::{
    Change, Date, Domain, MergeKind, MergeSpec, MissingParent, catalog, message,
};

/// Message types of a domain that is made up here.
macro_rules! site {
    ($name:ident, $($rest:tt)+) => {
        message! {
            $($rest)+;

            /// A message.
            pub struct $name {
                /// Number.
                pub id: i32,
                /// Number of another row.
                pub other: Option<i32>,
                /// A text.
                pub label: Option<String>,
                /// A day.
                pub held_on: Option<Date>,
            }
        }
    };
}

site! { Plain, entity "plain", staging "stg.plain", merge "demo.merge_plain", core "demo.plain", key ["id"] }
site! {
    Full, entity "full", staging "stg.full", merge upsert "demo.merge_full", core partitioned "demo.full",
    key ["id" as "number"], aliases [("name", "label")], dated held_on,
    parents [(["other"], "plain"), (["id"], "log", unknown), (["id"], "plain", infer)],
    defaults ["label" = "none", "other" = 7], hook [inserted, updated]
}
site! { Log, entity "log", staging "stg.log", merge append "demo.merge_log", core "demo.log", key ["id"] }
site! {
    Wrong, entity "wrong", staging "stg.wrong", merge "demo.merge_wrong", core "demo.wrong",
    key ["other", "number"], aliases [("x", "nothing")], dated held_on,
    parents [(["other"], "nobody"), (["gone"], "plain"), (["label"], "plain"), (["id", "other"], "plain"),
             (["id"], "log"), (["id"], "wrong"), (["id"], "full", infer)],
    defaults ["id" = 1, "other" = "seven", "none" = 1, "label" = "a", "label" = "b",
              "held_on" = "2024-01-01"]
}
site! {
    Custom, entity "custom", staging "stg.custom", merge custom "demo.merge_custom", core "demo.custom",
    key ["id"], defaults ["other" = 1]
}
site! {
    Hooked, entity "hooked", staging "stg.hooked", merge append "demo.merge_hooked", core "demo.hooked",
    key ["id"], hook [inserted]
}

#[test]
fn a_declaration_says_what_its_merge_does() {
    let domain = Domain::new("demo")
        .entity::<Plain>()
        .entity::<Log>()
        .entity::<Full>();
    let spec = |name: &str| domain.find(name).map(|entity| entity.merge_spec).unwrap();
    assert_eq!(spec("plain"), MergeSpec::DEFAULT);
    assert_eq!(spec("log").kind, MergeKind::Append);
    let full = spec("full");
    assert_eq!((full.kind, full.partitioned), (MergeKind::Upsert, true));
    assert_eq!(full.key_column("id"), "number");
    assert_eq!(full.key_column("other"), "other");
    assert_eq!(full.dated, Some("held_on"));
    let missing: Vec<_> = full.parents.iter().map(|parent| parent.missing).collect();
    let (wait, unknown, infer) = (
        MissingParent::Wait,
        MissingParent::Unknown,
        MissingParent::Infer,
    );
    assert_eq!(missing, [wait, unknown, infer]);
    let entity = domain.find("full").unwrap();
    let defaults = entity.columns.iter().map(|column| full.default_of(column));
    assert_eq!(
        defaults.collect::<Vec<_>>(),
        [None, Some("7"), Some("\"none\""), None]
    );
    assert_eq!(full.hook, [Change::Inserted, Change::Updated]);
}

/// The problems that the check finds.
fn problems(domain: &Domain) -> Vec<String> {
    domain.check().unwrap_err().0
}

#[test]
fn a_contradiction_is_named_with_entity_and_column() {
    let domain = Domain::new("demo")
        .entity::<Plain>()
        .entity::<Log>()
        .entity::<Wrong>()
        .entity::<Full>();
    let mut found = problems(&domain);
    let of_full: Vec<_> = found
        .extract_if(.., |text| text.contains("demo.full:"))
        .collect();
    assert_eq!(
        of_full,
        ["demo.full: parent log of id has many rows of a key"]
    );
    assert_eq!(
        found,
        [
            "key column other must not be optional",
            "key column number is no field",
            "alias x stands for nothing, which is no field",
            "default column id is required",
            "default \"seven\" is no value of column other",
            "default column none is no field",
            "column label has two defaults",
            "column label has two defaults",
            "column held_on has a default and is dated",
            "parent nobody of other is no entity of the domain",
            "parent column gone is no field",
            "parent column label is text, key id of plain is integer",
            "parent plain of id, other has the key id",
            "parent log of id has many rows of a key",
            "parent wrong of id must stand before it in the list of the domain",
            "parent full of id must stand before it in the list of the domain",
        ]
        .map(|text| format!("demo.wrong: {text}"))
    );
    let error = domain.check().unwrap_err().to_string();
    assert!(
        error.starts_with("catalog: demo.wrong: key column other"),
        "{error}"
    );
}

#[test]
fn what_a_kind_of_merge_cannot_have_is_refused() {
    let named = |domain: Domain| problems(&domain).join("\n");
    let custom = named(Domain::new("demo").entity::<Custom>());
    assert!(
        custom.contains("demo.custom: demo.merge_custom is written by hand"),
        "{custom}"
    );
    let hooked = named(Domain::new("demo").entity::<Hooked>());
    assert!(hooked.contains("demo.hooked: an appended row"), "{hooked}");
    let twice = named(Domain::new("demo").entity::<Plain>().entity::<Plain>());
    assert_eq!(twice, "demo.plain is there twice");
    let late = Domain::new("demo")
        .entity::<Log>()
        .entity::<Plain>()
        .entity::<Full>()
        .entity::<Wrong>();
    let late = named(late);
    assert!(
        late.contains("demo.wrong: parent full of id cannot be inferred"),
        "{late}"
    );
}

#[test]
fn a_name_of_the_platform_is_no_field() {
    message! {
        entity "timed", staging "stg.timed", merge "demo.merge_timed", core "demo.timed", key ["id"];

        /// A message.
        pub struct Timed {
            /// Number.
            pub id: i32,
            /// A time.
            pub event_at: Option<i64>,
        }
    }
    let domain = Domain::new("demo").entity::<Timed>();
    assert_eq!(
        problems(&domain),
        ["demo.timed: field event_at has the name of a column of the platform"]
    );
}

#[test]
fn the_catalog_fits_together() {
    for domain in catalog() {
        assert_eq!(domain.check(), Ok(()), "{}", domain.name);
    }
}
