//! Looks, whenever the process meets a server, whether the database still has the batches that it acknowledged, and
//! says so when it has not ([`acequia_store::acknowledged`]).

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_net::SecretUrl;
use acequia_store::acknowledged::{self, Acknowledged, Memory, Server};
use acequia_store::db::{Attention, Session, attended};
use acequia_store::failure::{Failure, describe};
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::PgConnection;
use tracing::{error, warn};

use crate::metrics::Ingest;

/// Time limit of a look.
const WITHIN: Duration = Duration::from_secs(30);
/// Numbers of batches that the log names.
const NAMED: usize = 20;

/// A process that checks for the batches it acknowledged.
pub struct Process<'a> {
    /// Its name in `core.batches`.
    pub worker: &'a str,
    /// PostgreSQL.
    pub database: &'a SecretUrl,
    /// Its acknowledged batches.
    pub memory: &'a Memory,
    /// Metrics that count losses.
    pub metrics: &'a Ingest,
}

/// Looks, on a new connection, whether the server has what this process acknowledged. What it does not have is
/// logged, counted, and noted in `core.lost_batches`, once.
///
/// # Errors
/// When the database does not answer or refuses: the next call looks again.
pub async fn look(session: &mut Session, process: &Process<'_>) -> sqlx::Result<()> {
    let attention = Attention {
        database: process.database,
        backend: session.backend,
        under_way: Duration::ZERO,
        within: WITHIN,
        tell: &|_| {},
    };
    attended(&attention, compare(session, process)).await
}

async fn compare(connection: &mut PgConnection, process: &Process<'_>) -> sqlx::Result<()> {
    let server = acknowledged::note_server(connection).await?;
    if let Some(server) = server {
        greet(server, process.memory.meets(server));
    }
    let young = process.memory.young();
    if young.is_empty() {
        return Ok(());
    }
    let missing = acknowledged::missing(connection, &young).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut lost = young;
    lost.retain(|batch| missing.contains(&batch.identity));
    let noted = match acknowledged::note_lost(connection, process.worker, &lost, server).await {
        Ok(noted) => noted,
        // The loss is reported all the same.
        Err(refused) if Failure::of(&refused) == Failure::Broken => {
            error!(
                event = "batches.not_noted",
                error = describe(&refused),
                "core.lost_batches could not be written"
            );
            missing.clone()
        }
        Err(refused) => return Err(refused),
    };
    process.memory.forget(&missing);
    // Another loop may have been faster.
    lost.retain(|batch| noted.contains(&batch.identity));
    tell(&lost, server, process.metrics);
    Ok(())
}

/// Logs that the database is another server than before.
fn greet(server: Server, before: Option<Server>) {
    let moved = before.filter(|before| {
        (before.system_identifier, before.timeline) != (server.system_identifier, server.timeline)
    });
    if moved.is_some() || (before.is_none() && server.is_new) {
        warn!(
            event = "database.moved",
            system_identifier = server.system_identifier,
            timeline = server.timeline,
            timeline_before = moved.map(|before| before.timeline),
            "the database has another server or timeline than before: a failover, or a restored backup"
        );
    }
}

/// One line for each queue, and the count of its messages.
fn tell(lost: &[Acknowledged], server: Option<Server>, metrics: &Ingest) {
    let mut queues: BTreeMap<(&str, &str), Vec<&Acknowledged>> = BTreeMap::new();
    for batch in lost {
        let key = (batch.domain, batch.queue.as_str());
        queues.entry(key).or_default().push(batch);
    }
    for ((domain, queue), batches) in queues {
        let messages: i64 = batches.iter().map(|batch| batch.messages).sum();
        let published = || batches.iter().filter_map(|batch| batch.published);
        let ids: Vec<String> = batches
            .iter()
            .map(|batch| batch.batch_id.to_string())
            .collect();
        error!(
            event = "batches.lost",
            domain,
            queue,
            batches = batches.len(),
            messages,
            batch_ids = ids[..ids.len().min(NAMED)].join(" "),
            last_batch_id = ids.last(),
            published_from = published().map(|(oldest, _)| oldest).min().map(text),
            published_until = published().map(|(_, newest)| newest).max().map(text),
            acknowledged_from = batches.iter().map(|batch| batch.at).min().map(text),
            acknowledged_until = batches.iter().map(|batch| batch.at).max().map(text),
            timeline = server.map(|server| server.timeline),
            remedy = "Have the publishers send again what they published in that time; the same ids do no harm. \
                      docs/runbooks/AcequiaMessagesLost.md",
            "acknowledged messages are lost: the database took over without them"
        );
        metrics.lost(domain, messages);
    }
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
