//! The trace of one message.

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Domain, catalog};
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::away::{self, Away};
use super::core_row::{self, CoreRow};
use super::lost::{self, LostMessages};
use super::quarantine::{self, Quarantined};
use super::staged::{self, Outcome, Staged};

/// Outcome of a message.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageTrace {
    /// Its id as it was asked for.
    pub asked: String,
    /// Its identity.
    pub message_id: Uuid,
    /// Day inside the identity: partition of its rows.
    pub day: NaiveDate,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its row in staging, with the core's row of its key. More than one when the same id was
    /// used for several entities.
    pub rows: Vec<Merged>,
    /// Its row in quarantine; of several an open one, else the newest.
    pub quarantine: Option<Quarantined>,
    /// Acknowledged messages that a failover took, when nothing is known of this one and it may be
    /// among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostMessages>,
    /// The other rows of its id in quarantine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more_quarantine: Vec<Quarantined>,
}

/// A staged message and the row of its key in the domain table.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Merged {
    /// The message.
    #[serde(flatten)]
    pub staged: Staged,
    /// The core's row, whichever message it shows.
    pub core: Option<CoreRow>,
    /// The archived partition that its key belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<Away>,
}

impl MessageTrace {
    /// Reads it.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn read(
        connection: &mut PgConnection,
        asked: &str,
        identity: Identity,
        values: bool,
    ) -> sqlx::Result<Self> {
        Self::read_in(connection, catalog(), asked, identity, values).await
    }

    /// The same, looked for in the entities of some domains.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn read_in(
        connection: &mut PgConnection,
        domains: &'static [Domain],
        asked: &str,
        identity: Identity,
        values: bool,
    ) -> sqlx::Result<Self> {
        let mut rows = Vec::new();
        for entity in domains.iter().flat_map(|domain| &domain.entities) {
            let found = staged::find(&mut *connection, entity, identity, values).await?;
            if let Some(mut staged) = found {
                let key: Vec<_> = entity
                    .key
                    .iter()
                    .map(|name| plain(&staged.key[name]))
                    .collect();
                let core = core_row::find(
                    &mut *connection,
                    entity,
                    &key,
                    Some(staged.message_id),
                    values,
                )
                .await?;
                let archived = away::find(&mut *connection, entity, &key).await?;
                staged.judge(core.as_ref(), archived.as_ref());
                rows.push(Merged {
                    staged,
                    core,
                    archived,
                });
            }
        }
        let mut found = quarantine::find(&mut *connection, identity, values)
            .await?
            .into_iter();
        let quarantine = found.next();
        let outcome = match (rows.first(), &quarantine) {
            (Some(row), _) => row.staged.outcome,
            (None, Some(row)) => quarantine::outcome(&row.status),
            (None, None) => Outcome::Unknown,
        };
        let lost = if outcome == Outcome::Unknown {
            lost::find(connection, Some(identity.id)).await?
        } else {
            Vec::new()
        };
        Ok(Self {
            asked: asked.to_owned(),
            message_id: identity.id,
            day: identity.day,
            outcome,
            rows,
            quarantine,
            lost,
            more_quarantine: found.collect(),
        })
    }

    /// Whether anything was found.
    pub fn is_known(&self) -> bool {
        self.outcome != Outcome::Unknown
    }
}

/// A part of a key as text that PostgreSQL reads.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
