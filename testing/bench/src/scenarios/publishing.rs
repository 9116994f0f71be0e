//! How fast the publisher gets messages confirmed into a quorum queue, against a loop that does
//! nothing but publish them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use acequia_net::topology::{connect, queue_of};
use acequia_publisher::{EXCHANGE, Outgoing, Publisher, Settings};
use anyhow::{Context, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};

use crate::cpu;
use crate::environment::{BenchEnv, TestEnv};
use crate::load;
use crate::sample::Sample;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let messages = bench.messages().await?;
    Ok(vec![
        timed(
            bench,
            "publisher",
            messages.clone(),
            async |environment, messages| {
                let mut publisher =
                    Publisher::connect_with(environment.amqp()?, Settings::default()).await?;
                let all = (0..messages.len()).map(move |index| messages[index].clone());
                let summary = publisher.send_all(all).await;
                publisher.close().await;
                ensure!(summary.is_complete(), "{summary}");
                Ok(())
            },
        )
        .await?,
        timed(bench, "bare lapin loop", messages, bare).await?,
    ])
}

async fn timed(
    bench: &BenchEnv<'_>,
    case: &str,
    messages: Arc<Vec<Outgoing>>,
    send: impl AsyncFnOnce(&TestEnv<'_>, Arc<Vec<Outgoing>>) -> anyhow::Result<()>,
) -> anyhow::Result<Sample> {
    let environment = bench.environment().await?;
    let count = messages.len();
    let before = cpu::read(bench.services, &[])?;
    let begun = Instant::now();
    send(&environment, messages).await?;
    let took = begun.elapsed();
    let mut cpu = cpu::read(bench.services, &[])? - before;
    (cpu.workers, cpu.bench) = (cpu.bench, 0.0);
    let there = load::waiting(&environment.amqp()?, &queue_of(load::domain()?.name)).await?;
    ensure!(there == count, "{there} messages are in the queue");
    environment.clear().await?;
    Ok(Sample::new(case).throughput(count, took).cpu(cpu))
}

/// The same properties, the same number of messages that may wait for their confirm; no retries, no
/// accounts, no reconnecting.
async fn bare(environment: &TestEnv<'_>, messages: Arc<Vec<Outgoing>>) -> anyhow::Result<()> {
    let window = Settings::default().window;
    let connection = connect(&environment.amqp()?, "bench").await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut open = VecDeque::with_capacity(window);
    for message in messages.iter() {
        if open.len() == window {
            // Half of them at once: many in one go are cheaper for both sides.
            for confirm in open.drain(..window / 2) {
                confirmed(confirm).await?;
            }
        }
        let now = chrono::Utc::now().timestamp_micros();
        let mut headers = FieldTable::default();
        headers.insert("x-published-at".into(), AMQPValue::LongLongInt(now));
        let key = message.route.routing_key();
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_app_id("bench".into())
            .with_timestamp(now.unsigned_abs() / 1_000_000)
            .with_headers(headers)
            .with_message_id(message.id.context("an id")?.to_string().into())
            .with_type(key.into());
        let confirm = channel
            .basic_publish(
                EXCHANGE.into(),
                key.into(),
                options,
                &message.body,
                properties,
            )
            .await?;
        open.push_back(confirm);
    }
    for confirm in open {
        confirmed(confirm).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

async fn confirmed(
    confirm: impl Future<Output = lapin::Result<Confirmation>>,
) -> anyhow::Result<()> {
    let confirmation = confirm.await?;
    ensure!(
        confirmation.is_ack() && confirmation.take_message().is_none(),
        "a message was not taken"
    );
    Ok(())
}
