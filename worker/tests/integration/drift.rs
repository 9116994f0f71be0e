//! One list, many places: what the catalog says and what is there, compared in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use acequia_contracts::{Entity, Kind, catalog, fixtures};

use crate::support::Platform;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn entities() -> impl Iterator<Item = &'static Entity> {
    catalog().iter().flat_map(|domain| &domain.entities)
}

/// PostgreSQL types that hold every value of a kind that the contract lets pass.
fn fits(kind: Kind, sql: &str) -> bool {
    let base = sql.split('(').next().unwrap_or(sql);
    match kind {
        Kind::Int => ["integer", "bigint"].contains(&base),
        Kind::BigInt => base == "bigint",
        Kind::Float => base == "double precision",
        Kind::Bool => base == "boolean",
        Kind::Text => base == "text",
        Kind::Choice => ["text", "character", "character varying"].contains(&base),
        Kind::Decimal => base == "numeric",
        Kind::Date => base == "date",
        Kind::Timestamp => base == "timestamp with time zone",
    }
}

/// Name, type and whether it must be there, of each column of a table, in its order.
async fn columns(platform: &Platform, table: &str) -> Vec<(String, String, bool)> {
    let query = format!(
        "select array[a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text]::text
         from pg_attribute a where a.attrelid = to_regclass('{table}') and a.attnum > 0 and not a.attisdropped order by a.attnum"
    );
    let rows = platform.texts(&query).await;
    rows.iter()
        .map(|row| {
            let parts: Vec<_> = row.trim_matches(['{', '}']).splitn(2, ',').collect();
            let (sql, required) = parts[1].rsplit_once(',').unwrap();
            (
                parts[0].to_owned(),
                sql.trim_matches('"').to_owned(),
                required == "true",
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_has_its_tables_and_its_merge() {
    let platform = Platform::new().await;
    let envelope = columns(&platform, "core.staging_envelope").await;
    assert!(!envelope.is_empty());
    for entity in entities() {
        let what = format!("{}.{}", entity.domain, entity.name);
        let found = columns(&platform, entity.staging).await;
        assert!(
            !found.is_empty(),
            "{what}: there is no table {}",
            entity.staging
        );
        let (begin, fields) = found.split_at(envelope.len());
        assert_eq!(
            begin, envelope,
            "{what}: {} does not begin with the envelope",
            entity.staging
        );
        let names: Vec<_> = fields.iter().map(|(name, _, _)| name.as_str()).collect();
        let expected: Vec<_> = entity.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, expected, "{what}: columns of {}", entity.staging);
        for (column, (name, sql, not_null)) in entity.columns.iter().zip(fields) {
            assert!(
                fits(column.kind, sql),
                "{what}: {name} is {sql}, but {:?} in the contract",
                column.kind
            );
            assert_eq!(
                column.required, *not_null,
                "{what}: whether {name} must be there"
            );
        }
        for key in entity.key {
            let column = entity.columns.iter().find(|column| column.name == *key);
            assert!(
                column.is_some_and(|column| column.required),
                "{what}: key {key}"
            );
        }
        let merge = format!(
            "select count(*) from pg_proc p where p.oid = to_regprocedure('{}(bigint[])') and p.proretset and p.prorettype = 'core.merge_outcome'::regtype",
            entity.merge
        );
        assert_eq!(
            platform.number(&merge).await,
            1,
            "{what}: {}(bigint[]) returning core.merge_outcome",
            entity.merge
        );
        let core = columns(&platform, entity.core).await;
        assert!(
            !core.is_empty(),
            "{what}: there is no table {}",
            entity.core
        );
        for version in ["event_at", "message_id", "batch_id"] {
            assert!(
                core.iter()
                    .any(|(name, _, not_null)| name == version && *not_null),
                "{what}: {version} of {}",
                entity.core
            );
        }
        for table in [entity.merge, entity.core] {
            assert!(
                table.starts_with(&format!("{}.", entity.domain)),
                "{what}: {table} is in a schema of another domain"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_or_merge_is_without_an_entity() {
    let platform = Platform::new().await;
    let known: BTreeSet<String> = entities().map(|entity| entity.staging.to_owned()).collect();
    let there = "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'stg' and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition";
    let there: BTreeSet<String> = platform.texts(there).await.into_iter().collect();
    assert_eq!(there, known, "staging tables");
    for domain in catalog() {
        let known: BTreeSet<String> = domain
            .entities
            .iter()
            .map(|entity| entity.merge.to_owned())
            .collect();
        let there = format!(
            "select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname = '{}' and p.prorettype = 'core.merge_outcome'::regtype",
            domain.name
        );
        let there: BTreeSet<String> = platform.texts(&there).await.into_iter().collect();
        assert_eq!(there, known, "merge functions of {}", domain.name);
    }
    // No two entities share what must be theirs.
    for pick in [
        |entity: &Entity| entity.staging,
        |entity: &Entity| entity.core,
        |entity: &Entity| entity.merge,
    ] {
        let distinct: BTreeSet<_> = entities().map(pick).collect();
        assert_eq!(distinct.len(), entities().count());
    }
    // The database's own copy of the catalog is the catalog.
    let copy = platform.texts("select domain || '.' || entity || ' ' || staging || ' ' || merge || ' ' || core_table from core.entities order by position").await;
    let catalog: Vec<_> = entities()
        .map(|entity| {
            format!(
                "{}.{} {} {} {}",
                entity.domain, entity.name, entity.staging, entity.merge, entity.core
            )
        })
        .collect();
    assert_eq!(copy, catalog);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_domain_is_complete() {
    let platform = Platform::new().await;
    for entity in entities() {
        let what = format!("{}.{}", entity.domain, entity.name);
        assert!(
            !fixtures::valid(entity.domain, entity.name).is_empty(),
            "{what}: no valid sample"
        );
        assert!(
            !fixtures::invalid(entity.domain, entity.name).is_empty(),
            "{what}: no invalid sample"
        );
    }
    let mut missing = Vec::new();
    for domain in catalog() {
        let name = domain.name;
        let files = [
            format!("sql/routines/{name}"),
            format!("sql/rules/{name}.sql"),
            format!("sql/demo/{name}.sql"),
            // scripts/check_dashboards.py sees to it that the one is made from the other.
            format!("grafana/src/domains/{name}.yml"),
            format!("grafana/dashboards/domains/{name}.json"),
        ];
        missing.extend(files.into_iter().filter(|file| !root().join(file).exists()));
        for (table, what) in [("dq_rules", "data quality rule"), ("marts", "mart")] {
            let count = platform
                .number(&format!(
                    "select count(*) from core.{table} where domain = '{name}'"
                ))
                .await;
            if count == 0 {
                missing.push(format!("{name}: a {what}"));
            }
        }
    }
    assert!(missing.is_empty(), "missing: {missing:#?}");

    // The other way round: no folder, rule or mart of a domain that is gone.
    let known: BTreeSet<String> = catalog()
        .iter()
        .map(|domain| domain.name.to_owned())
        .collect();
    for (folder, not_a_domain) in [
        ("sql/routines", "core"),
        ("sql/rules", ""),
        ("sql/demo", ""),
        ("contracts/fixtures", ""),
        ("grafana/src/domains", ""),
        ("grafana/dashboards/domains", ""),
    ] {
        for file in names_in(&root().join(folder)) {
            assert!(
                known.contains(&file) || file == not_a_domain,
                "{folder}/{file} belongs to no domain"
            );
        }
    }
    for table in ["dq_rules", "marts"] {
        let domains: BTreeSet<String> = platform
            .texts(&format!("select distinct domain from core.{table}"))
            .await
            .into_iter()
            .collect();
        assert!(domains.is_subset(&known), "core.{table}: {domains:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marts_and_rules_speak_of_what_is_there() {
    let platform = Platform::new().await;
    let marts =
        "select m.mart from core.marts m left join pg_class c on c.oid = to_regclass(m.mart)
        where c.oid is null or c.relkind <> case m.kind when 'view' then 'v' else 'm' end
           or exists (select from unnest(m.depends_on) d where to_regclass(d) is null)";
    assert_eq!(platform.texts(marts).await, Vec::<String>::new());
    // `freshness` is about marts and is none itself.
    let unlisted = "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'marts' and c.relkind in ('v', 'm') and c.relname <> 'freshness'
          and not exists (select from core.marts m where m.mart = n.nspname || '.' || c.relname)";
    assert_eq!(platform.texts(unlisted).await, Vec::<String>::new());
    // A materialized mart without a unique index could not be refreshed beside its readers.
    let blocking = "select m.mart from core.marts m where m.kind = 'materialized'
        and not exists (select from pg_index i where i.indrelid = m.mart::regclass and i.indisunique and i.indpred is null)";
    assert_eq!(platform.texts(blocking).await, Vec::<String>::new());
    let rules = "select r.rule from core.dq_rules r where to_regclass(format('%I.%I', r.schema_name, r.table_name)) is null";
    assert_eq!(platform.texts(rules).await, Vec::<String>::new());
    for domain in catalog() {
        let results = acequia_worker::check::check(&mut platform.connect().await, domain.name)
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

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
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
    for folder in ["worker/src", "publisher/src"] {
        let files = source_files(&root().join(folder));
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

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// What a message says never becomes part of a statement. sqlx takes nothing but literals, save by
/// these ways, and these files take them with text that this program brings along.
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
    const ALLOWED: [(&str, &str); 14] = [
        ("archive/restore.rs", COPY),
        ("archive/session.rs", COPY),
        ("ingest/insert.rs", CATALOG),
        ("migrate/driver.rs", "migrations of this program"),
        ("migrate.rs", "a role's verifier, quoted by the server"),
        ("quarantine/filters.rs", FILTERS),
        ("quarantine/list.rs", FILTERS),
        ("quarantine/mark.rs", FILTERS),
        ("quarantine/mod.rs", FILTERS),
        ("quarantine/show.rs", FILTERS),
        ("quarantine/stats.rs", FILTERS),
        ("trace/core_row.rs", CATALOG),
        ("trace/mod.rs", "a number of milliseconds"),
        ("trace/staged.rs", CATALOG),
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used = BTreeSet::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if WAYS
                .iter()
                .any(|way| std::fs::read_to_string(&path).unwrap().contains(way))
            {
                used.insert(path.strip_prefix(&source).unwrap().display().to_string());
            }
        }
    }
    let allowed = ALLOWED.map(|(file, _)| file.to_owned());
    assert_eq!(used, BTreeSet::from(allowed));
}
