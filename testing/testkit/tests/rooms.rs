//! Which crate may use which, and what shared crates must not contain.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use acequia_testkit::root;

/// Crates of ours with those that they may use; see docs/architecture.md. The programs of `testing/` may use
/// all, and so may the tests of every crate.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("contracts", &[]),
    ("crates/net", &[]),
    ("crates/telemetry", &[]),
    ("crates/messaging", &["net", "telemetry"]),
    ("crates/store", &["contracts", "net"]),
    ("crates/args", &["net", "store"]),
    ("crates/schema", &["contracts", "net", "store"]),
    ("crates/archive", &["net", "store"]),
    ("crates/ops", &["archive", "contracts", "net", "store"]),
    (
        "worker",
        &[
            "archive",
            "args",
            "contracts",
            "messaging",
            "net",
            "ops",
            "schema",
            "store",
            "telemetry",
        ],
    ),
    ("publisher", &["contracts", "net", "telemetry"]),
    (
        "api",
        &["args", "contracts", "net", "ops", "store", "telemetry"],
    ),
];

/// Crates that command lines and APIs share: they take plain parameters and print nothing.
const SHARED: [&str; 5] = [
    "crates/store",
    "crates/schema",
    "crates/archive",
    "crates/ops",
    "crates/messaging",
];

/// Maximum number of lines of code in `worker`: loops and command line.
const MOST_OF_WORKER: usize = 6_000;
/// Files have fewer lines than this, tests apart.
const MOST_OF_A_FILE: usize = 400;

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
            // Says where it stopped, to the test that ordered it; no part of what is installed.
            if file.ends_with("failpoint.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for call in ["println!(", "print!(", "stdout()", "stderr()", "ExitCode"] {
                assert!(!text.contains(call), "{}: {call}", file.display());
            }
        }
    }
}

/// Sources of the workspace, those of tests apart.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_in(folder);
    files.retain(|file| {
        let of_tests = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        let below = file.strip_prefix(folder).unwrap();
        file.extension().is_some_and(|end| end == "rs") && !below.iter().any(of_tests)
    });
    files
}

/// Lines that are neither empty nor comments nor of a test module. Sources are formatted, so an item ends with the
/// first line that begins as far to the left as the item does and closes a brace, unless its first line ends it.
fn lines_of_code(text: &str) -> usize {
    let mut code = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare.is_empty() || bare.starts_with("//") {
            continue;
        }
        if bare != "#[cfg(test)]" {
            code += 1;
            continue;
        }
        let item = lines
            .by_ref()
            .find(|line| !line.trim_start().starts_with("#["));
        if item.is_some_and(|item| item.ends_with('{')) {
            let end = format!("{}}}", &line[..line.len() - bare.len()]);
            lines.by_ref().find(|line| *line == end);
        }
    }
    code
}

#[test]
fn code_differs_from_comments_and_tests() {
    let text = "//! A file.\n\n/// A function.\nfn one() {\n    two(); // calls\n}\n\n#[cfg(test)]\nuse that;\n\n\
        #[cfg(test)]\n#[allow(x)]\nmod tests {\n    #[test]\n    fn three() {\n    }\n}\n\nfn four() {}\n";
    assert_eq!(lines_of_code(text), 4);
}

#[test]
fn worker_is_loops_and_command_line() {
    let files = sources(&root().join("worker/src"));
    let of_file = |file: &PathBuf| lines_of_code(&std::fs::read_to_string(file).unwrap());
    let code: usize = files.iter().map(of_file).sum();
    assert!(code > 1_000, "{} files with {code} lines", files.len());
    assert!(
        code < MOST_OF_WORKER,
        "worker has {code} lines of code: move what is neither loop nor command line into a crate"
    );
}

/// Statements stand in the store, as typed functions.
#[test]
fn worker_has_no_sql() {
    for file in sources(&root().join("worker/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for call in ["sqlx::query", "raw_sql("] {
            assert!(!text.contains(call), "{}: {call}", file.display());
        }
    }
}

#[test]
fn no_source_file_is_long() {
    let folders = [
        "contracts",
        "worker",
        "publisher",
        "crates",
        "testing",
        "fuzz/fuzz_targets",
    ];
    let of_sources = |file: &PathBuf| !file.iter().any(|part| part == "target");
    let mut count = 0;
    for folder in folders {
        for file in sources(&root().join(folder)).into_iter().filter(of_sources) {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(
                lines < MOST_OF_A_FILE,
                "{} has {lines} lines; split it",
                file.display()
            );
            count += 1;
        }
    }
    assert!(count > 200, "{count} files");
}

/// The list by which `scripts/test.sh --quick` chooses tests: starts of paths with modules.
fn test_map() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("scripts/test-map.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.collect())
        })
        .collect()
}

#[test]
fn every_source_has_tests_for_a_quick_run() {
    let map = test_map();
    for (folder, _) in MAY_USE {
        for file in sources(&root().join(folder).join("src")) {
            let file = file
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let found = map.iter().any(|(start, _)| file.starts_with(start));
            assert!(found, "{file} stands in no line of scripts/test-map.txt");
        }
    }
}

#[test]
fn the_tests_of_a_quick_run_exist() {
    let suites =
        ["worker", "api", "publisher"].map(|name| root().join(name).join("tests/integration"));
    for (start, modules) in test_map() {
        let begins = |path: &str| path.starts_with(&start);
        let parent = root().join(start.rsplit_once('/').map_or("", |(parent, _)| parent));
        let mut there = std::fs::read_dir(&parent).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let folder = if path.is_dir() { "/" } else { "" };
            format!("{}{folder}", path.strip_prefix(root()).unwrap().display())
        });
        assert!(
            parent == root().join(&start) || there.any(|path| begins(&path)),
            "{start}"
        );
        assert!(!modules.is_empty(), "{start}");
        for module in modules {
            let name = module.strip_suffix("::").unwrap();
            let found = suites.iter().any(|suite| {
                suite.join(name).is_dir() || suite.join(name).with_extension("rs").is_file()
            });
            assert!(found, "{start}: {module}");
        }
    }
}
