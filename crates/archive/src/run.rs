//! A run: from its row in the database to its outcome, with what an earlier one left put in order.

use std::time::Duration;

use acequia_store::failpoint;
use chrono::{DateTime, Utc};
use tracing::warn;

use super::session::{Interrupted, Session, Totals};

/// Time limit for recording the end of a run.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Name of this process.
fn process() -> String {
    format!("{}:{}", acequia_net::hostname(), std::process::id())
}

impl Session {
    /// Begins a run and cleans up after a killed one; false when this one was done already.
    ///
    /// # Errors
    /// When database or store do not answer.
    pub async fn begin(
        &mut self,
        kind: &str,
        domain: Option<&str>,
        scheduled: Option<DateTime<Utc>>,
    ) -> anyhow::Result<bool> {
        let run: Option<i64> =
            sqlx::query_scalar("select core.archive_run_begin($1, $2, $3, $4, $5)")
                .bind(kind)
                .bind(domain)
                .bind(scheduled)
                .bind(process())
                .bind(&self.who)
                .fetch_one(&mut self.connection)
                .await?;
        let Some(run) = run else { return Ok(false) };
        self.run = run;
        Ok(true)
    }

    /// Begins a run that a person decided on, with an entry in the audit log; cleans up after a killed one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_by_hand(
        &mut self,
        kind: &str,
        filters: &serde_json::Value,
        reason: Option<&str>,
        operation: Option<i64>,
    ) -> anyhow::Result<()> {
        self.run = sqlx::query_scalar("select core.archive_run_by_hand($1, $2, $3, $4, $5, $6)")
            .bind(kind)
            .bind(process())
            .bind(&self.who)
            .bind(filters)
            .bind(reason)
            .bind(operation)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Deletes the files of archives that do not count any more, after putting in order what a
    /// killed process left. One that cannot be deleted does not keep the others; it stays noted.
    ///
    /// # Errors
    /// When the database does not answer, or with the first file that the store did not delete.
    pub async fn collect_garbage(&mut self) -> anyhow::Result<()> {
        let mut attempts = 0;
        let files: Vec<(i64, String, String)> = loop {
            let recovered = sqlx::query_as("select * from core.archive_recover($1, $2)")
                .bind(self.run)
                .bind(&self.who)
                .fetch_all(&mut self.connection)
                .await;
            if let Some(files) = self.unless_locked(recovered, &mut attempts).await? {
                break files;
            }
        };
        let mut first = None;
        for (archive, object, manifest) in files {
            let deleted = async {
                // The manifest first: without it the file does not count as an archive.
                self.store.delete(&manifest).await?;
                failpoint::pass("archive.manifest_deleted");
                self.store.delete(&object).await?;
                failpoint::pass("archive.object_deleted");
                anyhow::Ok(())
            };
            if let Err(error) = deleted.await {
                first.get_or_insert(error);
                continue;
            }
            sqlx::query("select core.archive_deleted($1, $2, $3)")
                .bind(self.run)
                .bind(archive)
                .bind(&self.who)
                .execute(&mut self.connection)
                .await?;
        }
        first.map_or(Ok(()), Err)
    }

    /// Ends the run with its outcome. Where that cannot be written, the next run does.
    pub async fn end<T>(&mut self, totals: Totals, outcome: &anyhow::Result<T>) {
        let (status, error) = match outcome {
            Ok(_) => ("ok", None),
            Err(error) if error.is::<Interrupted>() => ("interrupted", None),
            Err(error) => ("failed", Some(format!("{error:#}"))),
        };
        let end = sqlx::query("select core.archive_run_end($1, $2, $3, $4, $5, $6, $7)")
            .bind(self.run)
            .bind(status)
            .bind(error)
            .bind(totals.partitions)
            .bind(totals.rows)
            .bind(totals.bytes_hot)
            .bind(totals.bytes_archived)
            .execute(&mut self.connection);
        if !matches!(tokio::time::timeout(END_WITHIN, end).await, Ok(Ok(_))) {
            warn!(
                event = "archive.end_not_written",
                status, "the end of the run was not written down"
            );
        }
    }
}
