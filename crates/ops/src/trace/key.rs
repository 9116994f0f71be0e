//! The trace of a key: all its messages.

use acequia_contracts::Entity;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx_macros::FromRow;
use uuid::Uuid;

use super::away::{self, Away};
use super::core_row::{self, CoreRow};
use super::staged::{self, Staged, full_name};

/// Outcomes of the messages of a key.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyTrace {
    /// Entity with its domain.
    pub entity: String,
    /// Key columns and their values, as they were asked for.
    pub key: Map<String, Value>,
    /// The core's row.
    pub core: Option<CoreRow>,
    /// The archived partition that the key belongs to; the row may be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<Away>,
    /// The messages of the key in staging, by event time; the newest 200.
    pub versions: Vec<Staged>,
    /// Rows of other entities that wait for this key, the oldest 200.
    pub waiting: Vec<Waiting>,
}

/// A row that waits for the key.
#[derive(Debug, Serialize, FromRow)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waiting {
    /// Its entity, with its domain.
    pub entity: String,
    /// Its message.
    pub message_id: Uuid,
    /// Waiting since.
    pub since: DateTime<Utc>,
}

const WAITING: &str = "
select p.entity, p.message_id, p.since from core.pending p
where p.parent = $1 and p.parent_key = $2 and not p.ready
order by p.since, p.message_id limit 200";

impl KeyTrace {
    /// Reads it.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn read(
        connection: &mut PgConnection,
        entity: &Entity,
        key: &[String],
        values: bool,
    ) -> sqlx::Result<Self> {
        let core = core_row::find(&mut *connection, entity, key, None, values).await?;
        let archived = away::find(&mut *connection, entity, key).await?;
        let waiting = sqlx::query_as(WAITING)
            .bind(full_name(entity))
            .bind(key.join("/"))
            .fetch_all(&mut *connection)
            .await?;
        let mut versions = staged::versions(connection, entity, key, values).await?;
        for version in &mut versions {
            version.judge(core.as_ref(), archived.as_ref());
        }
        let names = entity.key.iter().map(ToString::to_string);
        Ok(Self {
            entity: full_name(entity),
            key: names
                .zip(key.iter().map(|part| part.as_str().into()))
                .collect(),
            core,
            archived,
            versions,
            waiting,
        })
    }

    /// Whether anything was found.
    pub fn is_known(&self) -> bool {
        self.core.is_some()
            || self.archived.is_some()
            || !self.versions.is_empty()
            || !self.waiting.is_empty()
    }
}
