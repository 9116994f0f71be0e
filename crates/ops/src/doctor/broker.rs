//! The broker: its version, the exchange, the queues.

use std::time::Duration;

use acequia_contracts::Domain;
use acequia_net::topology::{self, EXCHANGE};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ExchangeKind, Queue};

use super::failover::{Management, queues_of};
use super::finding::{Findings, Verdict, said};
use super::queues::arguments_of;

/// Time between two looks at a queue with messages.
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

/// Checks the version of the broker at an address that speaks plain text.
pub(super) async fn of_version(address: &(String, u16), findings: &mut Findings) {
    let Some(version) = broker_version(address).await else {
        return;
    };
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    let verdict = if major.is_some_and(|major: u32| major < 4) {
        Verdict::Warn
    } else {
        Verdict::Ok
    };
    findings.add(
        "broker version",
        verdict,
        format!("RabbitMQ {version}"),
        "It works from 3.10 on; series before 4 are no longer maintained: plan the upgrade.",
    );
}

/// Checks exchange and queues.
pub(super) async fn of_queues(
    connection: &Connection,
    management: Option<Management<'_>>,
    domains: &[&'static Domain],
    findings: &mut Findings,
) {
    let exchange = ExchangeDeclareOptions {
        passive: true,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let name = EXCHANGE.into();
    let declared = async {
        let channel = topology::answer(connection.create_channel()).await?;
        let look =
            channel.exchange_declare(name, ExchangeKind::Topic, exchange, FieldTable::default());
        topology::answer(look).await
    };
    let found = declared.await.map(|()| "is there".to_owned());
    let found = found.map_err(|error| said(&error));
    report(findings, &format!("exchange {EXCHANGE}"), found);
    let queues = queues_of(domains);
    let mut looks = Vec::new();
    for queue in &queues {
        looks.push(look_at(connection, queue).await);
    }
    // Whether what waits is being taken shows in a second look only.
    if looks
        .iter()
        .flatten()
        .any(|queue| queue.message_count() > 0)
    {
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    for (name, first) in queues.iter().zip(looks) {
        let check = format!("queue {name}");
        let before = first.as_ref().map_or(0, Queue::message_count);
        let now = match first {
            Ok(_) if before > 0 => look_at(connection, name).await,
            first => first,
        };
        let found = |queue: &Queue| {
            let (messages, consumers) = (queue.message_count(), queue.consumer_count());
            format!("{messages} messages, {consumers} consumers")
        };
        let exists = now.is_ok();
        match &now {
            Ok(queue) if before > 0 && queue.message_count() >= before => findings.add(
                &check,
                Verdict::Warn,
                format!(
                    "{}: they did not get fewer in {} s",
                    found(queue),
                    BETWEEN_LOOKS.as_secs()
                ),
                "Look at /readyz of the workers, which says why a lane takes nothing; start one if none runs.",
            ),
            _ => report(findings, &check, now.as_ref().map(found).map_err(said)),
        }
        if exists {
            arguments_of(connection, management, name, findings).await;
        }
    }
}

/// The queue of a lane as the broker sees it. A failed look closes its channel, so each has its own.
async fn look_at(connection: &Connection, queue: &str) -> anyhow::Result<Queue> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let channel = topology::answer(connection.create_channel()).await?;
    let look = channel.queue_declare(queue.into(), passive, FieldTable::default());
    topology::answer(look).await
}

fn report(findings: &mut Findings, check: &str, found: Result<String, String>) {
    match found {
        Ok(found) => findings.add(check, Verdict::Ok, found, ""),
        Err(error) => findings.add(
            check,
            Verdict::Warn,
            error,
            "Start `worker run`: it declares exchange and queues.",
        ),
    }
}

/// The version that the broker names in the first frame of a plain connection; lapin keeps it
/// to itself.
async fn broker_version((host, port): &(String, u16)) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let greeting = async {
        let mut stream = tokio::net::TcpStream::connect((host.as_str(), *port))
            .await
            .ok()?;
        stream.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
        let mut header = [0; 7];
        stream.read_exact(&mut header).await.ok()?;
        let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
        let mut frame = vec![0; usize::try_from(size.min(65_536)).ok()?];
        stream.read_exact(&mut frame).await.ok()?;
        // In the table of properties: key length, key, type S, text length, text.
        let key = b"\x07versionS";
        let at = frame.windows(key.len()).position(|window| window == key)? + key.len();
        let length = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?);
        let text = frame.get(at + 4..at + 4 + usize::try_from(length).ok()?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(3), greeting)
        .await
        .ok()
        .flatten()
}
