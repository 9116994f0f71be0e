//! Each piece of each domain is taken away, from a copy of the folder or in a transaction that is
//! rolled back: the faults then name it.

use std::path::Path;

use acequia_contracts::{Domain, MergeKind, catalog};
use acequia_testkit::root;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{database, files};
use crate::support::Platform;

/// The faults after a statement, which is rolled back.
async fn without(database: &mut PgConnection, domains: &[&Domain], statement: &str) -> String {
    let mut transaction = database.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *transaction)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    let problems = database::problems(&mut transaction, domains).await;
    transaction.rollback().await.unwrap();
    problems.join("\n")
}

/// Statements that take a piece away, and how the piece must be named.
const PIECES: [&str; 5] = [
    "select 'drop ' || case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end || ' ' || c.oid::regclass || ' cascade',
            c.oid::regclass::text
     from pg_class c
     where (c.relnamespace = $1::regnamespace or c.oid in (select to_regclass(m.mart) from core.marts m where m.domain = $1)
            or c.oid in (select to_regclass(e.staging) from core.entities e where e.domain = $1))
       and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition",
    "select 'drop function ' || p.oid::regprocedure || ' cascade', p.pronamespace::regnamespace || '.' || p.proname
     from pg_proc p where p.pronamespace = $1::regnamespace",
    "select format('delete from core.entities where domain = %L and entity = %L', domain, entity), domain || '.' || entity
     from core.entities where domain = $1",
    "select format('delete from core.mart_refresh_log where mart = %1$L; delete from core.marts where mart = %1$L', mart), mart
     from core.marts where domain = $1",
    "select format('delete from core.dq_results; delete from core.dq_rules where domain = %L', $1), 'a data quality rule of ' || $1",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_from_the_database_is_named() {
    let platform = Platform::new().await;
    let mut database = platform.connect().await;
    let domains: Vec<_> = catalog().iter().collect();
    assert_eq!(without(&mut database, &domains, "select").await, "");
    for domain in &domains {
        let mut taken = 0;
        for pieces in PIECES {
            let pieces: Vec<(String, String)> = sqlx::query_as(pieces)
                .bind(domain.name)
                .fetch_all(&mut database)
                .await
                .unwrap();
            assert!(!pieces.is_empty(), "{}: {pieces:?}", domain.name);
            for (statement, name) in pieces {
                let problems = without(&mut database, &domains, &statement).await;
                assert!(problems.contains(&name), "{statement}: {problems}");
                taken += 1;
            }
        }
        // Two tables, a merge and a row of the catalog for each entity; a mart twice and the rules.
        assert!(
            taken >= 4 * domain.entities.len() + 3,
            "{}: {taken}",
            domain.name
        );

        // The line in the catalog: all that is left over is named.
        let others: Vec<_> = catalog()
            .iter()
            .filter(|other| other.name != domain.name)
            .collect();
        let problems = without(&mut database, &others, "select").await;
        for entity in &domain.entities {
            for name in [entity.staging, entity.merge] {
                assert!(problems.contains(name), "{name}: {problems}");
            }
        }
        assert!(
            problems.contains(&format!("a mart of {}", domain.name)),
            "{problems}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files::files_in(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_taken_from_the_folder_is_named() {
    let folder = std::env::temp_dir().join(format!("acequia-drift.{}", std::process::id()));
    for place in files::PLACES {
        copy(&root().join(place), &folder.join(place));
    }
    let domains: Vec<_> = catalog().iter().collect();
    let problems = |domains: &[&Domain]| files::problems(&folder, domains).join("\n");
    assert_eq!(problems(&domains), "");
    for domain in &domains {
        let name = domain.name;
        let mut pieces = vec![
            format!("contracts/src/{name}/mod.rs"),
            format!("sql/routines/{name}"),
            format!("sql/rules/{name}.sql"),
            format!("sql/demo/{name}.sql"),
            format!("grafana/src/domains/{name}.yml"),
            format!("grafana/dashboards/domains/{name}.json"),
            format!("docs/marts/{name}.md"),
        ];
        for entity in &domain.entities {
            let fixtures = format!("contracts/fixtures/{name}/{}", entity.name);
            pieces.extend([
                format!("{fixtures}/valid"),
                format!("{fixtures}/invalid"),
                format!(
                    "contracts/tests/snapshots/fixtures__{name}.{}.snap",
                    entity.name
                ),
            ]);
        }
        for piece in pieces {
            remove(&folder.join(&piece));
            let problems = problems(&domains);
            assert!(problems.contains(&piece), "{piece}: {problems}");
            copy_piece(&folder, &piece);
        }
        // Parts of files.
        for entity in &domain.entities {
            for (file, part, named) in [
                (
                    file_with("sql/migrations", &format!("create table {} ", entity.core)),
                    entity.core,
                    entity.core,
                ),
                (
                    file_with(
                        "sql/migrations",
                        &format!("create table {} ", entity.staging),
                    ),
                    entity.staging,
                    entity.staging,
                ),
                (
                    file_with(
                        match entity.merge_spec.kind {
                            MergeKind::Custom => "sql/routines",
                            MergeKind::Upsert | MergeKind::Append => "sql/generated",
                        },
                        &format!("function {}(", entity.merge),
                    ),
                    entity.merge,
                    entity.merge,
                ),
            ] {
                edit(&folder, &file, part, "another_name");
                assert!(problems(&domains).contains(named), "{file} without {part}");
                copy_piece(&folder, &file);
            }
        }
        edit(&folder, "docs/contracts.md", &format!("## {name}\n"), "");
        let said = problems(&domains);
        assert!(
            said.contains(&format!("docs/contracts.md, section {name}")),
            "{said}"
        );
        copy_piece(&folder, "docs/contracts.md");
        edit(&folder, files::MARTS, &format!("]({name}.md)"), "");
        let said = problems(&domains);
        assert!(said.contains(&format!("a row of {name}")), "{said}");
        copy_piece(&folder, files::MARTS);

        // The line in the catalog: all that is left over is named.
        let others: Vec<_> = catalog()
            .iter()
            .filter(|other| other.name != name)
            .collect();
        let said = problems(&others);
        for left in [
            "sql/rules",
            "sql/demo",
            "sql/routines",
            "sql/generated",
            "contracts/fixtures",
            "grafana/src/domains",
            "docs/marts",
        ] {
            assert!(said.contains(&format!("{left}/{name}")), "{left}: {said}");
        }
    }
    // A row of the page's list.
    let page = std::fs::read_to_string(folder.join(files::PAGE)).unwrap();
    let rows: Vec<_> = page
        .lines()
        .filter(|row| row.starts_with("| ") && row.contains("<domain>"))
        .collect();
    assert!(rows.len() > 8, "{rows:?}");
    for row in rows {
        edit(&folder, files::PAGE, row, "");
        let said = problems(&domains);
        assert!(said.contains("does not list"), "{row}: {said}");
        copy_piece(&folder, files::PAGE);
    }
    remove(&folder);
}

/// The piece as it was.
fn copy_piece(folder: &Path, piece: &str) {
    let (from, to) = (root().join(piece), folder.join(piece));
    if from.is_dir() {
        copy(&from, &to);
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

fn file_with(folder: &str, part: &str) -> String {
    let files = files::files_in(&root().join(folder));
    let file = files
        .into_iter()
        .find(|file| std::fs::read_to_string(file).unwrap().contains(part));
    file.unwrap()
        .strip_prefix(root())
        .unwrap()
        .display()
        .to_string()
}

fn edit(folder: &Path, file: &str, part: &str, other: &str) {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    assert!(text.contains(part), "{file} has no {part}");
    std::fs::write(folder.join(file), text.replace(part, other)).unwrap();
}
