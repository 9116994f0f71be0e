//! Which crate may use which, and what shared crates must not contain.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use acequia_testkit::root;

/// Crates of ours with those that they may use; see docs/architecture.md. The programs of `testing/` may use
/// all, and so may the tests of every crate.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("contracts", &[]),
    ("crates/net", &[]),
    ("crates/telemetry", &[]),
    ("crates/store", &["contracts", "net"]),
    ("crates/schema", &["contracts", "net", "store"]),
    ("crates/archive", &["net", "store"]),
    ("crates/ops", &["archive", "contracts", "net", "store"]),
    (
        "worker",
        &[
            "archive",
            "contracts",
            "net",
            "ops",
            "schema",
            "store",
            "telemetry",
        ],
    ),
    ("publisher", &["contracts", "net", "telemetry"]),
    ("api", &["contracts", "net", "ops", "store", "telemetry"]),
];

/// Crates that command lines and APIs share: they take plain parameters and print nothing.
const SHARED: [&str; 4] = [
    "crates/store",
    "crates/schema",
    "crates/archive",
    "crates/ops",
];

/// Names of the libraries that a crate uses outside of its tests.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let sections = text.lines().filter(|line| line.starts_with('['));
    let others: Vec<_> = sections
        .filter(|line| {
            line.contains("dependencies")
                && !matches!(*line, "[dependencies]" | "[dev-dependencies]")
        })
        .collect();
    assert!(others.is_empty(), "{folder}: {others:?} is not read here");
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split(['.', ' ', '=']).next()?.to_owned()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn no_crate_uses_another_than_it_may() {
    for (folder, may_use) in MAY_USE {
        let used = dependencies(folder);
        assert!(used.len() > 3, "{folder}: {used:?}");
        let ours = used.iter().filter_map(|name| name.strip_prefix("acequia-"));
        let more: Vec<_> = ours.filter(|name| !may_use.contains(name)).collect();
        assert!(more.is_empty(), "{folder} may not use {more:?}");
    }
}

/// A new crate has to be given its place.
#[test]
fn every_crate_has_its_place() {
    let known: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            known.contains_key(format!("crates/{name}").as_str()),
            "{name}"
        );
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members"));
    assert_eq!(
        members,
        Some(r#"members = ["contracts", "worker", "publisher", "api", "crates/*", "testing/*"]"#)
    );
}

#[test]
fn shared_crates_have_no_options_and_print_nothing() {
    for folder in SHARED {
        assert!(!dependencies(folder).contains("clap"), "{folder}");
        for file in files_in(&root().join(folder).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            for call in ["println!(", "print!(", "stdout()", "stderr()", "ExitCode"] {
                assert!(!text.contains(call), "{}: {call}", file.display());
            }
        }
    }
}
