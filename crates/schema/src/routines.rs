//! Functions, views and rules: files that are applied again when their text has changed, when what
//! they make is gone, or when what they read had to be made anew. Merge functions are such files too,
//! made from the catalog.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use acequia_contracts::catalog;
use anyhow::{Context, bail};
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use super::kept::Kept;
use super::{merges, replace};

pub(super) static ROUTINES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/routines");
pub(super) static RULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sql/rules");
/// The catalog among the checksums of files.
const CATALOG: &str = "catalog";
/// The file that writes the catalog into comments of the database.
const READS_THE_CATALOG: &str = "routines/core/7_comments.sql";

/// A repeatable file.
pub(super) struct File {
    /// As `routines/core/2_promote.sql`.
    pub path: String,
    /// Its statements.
    pub text: Cow<'static, str>,
}

/// An object that a file makes: the file has a comment on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    /// `function`, `view`, `materialized view` or `trigger`.
    pub kind: &'static str,
    /// Name with schema; a function with its arguments, a trigger as `name on table`.
    pub name: String,
}

impl File {
    /// The objects that the file makes.
    pub fn objects(&self) -> Vec<Object> {
        const KINDS: [&str; 4] = ["function", "view", "materialized view", "trigger"];
        self.text
            .lines()
            .filter_map(|line| {
                let (object, _) = line.strip_prefix("comment on ")?.split_once(" is '")?;
                KINDS.iter().find_map(|kind| {
                    let name = object.strip_prefix(kind)?.strip_prefix(' ')?;
                    let name = name.to_owned();
                    Some(Object { kind, name })
                })
            })
            .collect()
    }
}

/// The repeatable files in the order in which they are applied: the platform's own, each
/// domain's with its generated merges, rules, and rights last.
pub(super) fn files() -> Vec<File> {
    const GRANTS: &str = "9_grants.sql";
    let core = || sql_files(&ROUTINES, "routines", "core");
    let mut files: Vec<_> = core()
        .into_iter()
        .filter(|file| !file.path.ends_with(GRANTS))
        .collect();
    for domain in catalog() {
        files.extend(sql_files(&ROUTINES, "routines", domain.name));
        files.extend(domain.entities.iter().filter_map(|entity| {
            Some(File {
                path: merges::path(entity),
                text: Cow::Owned(merges::merge_sql(domain, entity)?),
            })
        }));
        let rules = format!("{}.sql", domain.name);
        if let Some(text) = RULES.get_file(&rules).and_then(|file| file.contents_utf8()) {
            let path = format!("rules/{rules}");
            let text = Cow::Borrowed(text);
            files.push(File { path, text });
        }
    }
    let grants = core().into_iter();
    files.extend(grants.filter(|file| file.path.ends_with(GRANTS)));
    files
}

