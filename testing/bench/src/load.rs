//! The messages, and ways to bring them into a queue.

use std::sync::Arc;

use acequia_contracts::{Domain, catalog};
use acequia_net::SecretUrl;
use acequia_publisher::{Ids, Outgoing, Publisher, Settings};
use anyhow::{Context, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

/// The domain whose messages are sent: the first that can make some.
///
/// # Errors
/// When none can.
pub fn domain() -> anyhow::Result<&'static Domain> {
    let mut domains = catalog().iter();
    domains
        .find(|domain| domain.generator.is_some())
        .context("no domain makes synthetic messages")
}

/// The fewest messages of [`messages`].
pub const LEAST: usize = 4 * FIXED;
/// Teachers, subjects and groups.
const FIXED: usize = 650;

/// The domain's synthetic messages as a publisher sends them, parents first: teachers, subjects
/// and groups as many as there are by default, and of the rest a tenth students and three tenths
/// enrolments.
///
/// # Errors
/// When there are too few for the fixed part.
pub fn messages(count: usize, seed: u64, mix: &[&str]) -> anyhow::Result<Vec<Outgoing>> {
    ensure!(count >= LEAST, "at least {LEAST} messages, please");
    let (students, enrolments) = (count / 10, count * 3 / 10);
    let marks = count - FIXED - students - enrolments;
    let options = [
        ("--seed", seed as usize),
        ("--alumnos", students),
        ("--inscripciones", enrolments),
        ("--calificaciones", marks),
    ];
    let options: Vec<String> = options
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
        .collect();
    let options: Vec<&str> = options
        .iter()
        .map(String::as_str)
        .chain(mix.iter().copied())
        .collect();
    Ok(acequia_publisher::messages(
        domain()?.name,
        &options,
        Ids::Fresh,
    )?)
}

/// Sends messages, confirmed, at a rate or as fast as it goes.
///
/// # Errors
/// When not every message was confirmed.
pub async fn send(
    broker: &SecretUrl,
    messages: Arc<Vec<Outgoing>>,
    rate: Option<f64>,
) -> anyhow::Result<()> {
    let settings = Settings {
        window: 5000,
        rate,
        ..Settings::default()
    };
    let mut publisher = Publisher::connect_with(broker.clone(), settings).await?;
    let all = (0..messages.len()).map(move |index| messages[index].clone());
    let summary = publisher.send_all(all).await;
    publisher.close().await;
    ensure!(summary.is_complete(), "publishing failed: {summary}");
    Ok(())
}

/// Messages in a queue.
///
/// # Errors
/// When there is no such queue.
pub async fn waiting(broker: &SecretUrl, queue: &str) -> anyhow::Result<usize> {
    let connection = acequia_net::topology::connect(broker, "bench").await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await?;
    connection.close(200, "counted".into()).await?;
    Ok(queue.message_count() as usize)
}
