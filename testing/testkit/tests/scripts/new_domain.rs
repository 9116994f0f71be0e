//! `scripts/new-domain.sh`, in a copy of the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use acequia_testkit::root;

use super::Folder;

/// Every file below a folder, with its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

/// A domain is made and deleted again in a copy of the tree. The build of a domain takes minutes and is
/// not part of this test (docs/adding-a-domain.md).
#[test]
fn a_new_domain_is_written_and_deleted_without_a_trace() {
    let folder = Folder::new();
    let mut listed = Command::new("git");
    let listed = listed
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let parts = [
        "contracts/",
        "crates/",
        "docs/",
        "grafana/",
        "prometheus/",
        "publisher/",
        "scripts/",
        "sql/",
        "worker/",
    ];
    for file in listed
        .split('\0')
        .filter(|file| parts.iter().any(|part| file.starts_with(part)))
    {
        // A file that somebody is about to delete is listed still.
        if let Ok(bytes) = std::fs::read(root().join(file)) {
            let mode = std::fs::metadata(root().join(file)).unwrap().permissions();
            let copy = folder.write(file, bytes);
            std::fs::set_permissions(copy, mode).unwrap();
        }
    }
    let run = |arguments: &[&str]| {
        let script = folder.0.join("scripts/new-domain.sh");
        let output = Command::new(script).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let before = tree(&folder.0);
    assert!(before.len() > 500, "{}", before.len());

    // Names that cannot be one; nothing is written.
    for (arguments, why) in [
        (&["Almacen"][..], "3 to 20 letters"),
        (&["al_macen"], "3 to 20 letters"),
        (&["select"], "a word of SQL"),
        (&["batch"], "the engine's code uses the word"),
        (&["academico"], "there is a domain academico"),
        (&["schema"], "the engine's code uses the word"),
        (
            &["almacen", "--entity", "alumno"],
            "there is an entity alumno",
        ),
        (&["almacen", "--entity"], "--entity needs a name"),
        (&["almacen", "--what"], "unknown option --what"),
        (
            &["--remove", "almacen"],
            "no domain almacen that this script made",
        ),
        (
            &["--remove", "consumo"],
            "this script did not make domain consumo",
        ),
        (&[], "which domain?"),
    ] {
        let (code, said) = run(arguments);
        assert!(
            code == Some(2) && said.contains(why),
            "{arguments:?}: {said}"
        );
    }
    assert!(tree(&folder.0) == before);

    let make = ["almacen", "--entity", "paquete", "--no-build"];
    let (code, said) = run(&make);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ACEQUIA_REWRITE=1"), "{said}");
    let made = tree(&folder.0);
    for file in [
        "contracts/fixtures/almacen/paquete/invalid/id_missing.json",
        "contracts/fixtures/almacen/paquete/valid/full.json",
        "contracts/src/almacen/generate.rs",
        "contracts/src/almacen/mod.rs",
        "docs/marts/almacen.md",
        "grafana/src/domains/almacen.yml",
        "sql/demo/almacen.sql",
        "sql/routines/almacen/7_marts.sql",
        "sql/rules/almacen.sql",
    ] {
        assert!(made.contains_key(Path::new(file)), "no {file}");
    }
    let text = |file: &str| String::from_utf8(made[Path::new(file)].clone()).unwrap();
    let catalog = text("contracts/src/lib.rs");
    assert!(
        catalog.contains("pub mod almacen;\n") && catalog.contains("        almacen::domain(),\n")
    );
    assert!(text("docs/contracts.md").contains("\n## almacen\n"));
    assert!(text("docs/marts/README.md").contains("](almacen.md)"));
    let number = |file: &PathBuf| {
        Some(
            file.strip_prefix("sql/migrations")
                .ok()?
                .to_str()?
                .get(..5)?
                .to_owned(),
        )
    };
    let numbers: Vec<_> = made.keys().filter_map(number).collect();
    let migration = format!("sql/migrations/{}__almacen.sql", numbers.last().unwrap());
    assert!(
        text(&migration).contains("create table almacen.paquetes ("),
        "{migration}"
    );
    assert_eq!(
        numbers.len(),
        numbers.iter().collect::<BTreeSet<_>>().len(),
        "{numbers:?}"
    );
    for (file, bytes) in &made {
        if before.get(file) != Some(bytes) {
            let text = String::from_utf8_lossy(bytes);
            assert!(
                !["@domain@", "@entity@", "@Domain@", "@Entity@", "@next@"]
                    .iter()
                    .any(|place| text.contains(place)),
                "{}",
                file.display()
            );
        }
    }
    // As rustfmt writes it, whatever the length of the names.
    let sources = ["lib.rs", "almacen/mod.rs", "almacen/generate.rs"];
    let sources = sources.map(|file| folder.0.join("contracts/src").join(file));
    let format = ["--check", "--edition", "2024"];
    if let Ok(formatted) = Command::new("rustfmt").args(format).args(sources).output() {
        assert!(formatted.status.success(), "{formatted:?}");
    }

    // It is not written twice, and what somebody changed is not deleted unasked.
    let (code, said) = run(&make);
    assert!(
        code == Some(2) && said.contains("there is a domain almacen"),
        "{said}"
    );
    folder.write("sql/demo/almacen.sql", "-- demo: almacen --records 5\n");
    let (code, said) = run(&["--remove", "almacen"]);
    assert!(
        code == Some(2) && said.contains("have been changed: sql/demo/almacen.sql"),
        "{said}"
    );
    folder.write(
        "sql/demo/almacen.sql",
        &made[Path::new("sql/demo/almacen.sql")],
    );

    let (code, said) = run(&["--remove", "almacen"]);
    assert_eq!(code, Some(0), "{said}");
    let after = tree(&folder.0);
    let changed = after
        .iter()
        .filter(|(file, bytes)| before.get(*file) != Some(*bytes));
    let changed: Vec<_> = changed.map(|(file, _)| file).collect();
    let gone: Vec<_> = before
        .keys()
        .filter(|file| !after.contains_key(*file))
        .collect();
    assert!(
        changed.is_empty() && gone.is_empty(),
        "{changed:?} {gone:?}"
    );
}
