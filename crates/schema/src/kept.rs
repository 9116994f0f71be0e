//! Objects that others made on our views: their own views, indexes on materialized marts, grants.
//! They are recorded before a migration and made again where the migration dropped them.

use std::collections::BTreeSet;

use anyhow::bail;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};
use sqlx_macros::FromRow;
use tracing::warn;

use super::routines::Object;

/// Something to be made again.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Item {
    /// View, or function, that it belongs to.
    object: String,
    /// OID of that view or function before the migration.
    was: i64,
    /// `view`, `index` or `grant`.
    kind: String,
    /// Name of the view or index, grantee of a grant.
    name: String,
    statement: String,
}

/// Objects and rights that a migration keeps.
#[derive(Debug, Default)]
pub(super) struct Kept {
    items: Vec<Item>,
    left_over: usize,
}

/// `$1`: schemas of the platform, `$2`: our views. Views of others are those that read, through any
/// number of views, something of our schemas.
const FIND: &str = "
with recursive ours as (
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any ($1)
), readers (oid, depth) as (
    select o.oid, 0 from ours o
    union
    select w.ev_class, r.depth + 1
    from readers r
    join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = r.oid and d.classid = 'pg_rewrite'::regclass
    join pg_rewrite w on w.oid = d.objid and w.ev_class <> r.oid
    where r.depth < 30
), theirs as (
    select c.oid, c.relkind, c.relowner, c.reloptions, format('%I.%I', n.nspname, c.relname) as name, max(r.depth) as depth
    from readers r
    join pg_class c on c.oid = r.oid and c.relkind in ('v', 'm')
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid not in (select to_regclass(v)::oid from unnest($2::text[]) v where to_regclass(v) is not null)
    group by c.oid, n.nspname
), relations as (
    select t.oid, t.name, c.relowner, c.relacl, c.relkind from theirs t join pg_class c on c.oid = t.oid
    union
    select c.oid, format('%I.%I', n.nspname, c.relname), c.relowner, c.relacl, c.relkind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = any ($1) and c.relkind in ('v', 'm')
), items (position, object, was, kind, name, statement) as (
    select t.depth, t.name, t.oid::bigint, 'view', t.name,
           format('create %s %s%s as %s; ', case t.relkind when 'v' then 'view' else 'materialized view' end, t.name,
               ' with (' || array_to_string(t.reloptions, ', ') || ')', rtrim(pg_get_viewdef(t.oid), '; '))
           || coalesce((select string_agg(format('comment on %s %s%s is %L; ',
                  case when d.objsubid > 0 then 'column' when t.relkind = 'v' then 'view' else 'materialized view' end,
                  t.name, '.' || quote_ident(a.attname), d.description), '')
              from pg_description d left join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
              where d.classoid = 'pg_class'::regclass and d.objoid = t.oid), '')
           || case when t.relowner <> (select u.oid from pg_roles u where u.rolname = current_user)
                  then format('alter table %s owner to %I', t.name, pg_get_userbyid(t.relowner)) else '' end
    from theirs t
    union all
    select 100, r.name, r.oid::bigint, 'index', format('%I.%I', n.nspname, c.relname), pg_get_indexdef(i.indexrelid)
    from relations r
    join pg_index i on i.indrelid = r.oid
    join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace
    where r.relkind = 'm'
    union all
    select 200, r.name, r.oid::bigint, 'grant', coalesce(g.rolname::text, 'public'),
           format('grant %s on %s to %s%s', lower(x.privilege_type), r.name, coalesce(quote_ident(g.rolname), 'public'),
               case when x.is_grantable then ' with grant option' else '' end)
    from relations r
    cross join lateral aclexplode(r.relacl) x
    left join pg_roles g on g.oid = x.grantee
    where x.grantee <> r.relowner
    union all
    select 200, r.name, r.oid::bigint, 'grant', coalesce(g.rolname::text, 'public'),
           format('grant %s (%I) on %s to %s%s', lower(x.privilege_type), a.attname, r.name, coalesce(quote_ident(g.rolname), 'public'),
               case when x.is_grantable then ' with grant option' else '' end)
    from relations r
    join pg_attribute a on a.attrelid = r.oid and a.attacl is not null and not a.attisdropped
    cross join lateral aclexplode(a.attacl) x
    left join pg_roles g on g.oid = x.grantee
    union all
    select 200, p.oid::regprocedure::text, p.oid::bigint, 'grant', coalesce(g.rolname::text, 'public'),
           format('grant execute on function %s to %s%s', p.oid::regprocedure, coalesce(quote_ident(g.rolname), 'public'),
               case when x.is_grantable then ' with grant option' else '' end)
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
    left join pg_roles g on g.oid = x.grantee
    where n.nspname = 'marts' and x.grantee <> p.proowner
)
select object, was, kind, name, statement from items order by position, name, statement";

