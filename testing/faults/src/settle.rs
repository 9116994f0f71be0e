//! The end of a scenario: all is settled, all is compared.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

use crate::compare::compare;
use crate::kinds::{DOMAIN, OTHER};
use crate::observe::Seen;
use crate::oracle::Sent;
use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;

impl ScenarioRun {
    /// Waits until at least that number of messages is staged beyond those of now.
    ///
    /// # Errors
    /// When nothing flows.
    pub async fn flows(&self, messages: i64) -> anyhow::Result<()> {
        const RECEIVED: &str = "select coalesce(sum(received), 0)::bigint from core.conservation";
        let before = self.environment.number(RECEIVED).await?;
        let begun = Instant::now();
        while self.environment.number(RECEIVED).await? < before + messages {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("no messages flow");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until everything that was sent is accounted for; does not complain, for the
    /// comparison will.
    async fn settle(&self, sent: &[Sent]) -> anyhow::Result<()> {
        let different: std::collections::HashSet<_> =
            sent.iter().map(|message| message.id).collect();
        let different = i64::try_from(different.len())?;
        let mut connection = self.environment.owner().await?;
        let begun = Instant::now();
        let mut before = (0, 0, 0);
        let mut changed = Instant::now();
        // It may take long while it makes progress.
        while changed.elapsed() < Duration::from_secs(60) && begun.elapsed().as_secs() < 600 {
            let now: (i64, i64, i64) = sqlx::query_as(
                "select coalesce(sum(received - duplicates), 0)::bigint, coalesce(sum(staged), 0)::bigint, \
                 (select count(*) from core.pending where ready) from core.conservation",
            )
            .fetch_one(&mut connection)
            .await?;
            if now == (different, 0, 0) {
                return Ok(());
            }
            if now != before {
                (before, changed) = (now, Instant::now());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Ends the load and waits until all is settled; returns what was sent.
    ///
    /// # Errors
    /// When the publisher or the database fails.
    pub async fn settle_all(&mut self) -> anyhow::Result<Vec<Sent>> {
        let (mut sent, copies, summary) = self.load.finish().await?;
        self.outcome.copies = copies;
        self.outcome.sent_again = summary.retried;
        sent.append(&mut self.extra);
        self.settle(&sent).await?;
        Ok(sent)
    }

    /// Ends the load, waits until all is settled, stops the workers, and compares.
    ///
    /// # Errors
    /// When one of these fails.
    pub async fn finish(mut self) -> anyhow::Result<Outcome> {
        let sent = self.settle_all().await?;
        self.stays_calm();
        let told = std::mem::take(&mut self.told);
        if let Some(observer) = self.observer.take() {
            let seen = observer.seen().await;
            self.outcome.seen = Some(Seen { told, ..seen });
        }
        self.supervisor.stop().await?;
        let left = self.left_in_queues().await?;
        self.demand(left == 0, format!("{left} messages are left in the queues"));

        let findings = compare(&mut self.environment.owner().await?, &sent).await?;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.take(findings);
        outcome.seconds = self.begun.elapsed().as_secs_f64();
        if !outcome.failures.is_empty() {
            std::fs::write(self.environment.folder.join("keep"), "")?;
            let folder = self.environment.folder.display();
            outcome.failures.push(format!("logs: {folder}"));
        }
        Ok(outcome)
    }

    /// Messages in the queues, once the broker knows that the workers are gone.
    async fn left_in_queues(&self) -> anyhow::Result<u64> {
        let mut left = 0;
        for queue in [DOMAIN, OTHER, "dead"] {
            left += queue_length(&self.environment.broker.url, &format!("acequia.{queue}")).await?;
        }
        Ok(left)
    }

    /// Keeps the logs and says where they are.
    #[must_use]
    pub fn failed(self, error: &anyhow::Error) -> Outcome {
        let _ = std::fs::write(self.environment.folder.join("keep"), "");
        let mut outcome = self.outcome;
        outcome.failures.push(format!("{error:#}"));
        outcome
            .failures
            .push(format!("logs: {}", self.environment.folder.display()));
        outcome.seconds = self.begun.elapsed().as_secs_f64();
        outcome
    }
}

/// Messages ready in a queue.
///
/// # Errors
/// When there is no such queue.
pub async fn queue_length(url: &str, queue: &str) -> anyhow::Result<u64> {
    use lapin::options::QueueDeclareOptions;
    let connection =
        lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(queue.into(), passive, lapin::types::FieldTable::default())
        .await?;
    let length = queue.message_count();
    connection.close(200, "done".into()).await?;
    Ok(length.into())
}
