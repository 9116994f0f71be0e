//! Compares the catalog with tables, functions, fixtures, rules and dashboards, in both directions.

pub mod database;
mod files;
mod mutants;

use std::collections::{BTreeMap, BTreeSet};

use acequia_contracts::{Entity, catalog};
use acequia_testkit::root;

use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn the_database_has_every_piece_of_every_domain() {
    let platform = Platform::new().await;
    let domains: Vec<_> = catalog().iter().collect();
    let problems = database::problems(&mut platform.connect().await, &domains).await;
    assert!(problems.is_empty(), "{problems:#?}");
    // No two entities share what must be theirs.
    let entities = || catalog().iter().flat_map(|domain| &domain.entities);
    for pick in [
        |entity: &Entity| entity.staging,
        |entity: &Entity| entity.core,
        |entity: &Entity| entity.merge,
    ] {
        let distinct: BTreeSet<_> = entities().map(pick).collect();
        assert_eq!(distinct.len(), entities().count());
    }
}

#[test]
fn the_folder_has_every_piece_of_every_domain() {
    let domains: Vec<_> = catalog().iter().collect();
    let problems = files::problems(&root(), &domains);
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_can_be_asked() {
    let platform = Platform::new().await;
    for domain in catalog() {
        let results = acequia_store::quality::check(
            &mut platform.connect().await,
            domain.name,
            std::time::Duration::from_secs(60),
        )
        .await
        .unwrap();
        let broken: Vec<_> = results
            .iter()
            .filter(|result| result.outcome == "error")
            .collect();
        assert!(broken.is_empty(), "rules that cannot run: {broken:?}");
        assert!(!results.is_empty());
    }
}

/// The engine moves messages; what they are about is none of its business.
#[test]
fn the_engine_names_no_domain() {
    let mut nouns = BTreeMap::new();
    for domain in catalog() {
        let names = domain.entities.iter().map(|entity| entity.name);
        for name in names.chain([domain.name]).chain(domain.legacy_queue) {
            for plural in ["", "s", "es"] {
                nouns.insert(format!("{name}{plural}").to_lowercase(), name);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["worker/src", "publisher/src", "crates"] {
        let files = files::files_in(&root().join(folder));
        assert!(!files.is_empty());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (number, line) in std::iter::zip(1.., text.lines()) {
                let place = format!("{}:{number}: {}", file.display(), line.trim());
                if words(line).iter().any(|word| nouns.contains_key(word)) {
                    found.push(place);
                    continue;
                }
                let line = line.to_lowercase();
                if ["alumno", "inscripcion", "calificacion", "academico"]
                    .iter()
                    .any(|noun| line.contains(noun))
                {
                    found.push(place);
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "the engine names a domain:\n{}",
        found.join("\n")
    );
}

/// The words of a line, also those inside identifiers, in lower case.
fn words(line: &str) -> Vec<String> {
    let identifiers = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    // The one name of the platform's own that has a queue's name in it.
    let identifiers = identifiers.filter(|identifier| *identifier != "etl_run_log");
    let mut words = Vec::new();
    for part in identifiers.flat_map(|identifier| identifier.split('_')) {
        words.push(String::new());
        let mut last_was_lower = false;
        for letter in part.chars() {
            if letter.is_uppercase() && last_was_lower {
                words.push(String::new());
            }
            last_was_lower = letter.is_lowercase();
            if let Some(word) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
    }
    words
}

#[test]
fn words_are_found_inside_identifiers() {
    let found = words("let EtlQueue = load_etl(etl_run_log);");
    let found: Vec<_> = found.iter().filter(|word| !word.is_empty()).collect();
    assert_eq!(found, ["let", "etl", "queue", "load", "etl"]);
}

/// The text of a message never becomes part of a statement. sqlx takes nothing but literals, except by
/// these ways, and these files use them only with text of this program.
#[test]
fn sql_is_made_of_literals_and_of_the_catalog_only() {
    const WAYS: [&str; 6] = [
        "AssertSqlSafe",
        "QueryBuilder",
        ".leak(",
        "Box::leak",
        ".copy_in_raw(",
        ".copy_out_raw(",
    ];
    const FILTERS: &str = "conditions written here, values bound";
    const CATALOG: &str = "names of tables and columns from the catalog, values bound";
    const COPY: &str = "statements that functions of the database make of its own catalog";
    const ALLOWED: [(&str, &str); 21] = [
        ("crates/archive/src/restore.rs", COPY),
        ("crates/archive/src/session.rs", COPY),
        ("crates/store/src/staging/copies.rs", CATALOG),
        ("crates/store/src/staging/insert.rs", CATALOG),
        ("crates/schema/src/driver.rs", "migrations of this program"),
        (
            "crates/ops/src/doctor/rights.rs",
            "names of functions that stand there",
        ),
        (
            "crates/schema/src/kept.rs",
            "statements that the server makes of its catalog",
        ),
        (
            "crates/schema/src/replace.rs",
            "names in files of this program",
        ),
        (
            "crates/schema/src/roles.rs",
            "a role's verifier, quoted by the server",
        ),
        ("crates/ops/src/freshness.rs", "literals of this file"),
        (
            "crates/ops/src/marts/rows.rs",
            "columns of the mart as the server names and quotes them; values are bound",
        ),
        ("crates/ops/src/quarantine/filters.rs", FILTERS),
        ("crates/ops/src/quarantine/list.rs", FILTERS),
        ("crates/ops/src/quarantine/mark.rs", FILTERS),
        ("crates/ops/src/quarantine/mod.rs", FILTERS),
        ("crates/ops/src/quarantine/revision.rs", FILTERS),
        ("crates/ops/src/quarantine/show.rs", FILTERS),
        ("crates/ops/src/quarantine/stats.rs", FILTERS),
        ("crates/ops/src/trace/core_row.rs", CATALOG),
        ("crates/ops/src/trace/mod.rs", "a number of milliseconds"),
        ("crates/ops/src/trace/staged.rs", CATALOG),
    ];
    let root = root();
    let mut used = BTreeSet::new();
    for folder in ["worker/src", "crates"] {
        for path in files::files_in(&root.join(folder)) {
            let text = std::fs::read_to_string(&path).unwrap();
            if WAYS.iter().any(|way| text.contains(way)) {
                used.insert(path.strip_prefix(&root).unwrap().display().to_string());
            }
        }
    }
    let allowed = ALLOWED.map(|(file, _)| file.to_owned());
    assert_eq!(used, BTreeSet::from(allowed));
}
