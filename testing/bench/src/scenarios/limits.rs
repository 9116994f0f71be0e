//! Upper bounds of a drain: each of its parts alone, on the same messages.

use std::time::{Duration, Instant};

use acequia_net::topology::{connect, queue_of};
use acequia_store::promotion::check_references_per_statement;
use acequia_testkit::TestDatabase;
use anyhow::{Context, ensure};
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection, PgConnection};

use super::drain;
use crate::cpu;
use crate::environment::{BenchEnv, TestEnv};
use crate::load;
use crate::process::Process;
use crate::sample::Sample;

/// Messages in a transaction: more than the worker takes, so that the limit is not one of the batch.
const BATCH: usize = 5_000;
/// Rows in a promotion, as the worker's default.
const PROMOTE_MAX: i32 = 80_000;

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let mut samples = vec![consume_only(bench).await?];
    let environment = bench.environment().await?;
    samples.push(stage_only(&environment).await?);
    // Only databases without connections can be copied: the worker is gone by now.
    let copy = environment.database.copy(bench.services).await?;
    samples.push(merge_alone(&environment, &copy).await?);
    copy.drop().await?;
    samples.push(promote_alone(&environment).await?);
    samples.push(bare_copy(&environment).await?);
    environment.clear().await?;
    Ok(samples)
}

/// Takes the messages from the queue and acknowledges them, nothing else: what the broker and the
/// client allow.
async fn consume_only(bench: &BenchEnv<'_>) -> anyhow::Result<Sample> {
    let environment = bench.environment().await?;
    let messages = bench.messages().await?;
    let count = messages.len();
    environment.fill(messages).await?;
    let before = cpu::read(bench.services, &[])?;
    let begun = Instant::now();
    let connection = connect(&environment.amqp()?, "bench").await?;
    let channel = connection.create_channel().await?;
    let window = u16::try_from(2 * BATCH)?;
    channel
        .basic_qos(window, BasicQosOptions::default())
        .await?;
    let queue = queue_of(load::domain()?.name);
    let mut consumer = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    for taken in 1..=count {
        let delivery = consumer.next().await.context("the consumer ended")??;
        if taken % BATCH == 0 || taken == count {
            delivery
                .acker
                .ack(BasicAckOptions { multiple: true })
                .await?;
        }
    }
    let took = begun.elapsed();
    let mut cpu = cpu::read(bench.services, &[])? - before;
    (cpu.workers, cpu.bench) = (cpu.bench, 0.0);
    connection.close(200, "done".into()).await?;
    environment.clear().await?;
    Ok(Sample::new("consume and ack")
        .throughput(count, took)
        .cpu(cpu))
}

/// The worker as it is, without the right to promote.
async fn stage_only(environment: &TestEnv<'_>) -> anyhow::Result<Sample> {
    let messages = environment.bench.messages().await?;
    let count = messages.len();
    environment.fill(messages).await?;
    environment.forbid_promotion().await?;
    let mut owner = environment.owner().await?;
    let before = cpu::read(environment.bench.services, &[])?;
    // It would pause when too many rows wait for promotion.
    let all = count.to_string();
    let mut workers = [Process::worker(environment, &["--staged-max", &all])?];
    let totals = drain::until(&mut owner, count, &mut workers, |_| true).await?;
    let staged = drain::finish(environment, before, totals, &workers)?;
    ensure!(
        totals.staged == i64::try_from(count)?,
        "staging alone was not alone: {totals:?}"
    );
    for worker in workers {
        worker.stop().await?;
    }
    Ok(staged.sample("consume, decode, stage", count))
}

/// A connection that checks foreign keys as the promote loop's does.
async fn promoter(url: &str) -> anyhow::Result<PgConnection> {
    let mut connection = PgConnection::connect(url).await?;
    ensure!(
        check_references_per_statement(&mut connection).await?,
        "foreign keys are checked row by row here, but not by the worker"
    );
    Ok(connection)
}

/// The batches that wait for promotion, oldest first, as many at a time as the worker promotes.
async fn chunks(connection: &mut PgConnection, domain: &str) -> anyhow::Result<Vec<Vec<i64>>> {
    let batches: Vec<(i64, i64)> = sqlx::query_as(
        "select b.batch_id, sum(e.staged)::bigint from core.batches b join core.batch_entities e using (batch_id)
         where b.domain = $1 and b.state = 'staged' group by b.batch_id order by b.batch_id",
    )
    .bind(domain)
    .fetch_all(connection)
    .await?;
    let mut chunks: Vec<Vec<i64>> = Vec::new();
    let mut rows = i64::MAX;
    for (batch, staged) in batches {
        if rows >= i64::from(PROMOTE_MAX) {
            chunks.push(Vec::new());
            rows = 0;
        }
        rows += staged;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(batch);
        }
    }
    Ok(chunks)
}

