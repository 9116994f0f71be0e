//! Determines whether the range of a key is archived, so that the domain table cannot have its row.

use acequia_contracts::Entity;
use serde::Serialize;
use sqlx::PgConnection;
use sqlx_macros::FromRow;

/// The archived partition that a key belongs to.
#[derive(Debug, Clone, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Away {
    /// Partition.
    pub partition: String,
    /// `archived` or `purged`.
    pub state: String,
    /// Its file, below `ARCHIVE_URL`.
    pub object: String,
}

const POLICY: &str = "
select p.time_column from core.lifecycle_policies p where p.table_name = $1";

const AWAY: &str = "
select a.partition_name as partition, a.state, a.object_path as object from core.archives a
where a.table_name = $1 and a.state in ('archived', 'purged')
  and a.from_at <= $2::text::timestamptz and a.to_at > $2::text::timestamptz";

/// The archived partition of a key, if its table has a policy, the time is part of the key, and its
/// range is not in the database.
pub async fn find(
    connection: &mut PgConnection,
    entity: &Entity,
    key: &[String],
) -> sqlx::Result<Option<Away>> {
    let time: Option<String> = sqlx::query_scalar(POLICY)
        .bind(entity.core)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(time) = time else { return Ok(None) };
    let names = entity.key.iter();
    let mut names = names.map(|field| entity.merge_spec.key_column(field));
    let part = key.iter().find(|_| names.next() == Some(&time));
    let Some(part) = part else {
        return Ok(None);
    };
    sqlx::query_as(AWAY)
        .bind(entity.core)
        .bind(part)
        .fetch_optional(connection)
        .await
}
