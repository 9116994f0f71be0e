//! Reads the ledger, the quarantine and the domain tables.

use std::time::Duration;

use acequia_contracts::envelope::Identity;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Message, Platform};

/// A row of `core.conservation`, or a sum of such rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx_macros::FromRow)]
pub struct LedgerEntry {
    pub received: i64,
    pub duplicates: i64,
    pub staged: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub stale: i64,
    pub pending: i64,
    pub quarantined: i64,
    pub unaccounted: i64,
}

impl LedgerEntry {
    /// Messages that are not copies.
    pub fn unique(&self) -> i64 {
        self.received - self.duplicates
    }

    /// Messages that are merged into the core.
    pub fn promoted(&self) -> i64 {
        self.inserted + self.updated + self.unchanged
    }
}

/// A row of `raw.quarantine`.
#[derive(Debug, Clone, sqlx_macros::FromRow)]
pub struct Quarantined {
    pub domain: String,
    pub entity: Option<String>,
    pub queue: String,
    pub stage: String,
    pub code: String,
    pub field_path: Option<String>,
    pub message: String,
    pub violations: Value,
    pub sqlstate: Option<String>,
    pub body: Vec<u8>,
    pub properties: Value,
    pub occurrences: i32,
    pub status: String,
}

impl Quarantined {
    /// Stage, code and field: why it is there.
    pub fn reason(&self) -> (&str, &str, Option<&str>) {
        (&self.stage, &self.code, self.field_path.as_deref())
    }
}

const COLUMNS: &str = "coalesce(sum(received), 0)::bigint as received,
    coalesce(sum(duplicates), 0)::bigint as duplicates, coalesce(sum(staged), 0)::bigint as staged,
    coalesce(sum(inserted), 0)::bigint as inserted, coalesce(sum(updated), 0)::bigint as updated,
    coalesce(sum(unchanged), 0)::bigint as unchanged, coalesce(sum(stale), 0)::bigint as stale,
    coalesce(sum(pending), 0)::bigint as pending, coalesce(sum(quarantined), 0)::bigint as quarantined,
    coalesce(sum(abs(unaccounted)), 0)::bigint as unaccounted";

async fn total(connection: &mut PgConnection) -> sqlx::Result<LedgerEntry> {
    let statement = format!("select {COLUMNS} from core.conservation");
    sqlx::query_as(AssertSqlSafe(statement))
        .fetch_one(connection)
        .await
}

impl Platform {
    /// The sum of all ledger entries. Whenever it is asked for, the list of open rows must be true, too.
    pub async fn total(&self) -> LedgerEntry {
        assert_eq!(self.miscounted_open_rows().await, Vec::<String>::new());
        total(&mut *self.session().await).await.unwrap()
    }

    /// The ledger entry of one entity.
    pub async fn ledger_entry(&self, domain: &str, entity: &str) -> LedgerEntry {
        let statement = format!(
            "select {COLUMNS} from core.conservation where domain = '{domain}' and entity = '{entity}'"
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .fetch_one(&mut *self.session().await)
            .await
            .unwrap()
    }

    /// Waits until that number of different messages is in and nothing is staged any more, however
    /// many copies the broker delivered, and returns the sum of the ledger entries.
    pub async fn settled_unique(&self, messages: i64) -> LedgerEntry {
        let mut connection = self.session().await;
        let begun = std::time::Instant::now();
        loop {
            let found = total(&mut connection).await.unwrap();
            assert_eq!(found.unaccounted, 0, "{found:?}");
            assert!(found.unique() <= messages, "more than were sent: {found:?}");
            if found.unique() == messages && found.staged == 0 {
                return found;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "waited in vain for {messages} different messages: {found:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until at least that number of messages was received.
    pub async fn received(&self, messages: i64) {
        let mut connection = self.session().await;
        let begun = std::time::Instant::now();
        loop {
            let found = total(&mut connection).await.unwrap();
            if found.received >= messages {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(90),
                "waited in vain for {messages} messages: {found:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything in quarantine, in the order of arrival.
    pub async fn quarantine(&self) -> Vec<Quarantined> {
        sqlx::query_as("select * from raw.quarantine order by quarantine_id")
            .fetch_all(&mut *self.session().await)
            .await
            .unwrap()
    }

    /// The one row in quarantine of a message that was published with an id.
    pub async fn quarantined(&self, message: &Message) -> Quarantined {
        sqlx::query_as("select * from raw.quarantine where message_id = $1")
            .bind(Identity::of_text(message.id()).id)
            .fetch_one(&mut *self.session().await)
            .await
            .unwrap_or_else(|error| panic!("{} is not in quarantine: {error}", message.id()))
    }

    /// Rows by which core.quarantine_open and the open rows of quarantine differ: always none.
    async fn miscounted_open_rows(&self) -> Vec<String> {
        self.texts(
            "select coalesce(o.message_id, q.message_id) || ' ' || coalesce(o.entity, '') || ' ' || coalesce(q.entity, '')
             from core.quarantine_open o
             full join (select * from raw.quarantine where status = 'open') q on q.message_id = o.message_id and q.day = o.day
             where (o.domain, o.entity, o.received_at) is distinct from (q.domain, q.entity, q.received_at)",
        )
        .await
    }

    /// Looks at the ledger again and again until [`Auditor::finish`].
    pub async fn auditor(&self) -> Auditor {
        let mut connection = self.connect().await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut looks = 0;
            while !stopped.is_cancelled() {
                let found = total(&mut connection).await.unwrap();
                assert_eq!(found.unaccounted, 0, "{found:?}");
                looks += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            looks
        });
        Auditor { stop, task }
    }
}

/// Checks that the ledger balances at every moment.
pub struct Auditor {
    stop: CancellationToken,
    task: JoinHandle<u32>,
}

impl Auditor {
    /// Stops looking; fails when a message was missing at any look.
    pub async fn finish(self) {
        self.stop.cancel();
        assert!(self.task.await.unwrap() > 0);
    }
}
