//! `worker quarantine discard`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use sqlx::Connection;

use super::filters::{Filters, Status};
use super::mark::{Actor, mark, take};
use super::{ActionArgs, dry_run, open};
use crate::config::OperatorDatabase;

/// Rows marked in one transaction.
const CHUNK: i64 = 5_000;

/// Options of `worker quarantine discard`.
#[derive(Debug, Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    #[command(flatten)]
    action: ActionArgs,
    // Last: their heading goes on to the end.
    #[command(flatten)]
    filters: Filters,
}

/// Marks every row that matches as discarded.
pub async fn discard(args: DiscardArgs) -> anyhow::Result<ExitCode> {
    args.filters.insist(args.action.all)?;
    let filters = args.filters.or_open();
    let mut connection = open(&args.database).await?;
    if args.action.dry_run {
        return dry_run(&mut connection, &filters, args.action.json).await;
    }
    let actor = Actor::new(&args.action, &filters)?;
    let mut left = filters.limit(u32::MAX);
    let (mut after, mut discarded) = (0, 0);
    loop {
        let mut transaction = connection.begin().await.context("database")?;
        let limit = CHUNK.min(left);
        let taken = take(&mut transaction, &filters, after, limit, "for update")
            .await
            .context("database")?;
        let rows: Vec<_> = taken.into_iter().map(|(row, _)| row).collect();
        let Some(last) = rows.last().copied() else {
            break;
        };
        mark(&mut transaction, &actor, &rows, Status::Discarded)
            .await
            .context("database")?;
        transaction.commit().await.context("database")?;
        after = last;
        left -= i64::try_from(rows.len())?;
        discarded += rows.len();
    }
    if args.action.json {
        let report = serde_json::json!({"discarded": discarded});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if discarded > 0 {
        println!("{discarded} discarded");
    } else {
        acequia_telemetry::note!("nothing matches");
    }
    Ok(super::code(discarded > 0))
}
