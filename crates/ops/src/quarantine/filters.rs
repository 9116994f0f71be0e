//! Filters that select quarantine rows.

use acequia_contracts::envelope::{Identity, UNKNOWN};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryAs;
use sqlx::{FromRow, Postgres, QueryBuilder};
use uuid::Uuid;

/// State of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has dealt with it.
    Open,
    /// Sent again.
    Replayed,
    /// Given up.
    Discarded,
    /// A message of the same id was accepted.
    Resolved,
}

impl Status {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Resolved => "resolved",
        }
    }
}

/// A row as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// By the number of the row.
    Number(i64),
    /// By the identity of the message.
    Message(Uuid),
}

impl Id {
    /// An id as the publisher gave it.
    #[must_use]
    pub fn of_message(text: &str) -> Self {
        Self::Message(Identity::of_text(text).id)
    }
}

/// Which rows: all conditions must hold; of a list, one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domain: Vec<String>,
    /// Entities, without their domain; (unknown) for messages without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entity: Vec<String>,
    /// Stages: decode, contract, load, merge or broker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stage: Vec<String>,
    /// Codes, as orphan; docs/contracts.md has the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// First offending fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub field: Vec<String>,
    /// First arrived at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// First arrived before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Fingerprints: same domain, entity, code and field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fingerprint: Vec<String>,
    /// Numbers of rows, or ids that messages were published with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id: Vec<Id>,
    /// Programs that published them: the AMQP property `app_id`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub app_id: Vec<String>,
    /// Ids that messages were published with, also such as look like numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub message_id: Vec<Id>,
    /// States.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Status>,
    /// Text in the body, as it is written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Numbers of rows up to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<i64>,
    /// At most this many: list and show take the newest, the other actions the oldest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl Filters {
    /// Only open rows, unless a status is chosen.
    #[must_use]
    pub fn or_open(mut self) -> Self {
        if self.status.is_empty() {
            self.status.push(Status::Open);
        }
        self
    }

    /// Whether there is a condition. The limit is none, and neither is status open, which what changes
    /// rows implies anyway.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        let lists = [
            self.domain.is_empty(),
            self.entity.is_empty(),
            self.stage.is_empty(),
            self.code.is_empty(),
            self.field.is_empty(),
            self.fingerprint.is_empty(),
            self.id.is_empty(),
            self.app_id.is_empty(),
            self.status.iter().all(|status| *status == Status::Open),
            self.message_id.is_empty(),
            self.since.is_none() && self.until.is_none(),
            self.contains.is_none(),
        ];
        lists.iter().any(|empty| !*empty)
    }

    /// The limit as SQL takes it.
    #[must_use]
    pub fn limit(&self, default: u32) -> i64 {
        i64::from(self.limit.unwrap_or(default))
    }

    /// Adds the conditions, each beginning with `and`, to a query on `raw.quarantine q`.
    pub fn conditions(&self, query: &mut QueryBuilder<Postgres>) {
        let mut any = |column: &str, values: &[String]| {
            if !values.is_empty() {
                query.push(format_args!(" and {column} = any("));
                query.push_bind(values.to_vec()).push(")");
            }
        };
        any("q.domain", &self.domain);
        any(&format!("coalesce(q.entity, '{UNKNOWN}')"), &self.entity);
        any("q.stage", &self.stage);
        any("q.code", &self.code);
        any("q.field_path", &self.field);
        any("q.fingerprint", &self.fingerprint);
        any("q.properties ->> 'app_id'", &self.app_id);
        let status: Vec<_> = self
            .status
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect();
        any("q.status", &status);
        if let Some(since) = self.since {
            query.push(" and q.received_at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(" and q.received_at < ").push_bind(until);
        }
        if let Some(text) = &self.contains {
            query
                .push(" and position(")
                .push_bind(text.clone().into_bytes())
                .push("::bytea in q.body) > 0");
        }
        if let Some(through) = self.through {
            query.push(" and q.quarantine_id <= ").push_bind(through);
        }
        for ids in [&self.id, &self.message_id] {
            if ids.is_empty() {
                continue;
            }
            let (mut numbers, mut messages) = (Vec::new(), Vec::new());
            for id in ids {
                match id {
                    Id::Number(number) => numbers.push(*number),
                    Id::Message(message) => messages.push(*message),
                }
            }
            query
                .push(" and (q.quarantine_id = any(")
                .push_bind(numbers);
            query
                .push(") or q.message_id = any(")
                .push_bind(messages.clone());
            query.push(") or q.identity = any(").push_bind(messages);
            query.push("))");
        }
    }
}

/// The statement of a query with filters, planned for their values each time. A plan for all values walks back by number, as
/// suits a frequent code, and through every row for a rare one.
pub(super) fn statement<T>(
    query: &mut QueryBuilder<Postgres>,
) -> QueryAs<'_, Postgres, T, PgArguments>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    query.build_query_as().persistent(false)
}
