//! The generated merges as they stand in the tree.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use acequia_contracts::{MergeKind, catalog};
use acequia_schema::merge_sql;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/generated")
}

/// `ACEQUIA_REWRITE=1` writes the files instead of comparing them.
#[test]
fn each_generated_merge_stands_in_the_tree() {
    let rewrite = std::env::var_os("ACEQUIA_REWRITE").is_some();
    let mut known = BTreeSet::new();
    for domain in catalog() {
        for entity in &domain.entities {
            let Some(text) = merge_sql(domain, entity) else {
                assert_eq!(entity.merge_spec.kind, MergeKind::Custom, "{}", entity.name);
                continue;
            };
            let function = entity.merge.split('.').next_back().unwrap();
            let file = folder().join(domain.name).join(format!("{function}.sql"));
            if rewrite {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, &text).unwrap();
            }
            let stands = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                stands == text,
                "{} is not what the catalog makes: ACEQUIA_REWRITE=1 writes it",
                file.display()
            );
            known.insert(file);
        }
    }
    assert!(!known.is_empty());
    let mut there = BTreeSet::new();
    for domain in std::fs::read_dir(folder()).unwrap() {
        for file in std::fs::read_dir(domain.unwrap().path()).unwrap() {
            there.insert(file.unwrap().path());
        }
    }
    assert_eq!(there, known, "files of no merge");
}

#[test]
fn no_line_is_longer_than_a_screen() {
    let domains = catalog().iter();
    let texts = domains.flat_map(|domain| {
        domain
            .entities
            .iter()
            .filter_map(|entity| merge_sql(domain, entity))
    });
    for line in texts.flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()) {
        assert!(line.chars().count() <= 150, "{line}");
        assert_eq!(line, line.trim_end());
    }
}

#[test]
fn each_hook_is_made_by_a_file_of_its_domain() {
    for domain in catalog() {
        let folder = folder().join("../routines").join(domain.name);
        let files = std::fs::read_dir(folder).unwrap();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let texts: String = texts.collect();
        for entity in &domain.entities {
            let hook = format!("function {}.after_{}(", domain.name, entity.name);
            let declared = !entity.merge_spec.hook.is_empty();
            assert_eq!(texts.contains(&hook), declared, "{hook}");
        }
    }
}