impl Kept {
    /// Current objects, and those that a failed migration left to be made again.
    pub async fn find(
        connection: &mut PgConnection,
        schemas: &[&str],
        objects: &[Object],
    ) -> sqlx::Result<Self> {
        let views: Vec<_> = objects
            .iter()
            .filter(|object| object.kind.ends_with("view"))
            .map(|object| object.name.as_str())
            .collect();
        let mut items: Vec<Item> = sqlx::query_as(FIND)
            .bind(schemas)
            .bind(views)
            .fetch_all(&mut *connection)
            .await?;
        let mut left_over = 0;
        if has_table(connection).await? {
            let left: Vec<Item> = sqlx::query_as(
                "select object, was::bigint, kind, name, statement from core.kept_objects order by position",
            )
            .fetch_all(connection)
            .await?;
            left_over = left.len();
            let there: BTreeSet<_> = items.iter().map(|item| item.statement.clone()).collect();
            let mut older: Vec<_> = left
                .into_iter()
                .filter(|item| !there.contains(&item.statement))
                .collect();
            older.append(&mut items);
            items = older;
        }
        Ok(Self { items, left_over })
    }

    /// Number of statements that a failed migration left behind.
    pub const fn left_over(&self) -> usize {
        self.left_over
    }

    /// Writes it down, where the schema has a place for it.
    pub async fn write(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if !has_table(connection).await? {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        sqlx::query("delete from core.kept_objects")
            .execute(&mut *transaction)
            .await?;
        for (position, item) in (1_i32..).zip(&self.items) {
            sqlx::query(
                "insert into core.kept_objects (position, object, was, kind, name, statement) values ($1, $2, $3::bigint::oid, $4, $5, $6)",
            )
            .bind(position)
            .bind(&item.object)
            .bind(item.was)
            .bind(&item.kind)
            .bind(&item.name)
            .bind(&item.statement)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    /// Makes the missing objects again.
    ///
    /// # Errors
    /// When a view cannot be made again; the text has its statement.
    pub async fn restore(&self, transaction: &mut Transaction<'_, Postgres>) -> anyhow::Result<()> {
        for item in &self.items {
            if !is_gone(transaction, item).await? {
                continue;
            }
            let mut attempt = transaction.begin().await?;
            // Made by the server itself from its own catalog.
            let made = sqlx::raw_sql(AssertSqlSafe(item.statement.clone()))
                .execute(&mut *attempt)
                .await;
            let Err(error) = made else {
                attempt.commit().await?;
                continue;
            };
            attempt.rollback().await?;
            if item.kind == "view" {
                bail!(
                    "{name} reads views that have changed, and cannot be made again: {error}. \
                     Run `drop view {name}`, then `worker migrate`, then make it again from:\n{statement}",
                    name = item.name,
                    statement = item.statement,
                );
            }
            warn!(event = "migrate.not_kept", object = item.object, statement = item.statement, error = %error,
                "could not be made again");
        }
        if has_table(transaction).await? {
            sqlx::query("delete from core.kept_objects")
                .execute(&mut **transaction)
                .await?;
        }
        Ok(())
    }
}

/// Whether something has to be made again: a view or index that is not there, a grant on what was
/// made anew. On a permanently deleted object nothing can be granted.
async fn is_gone(connection: &mut PgConnection, item: &Item) -> sqlx::Result<bool> {
    let question = match item.kind.as_str() {
        "view" => "select to_regclass($2::text) is null and $1::text is not null and $3::bigint is not null",
        "index" => {
            "select to_regclass($2::text) is null and to_regclass($1::text) is not null and $3::bigint is not null"
        }
        _ => {
            "select coalesce(o.oid <> $3::bigint::oid, false) and ($2::text = 'public' or to_regrole(quote_ident($2)) is not null)
             from (select case when $1::text like '%(%' then to_regprocedure($1)::oid else to_regclass($1)::oid end as oid) o"
        }
    };
    sqlx::query_scalar(question)
        .bind(&item.object)
        .bind(&item.name)
        .bind(item.was)
        .fetch_one(connection)
        .await
}

async fn has_table(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select to_regclass('core.kept_objects') is not null")
        .fetch_one(connection)
        .await
}
