//! Pieces that the project's folder must have for each domain, and for no other. Every function
//! returns the faults, in words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use acequia_contracts::Domain;

/// The page that says what a domain is made of.
pub(super) const PAGE: &str = "docs/adding-a-domain.md";
/// Its section with the files of a domain.
const SECTION: &str = "## The files of a domain";
/// What `scripts/new-domain.sh` makes the files of a domain from.
const TEMPLATES: &str = "scripts/new-domain";
/// The page that leads to the marts of each domain.
pub(super) const MARTS: &str = "docs/marts/README.md";
/// Folders with a piece for each domain, and the other files in them.
const FOLDERS: [(&str, &str); 8] = [
    ("sql/routines", "core"),
    ("sql/generated", ""),
    ("sql/rules", ""),
    ("sql/demo", ""),
    ("contracts/fixtures", ""),
    ("grafana/src/domains", ""),
    ("grafana/dashboards/domains", ""),
    ("docs/marts", "README"),
];
/// Where the pieces of domains are.
pub(super) const PLACES: [&str; 7] = [
    "contracts",
    "docs",
    "grafana",
    "prometheus",
    "scripts",
    "sql",
    "worker/tests",
];

/// Every problem of the folder.
pub(super) fn problems(root: &Path, domains: &[&Domain]) -> Vec<String> {
    let mut problems = Vec::new();
    for domain in domains {
        problems.extend(pieces(root, domain));
    }
    let known: BTreeSet<&str> = domains.iter().map(|domain| domain.name).collect();
    for (folder, not_a_domain) in FOLDERS {
        for file in std::fs::read_dir(root.join(folder)).into_iter().flatten() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if !known.contains(name.as_str()) && name != not_a_domain {
                problems.push(format!("of no domain: {folder}/{name}"));
            }
        }
    }
    problems.extend(listed(root, domains));
    problems
}

fn text(root: &Path, file: &str) -> String {
    std::fs::read_to_string(root.join(file)).unwrap_or_default()
}

/// All files below a folder.
pub(super) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The pieces that are named after the domain and its entities.
fn pieces(root: &Path, domain: &Domain) -> Vec<String> {
    let name = domain.name;
    let mut missing = Vec::new();
    let mut demand = |there: bool, piece: String| {
        if !there {
            missing.push(format!("missing: {piece}"));
        }
    };
    for file in [
        format!("contracts/src/{name}/mod.rs"),
        format!("sql/routines/{name}"),
        format!("sql/rules/{name}.sql"),
        // scripts/check_dashboards.py sees to it that the one is made from the other.
        format!("grafana/src/domains/{name}.yml"),
        format!("grafana/dashboards/domains/{name}.json"),
        format!("docs/marts/{name}.md"),
    ] {
        demand(root.join(&file).exists(), file);
    }
    let demo = format!("sql/demo/{name}.sql");
    let first = text(root, &demo).lines().next().unwrap_or("").to_owned();
    demand(
        first.starts_with(&format!("-- demo: {name}")) && domain.generator.is_some(),
        format!("{demo} with its messages, or the generator"),
    );
    let sql = |folder: &str| {
        let files = files_in(&root.join(folder));
        let texts = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap());
        texts.collect::<String>()
    };
    let migrations = sql("sql/migrations");
    let routines = ["routines", "generated"]
        .map(|kind| sql(&format!("sql/{kind}/{name}")))
        .concat();
    let page = text(root, "docs/contracts.md");
    demand(
        page.lines().any(|line| line == format!("## {name}")),
        format!("docs/contracts.md, section {name}"),
    );
    demand(
        text(root, MARTS).contains(&format!("]({name}.md)")),
        format!("{MARTS}, a row of {name}"),
    );
    for entity in &domain.entities {
        let what = format!("{name}.{}", entity.name);
        for verdict in ["valid", "invalid"] {
            let folder = format!("contracts/fixtures/{name}/{}/{verdict}", entity.name);
            demand(!files_in(&root.join(&folder)).is_empty(), folder);
        }
        let record = format!("contracts/tests/snapshots/fixtures__{what}.snap");
        demand(root.join(&record).exists(), record);
        for table in [entity.staging, entity.core] {
            let made = migrations.contains(&format!("create table {table} ("));
            demand(made, format!("a migration of {what} that makes {table}"));
        }
        let made = routines.contains(&format!("create or replace function {}(", entity.merge));
        demand(made, format!("a file with {}", entity.merge));
        demand(
            page.contains(&format!("`{}`", entity.name)),
            format!("docs/contracts.md, {what}"),
        );
    }
    missing
}

/// The page's list of files: every domain has each of them, and whatever `scripts/new-domain.sh` writes is in it.
fn listed(root: &Path, domains: &[&Domain]) -> Vec<String> {
    let page = text(root, PAGE);
    let section = page.split(SECTION).nth(1).unwrap_or("");
    let section = section.split("\n## ").next().unwrap_or("");
    let rows = section.lines().filter(|line| line.starts_with('|'));
    // Every second part is between backticks.
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let paths: Vec<&str> = quoted.filter(|text| text.contains("<domain>")).collect();
    let files: Vec<String> = PLACES
        .iter()
        .flat_map(|place| files_in(&root.join(place)))
        .map(|file| file.strip_prefix(root).unwrap().display().to_string())
        .collect();
    let covers = |path: &str, file: &str| match path.split_once('*') {
        Some((before, after)) => file.starts_with(before) && file.ends_with(after),
        None => file == path || file.starts_with(&format!("{path}/")),
    };
    let mut problems = Vec::new();
    for domain in domains {
        for path in &paths {
            let path = path.replace("<domain>", domain.name);
            if !files.iter().any(|file| covers(&path, file)) {
                problems.push(format!("missing: {path}, which {PAGE} lists"));
            }
        }
    }
    let made = files.iter().filter_map(|file| {
        let file = file.strip_prefix(TEMPLATES)?.strip_prefix('/')?;
        Some(file.strip_suffix(".in")?.replace("@domain@", "<domain>"))
    });
    let by_tests = [
        "sql/generated/<domain>/merge.sql",
        "contracts/tests/snapshots/fixtures__<domain>.entity.snap",
        "grafana/dashboards/domains/<domain>.json",
    ];
    let made = made.chain(by_tests.map(str::to_owned));
    let unlisted = made
        .filter(|file| file.contains("<domain>") && !paths.iter().any(|path| covers(path, file)));
    problems.extend(unlisted.map(|file| format!("{PAGE} does not list {file}")));
    problems
}