fn sql_files(root: &'static Dir<'static>, name: &str, folder: &str) -> Vec<File> {
    let mut files: Vec<_> = root
        .get_dir(folder)
        .into_iter()
        .flat_map(Dir::files)
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "sql")
        })
        .filter_map(|file| {
            Some(File {
                path: format!("{name}/{}", file.path().display()),
                text: Cow::Borrowed(file.contents_utf8()?),
            })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Checksum of a text, as `core.routines` has it.
pub(super) fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The given objects that are missing in the database.
pub(super) async fn missing(
    connection: &mut PgConnection,
    objects: &[Object],
) -> sqlx::Result<Vec<String>> {
    let kinds: Vec<_> = objects.iter().map(|object| object.kind).collect();
    let names: Vec<_> = objects.iter().map(|object| object.name.as_str()).collect();
    sqlx::query_scalar(
        "select o.kind || ' ' || o.name from unnest($1::text[], $2::text[]) o (kind, name)
         where not case o.kind
             when 'function' then to_regprocedure(o.name) is not null
             when 'trigger' then exists (select from pg_trigger t
                 where t.tgname = split_part(o.name, ' on ', 1) and t.tgrelid = to_regclass(split_part(o.name, ' on ', 2)))
             else exists (select from pg_class c where c.oid = to_regclass(o.name)
                 and c.relkind = case o.kind when 'view' then 'v' else 'm' end)
             end",
    )
    .bind(kinds)
    .bind(names)
    .fetch_all(connection)
    .await
}

/// Applies the files that need it, in one transaction; returns their paths.
pub(super) async fn apply(
    connection: &mut PgConnection,
    kept: &Kept,
) -> anyhow::Result<Vec<String>> {
    let files = files();
    let wanted: BTreeMap<String, String> = files
        .iter()
        .map(|file| (file.path.clone(), checksum(&file.text)))
        .chain([(CATALOG.to_owned(), checksum(&catalog_text()))])
        .collect();
    // One snapshot: marts may be rebuilt, and `core.marts_rebuilt` records what they show.
    let mut transaction = connection
        .begin_with("begin isolation level repeatable read")
        .await?;
    let present: BTreeMap<String, String> =
        sqlx::query_as("select path, checksum from core.routines")
            .fetch_all(&mut *transaction)
            .await?
            .into_iter()
            .collect();
    let objects: Vec<Vec<Object>> = files.iter().map(File::objects).collect();
    let gone: BTreeSet<String> = missing(&mut transaction, &objects.concat())
        .await?
        .into_iter()
        .collect();
    let of_catalog = wanted.get(CATALOG) != present.get(CATALOG);
    let mut todo: BTreeSet<usize> = (0..files.len())
        .filter(|&index| {
            let path = &files[index].path;
            wanted.get(path) != present.get(path)
                || (of_catalog && path == READS_THE_CATALOG)
                || objects[index]
                    .iter()
                    .any(|object| gone.contains(&format!("{} {}", object.kind, object.name)))
        })
        .collect();
    if wanted == present && todo.is_empty() && kept.left_over() == 0 {
        return Ok(Vec::new());
    }
    if of_catalog {
        write_catalog(&mut transaction).await?;
    }
    let marts = materialized(&mut transaction).await?;
    todo.extend(replace::stale_marts(&mut transaction, &objects, &todo).await?);
    let mut applied = Vec::new();
    while let Some(index) = todo.pop_first() {
        let file = &files[index];
        // A file once for itself and once because something that it reads was dropped.
        if applied.iter().filter(|path| **path == file.path).count() > 1 {
            bail!(
                "sql/{} and files before it drop each other's objects",
                file.path
            );
        }
        let also = replace::apply(&mut transaction, index, file, &objects)
            .await
            .with_context(|| format!("sql/{}", file.path))?;
        todo.extend(also.into_iter().filter(|also| *also != index));
        applied.push(file.path.clone());
    }
    kept.restore(&mut transaction).await?;
    let rebuilt: Vec<String> = materialized(&mut transaction)
        .await?
        .into_iter()
        .filter(|(mart, oid)| marts.get(mart) != Some(oid))
        .map(|(mart, _)| mart)
        .collect();
    sqlx::query("select core.marts_rebuilt($1)")
        .bind(rebuilt)
        .execute(&mut *transaction)
        .await?;
    write_checksums(&mut transaction, &wanted).await?;
    transaction.commit().await?;
    applied.dedup();
    Ok(applied)
}

/// Object ids of the materialized marts.
async fn materialized(connection: &mut PgConnection) -> sqlx::Result<BTreeMap<String, i64>> {
    let marts: Vec<(String, i64)> = sqlx::query_as(
        "select m.mart, c.oid::bigint from core.marts m join pg_class c on c.oid = to_regclass(m.mart) and c.relkind = 'm'",
    )
    .fetch_all(connection)
    .await?;
    Ok(marts.into_iter().collect())
}

async fn write_checksums(
    connection: &mut PgConnection,
    wanted: &BTreeMap<String, String>,
) -> sqlx::Result<()> {
    let (paths, checksums): (Vec<_>, Vec<_>) = wanted.iter().unzip();
    sqlx::query(
        "with wanted as (
             select w.path, w.checksum from unnest($1::text[], $2::text[]) w (path, checksum)
         ), over as (
             delete from core.routines r where not exists (select from wanted w where w.path = r.path)
         ), remembered as (
             insert into core.routine_history (path, checksum) select w.path, w.checksum from wanted w on conflict do nothing
         )
         insert into core.routines as r (path, checksum) select w.path, w.checksum from wanted w
         on conflict (path) do update set checksum = excluded.checksum, applied_at = now() where r.checksum <> excluded.checksum",
    )
    .bind(paths)
    .bind(checksums)
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_catalog(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query("delete from core.entities")
        .execute(&mut *connection)
        .await?;
    for (position, entity) in entities().into_iter().enumerate() {
        let fields: Vec<_> = entity.columns.iter().map(|column| column.name).collect();
        sqlx::query(
            "insert into core.entities (domain, entity, position, staging, merge, core_table, key_columns, fields) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(entity.domain)
        .bind(entity.name)
        .bind(i32::try_from(position)?)
        .bind(entity.staging)
        .bind(entity.merge)
        .bind(entity.core)
        .bind(entity.key)
        .bind(fields)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The catalog as text: what `core.entities` is made from.
fn catalog_text() -> String {
    entities()
        .into_iter()
        .map(|entity| {
            let fields: Vec<_> = entity.columns.iter().map(|column| column.name).collect();
            let (domain, name) = (entity.domain, entity.name);
            let (staging, merge, core) = (entity.staging, entity.merge, entity.core);
            format!(
                "{domain} {name} {staging} {merge} {core} {:?} {fields:?}\n",
                entity.key
            )
        })
        .collect()
}

fn entities() -> Vec<&'static acequia_contracts::Entity> {
    catalog()
        .iter()
        .flat_map(|domain| &domain.entities)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_routine_file_belongs_to_a_domain() {
        let known = ROUTINES.dirs().flat_map(Dir::files).count() + RULES.files().count();
        let generated = |file: &&File| file.path.starts_with("generated/");
        assert_eq!(
            files().len() - files().iter().filter(generated).count(),
            known
        );
        assert!(files().last().unwrap().path.ends_with("9_grants.sql"));
    }

    /// It is rebuilt when its file changes, so nothing else may change there.
    #[test]
    fn a_materialized_mart_has_a_file_of_its_own() {
        for file in files() {
            let objects = file.objects();
            let built = objects
                .iter()
                .filter(|object| object.kind == "materialized view");
            assert!(
                built.count() == 0 || objects.len() == 1,
                "{}: {objects:?}",
                file.path
            );
        }
    }

    #[test]
    fn an_object_is_made_by_one_file() {
        let mut objects: Vec<_> = files().iter().flat_map(File::objects).collect();
        objects.sort();
        let twice: Vec<_> = objects
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