/// The merge functions on rows that are staged already: what PostgreSQL needs for the work that
/// the pipeline is there for.
async fn merge_alone(environment: &TestEnv<'_>, staged: &TestDatabase) -> anyhow::Result<Sample> {
    let domain = load::domain()?;
    let mut owner = promoter(&staged.owner).await?;
    let chunks = chunks(&mut owner, domain.name).await?;
    let statements: Vec<String> = domain
        .entities
        .iter()
        .map(|entity| {
            format!(
                "select coalesce(sum(staged), 0)::bigint from {}($1)",
                entity.merge
            )
        })
        .collect();
    environment.checkpoint().await?;
    let before = cpu::read(environment.bench.services, &[])?;
    let begun = Instant::now();
    let mut rows = 0;
    for chunk in chunks {
        let mut transaction = owner.begin().await?;
        for statement in &statements {
            let merged: i64 = sqlx::query_scalar(AssertSqlSafe(statement.as_str()))
                .bind(&chunk)
                .fetch_one(&mut *transaction)
                .await?;
            rows += merged;
        }
        transaction.commit().await?;
    }
    let took = begun.elapsed();
    let cpu = cpu::read(environment.bench.services, &[])? - before;
    let count = environment.bench.messages().await?.len();
    ensure!(
        rows == i64::try_from(count)?,
        "{rows} rows were merged, not {count}"
    );
    Ok(Sample::new("merges alone").throughput(count, took).cpu(cpu))
}

/// `core.promote` on the same rows: the merges and the ledger.
async fn promote_alone(environment: &TestEnv<'_>) -> anyhow::Result<Sample> {
    let domain = load::domain()?;
    let count = environment.bench.messages().await?.len();
    let mut owner = promoter(&environment.database.owner).await?;
    environment.checkpoint().await?;
    let before = cpu::read(environment.bench.services, &[])?;
    let begun = Instant::now();
    let mut rows = 0;
    loop {
        let promoted: i64 = sqlx::query_scalar(
            "select coalesce(sum(inserted + updated + unchanged + stale), 0)::bigint from core.promote_domain($1, $2)",
        )
        .bind(domain.name)
        .bind(PROMOTE_MAX)
        .fetch_one(&mut owner)
        .await?;
        if promoted == 0 {
            break;
        }
        rows += promoted;
    }
    let took = begun.elapsed();
    let cpu = cpu::read(environment.bench.services, &[])? - before;
    ensure!(
        rows == i64::try_from(count)?,
        "{rows} rows were promoted, not {count}"
    );
    Ok(Sample::new("core.promote alone")
        .throughput(count, took)
        .cpu(cpu))
}

/// `COPY` of the same rows into empty staging tables, a transaction for each batch: the fastest
/// way to write rows to PostgreSQL.
async fn bare_copy(staged: &TestEnv<'_>) -> anyhow::Result<Sample> {
    let domain = load::domain()?;
    let environment = staged.bench.environment().await?;
    let mut from = staged.owner().await?;
    // Over its socket: by TCP the end of each COPY would wait for a delayed acknowledgement.
    let socket = staged.bench.services.var("POSTGRES_SOCKET_DIR")?;
    let options: PgConnectOptions = environment.database.owner.parse()?;
    let mut to = options.socket(socket).connect().await?;
    let mut parts: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for entity in &domain.entities {
        let fields: Vec<&str> = entity.columns.iter().map(|column| column.name).collect();
        let columns = format!(
            "message_id, day, batch_id, event_at, published_at, {}",
            fields.join(", ")
        );
        let table = entity.staging;
        let mut rows = from
            .copy_out_raw(&format!("copy (select {columns} from {table}) to stdout"))
            .await?;
        let mut text = Vec::new();
        while let Some(piece) = rows.next().await {
            text.extend_from_slice(&piece?);
        }
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let pieces = lines.chunks(BATCH).map(<[&[u8]]>::concat).collect();
        parts.push((format!("copy {table} ({columns}) from stdin"), pieces));
    }
    environment.checkpoint().await?;
    let before = cpu::read(staged.bench.services, &[])?;
    let begun = Instant::now();
    let mut rows = 0;
    for (statement, pieces) in &parts {
        for piece in pieces {
            let mut copy = to.copy_in_raw(statement).await?;
            copy.send(piece.as_slice()).await?;
            rows += copy.finish().await?;
        }
    }
    let took: Duration = begun.elapsed();
    let cpu = cpu::read(staged.bench.services, &[])? - before;
    let count = staged.bench.messages().await?.len();
    ensure!(rows == count as u64, "{rows} rows were copied, not {count}");
    environment.clear().await?;
    Ok(Sample::new("bare COPY").throughput(count, took).cpu(cpu))
}
