//! An analyst's questions before using a figure: as of when, complete until when, trustworthy? One row of
//! `marts.freshness` answers for each mart; the third answer is in `gates.rs`.

mod answers;
mod lineage;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lapin::types::{AMQPValue, FieldTable};
use sqlx::Connection;
use sqlx::PgConnection;

use crate::support::school::{DOMAIN, alumno, calificacion, grupo, inscripcion, maestro, materia};
use crate::support::{Message, Platform};

/// Publish times of the tests: seconds of an hour that is over.
fn instant(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 123_456_000).unwrap()
}

/// The same message, published at a known time.
pub fn published(second: i64, mut message: Message) -> Message {
    let mut headers = FieldTable::default();
    headers.insert(
        acequia_contracts::envelope::PUBLISHED_AT.into(),
        AMQPValue::LongLongInt(instant(second).timestamp_micros()),
    );
    message.properties = message.properties.with_headers(headers);
    message
}

/// A school in which one student has a mark: a message of each type, published at 1 to 6.
pub fn school() -> Vec<Message> {
    vec![
        published(1, maestro(1)),
        published(2, materia(1)),
        published(3, grupo(1, 1, 1)),
        published(4, alumno(1)),
        published(5, inscripcion(1, 1)),
        published(6, calificacion(1, 1, 7.5)),
    ]
}

/// A mart's freshness, as analysts see it.
#[derive(Debug, Clone, PartialEq, sqlx_macros::FromRow)]
pub struct Fresh {
    pub mart: String,
    pub kind: String,
    pub status: String,
    pub trusted: bool,
    pub data_as_of: Option<DateTime<Utc>>,
    pub complete_through: Option<DateTime<Utc>>,
    pub missing: i64,
    pub missing_since: Option<DateTime<Utc>>,
    pub refreshed_at: Option<DateTime<Utc>>,
    pub checked_at: Option<DateTime<Utc>>,
    pub behind_since: Option<DateTime<Utc>>,
    pub gate: String,
    pub blocking_rules: Vec<String>,
}

impl Platform {
    pub async fn analyst(&self) -> PgConnection {
        PgConnection::connect(&self.database.analyst).await.unwrap()
    }

    /// Waits until the rows of `marts.freshness` of the school, by mart, are as wanted, as an analyst sees them.
    pub async fn freshness(
        &self,
        what: &str,
        wanted: impl Fn(&BTreeMap<String, Fresh>) -> bool,
    ) -> BTreeMap<String, Fresh> {
        let mut analyst = self.analyst().await;
        let mut found = BTreeMap::new();
        let waited = acequia_testkit::wait_for(what, async || {
            let rows: Vec<Fresh> =
                sqlx::query_as("select * from marts.freshness where domain = $1")
                    .bind(DOMAIN)
                    .fetch_all(&mut analyst)
                    .await?;
            found = rows
                .into_iter()
                .map(|row| (row.mart.clone(), row))
                .collect();
            Ok(wanted(&found))
        })
        .await;
        assert!(waited.is_ok(), "{waited:?}: {found:#?}");
        found
    }
}

/// Whether every mart has this status; a fresh one lacks nothing, too, not even for a moment.
pub fn all_are(rows: &BTreeMap<String, Fresh>, status: &str) -> bool {
    let is =
        |row: &Fresh| row.status == status && (status != "fresh" || row.behind_since.is_none());
    !rows.is_empty() && rows.values().all(is)
}

/// Message types that each mart of the school shows, from the database's own dependencies.
async fn types(platform: &Platform) -> BTreeMap<String, BTreeSet<String>> {
    let mut analyst = platform.analyst().await;
    let pairs: Vec<(String, String)> = sqlx::query_as(
        "select mart, message_type from core.lineage where mart is not null and domain = $1",
    )
    .bind(DOMAIN)
    .fetch_all(&mut analyst)
    .await
    .unwrap();
    let mut types = BTreeMap::<_, BTreeSet<_>>::new();
    for (mart, message) in pairs {
        types.entry(mart).or_default().insert(message);
    }
    types
}
