//! `worker quarantine replay`, `discard` and `restore`.

use std::path::PathBuf;
use std::process::ExitCode;

use acequia_args::{BrokerArgs, OperatorDatabase};
use acequia_ops::quarantine::{
    self, Actor, Edit, Failed, Filters, Job, LeftOut, Report, Sender, Status, Would,
};
use anyhow::{Context, bail};
use clap::Args;
use sqlx::PgConnection;

use super::{FilterArgs, open};
use crate::cli::actor;
use crate::cli::output::{code, print_json, print_table, printable};

/// Options that the commands that change rows have in common.
#[derive(Debug, Args)]
struct ActionArgs {
    /// Every row of the status, without a filter
    #[arg(long)]
    all: bool,
    /// Count the rows, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why; kept with the rows and in core.audit_log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Person who does it; by default the system user, else the role of the database
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl ActionArgs {
    /// The selected rows: open ones, unless a status is given.
    fn filters(&self, filters: FilterArgs) -> anyhow::Result<Filters> {
        self.narrow(filters.filters()).map(Filters::or_open)
    }

    /// The selected rows of those that are discarded.
    fn discarded(&self, filters: FilterArgs) -> anyhow::Result<Filters> {
        let mut filters = filters.filters();
        let status = std::mem::take(&mut filters.status);
        if status.iter().any(|status| *status != Status::Discarded) {
            bail!("--status: only discarded rows can be restored");
        }
        let mut filters = self.narrow(filters)?;
        filters.status.push(Status::Discarded);
        Ok(filters)
    }

    /// Refuses to take every row by mistake.
    fn narrow(&self, filters: Filters) -> anyhow::Result<Filters> {
        if !self.all && !filters.is_narrow() {
            bail!("no filter is given: give one, or --all for every row");
        }
        Ok(filters)
    }

    fn actor(&self, filters: &Filters) -> anyhow::Result<Actor> {
        let name = actor::name(self.by.as_deref());
        Ok(Actor::new(name, self.reason.clone(), filters)?)
    }
}

/// Options of `worker quarantine replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    action: ActionArgs,
    /// Send the bytes of this file instead of the body; for exactly one row. The original stays,
    /// later replays send the newest version
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Most messages sent a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    // Last: their heading goes on to the end.
    #[command(flatten)]
    filters: FilterArgs,
}

/// Options of `worker quarantine discard` and `restore`.
#[derive(Debug, Args)]
pub struct MarkArgs {
    #[command(flatten)]
    database: OperatorDatabase,
    #[command(flatten)]
    action: ActionArgs,
    // Last: their heading goes on to the end.
    #[command(flatten)]
    filters: FilterArgs,
}

/// Replays every row that matches.
pub async fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let filters = args.action.filters(args.filters)?;
    let edit = match &args.edit {
        Some(file) => {
            let body = std::fs::read(file);
            Some(Edit {
                body: body.with_context(|| format!("--edit: cannot read {}", file.display()))?,
                revision: None,
            })
        }
        None => None,
    };
    let mut connection = open(&args.database).await?;
    if args.action.dry_run {
        return dry_run(&mut connection, &filters, args.action.json).await;
    }
    let job = Job {
        actor: args.action.actor(&filters)?,
        filters,
        edit,
        rate: args.rate,
    };
    let sender = Sender::connect(&args.broker.url()?, "acequia-worker replay")
        .await
        .context("broker")?;
    let mut report = Report::default();
    let outcome = quarantine::replay(&mut connection, &sender, &job, &mut report).await;
    sender.close().await;
    if let Err(error) = outcome {
        let done = report.replayed;
        if job.edit.is_some() {
            return Err(match error.is::<quarantine::EditOfSeveral>() {
                true => error.context("--edit without --id"),
                false => error,
            });
        }
        return Err(error.context(format!(
            "{done} were replayed before this; run it again, what arrives twice has no second effect"
        )));
    }
    if args.action.json {
        print_json(&report)?;
    } else {
        print(&report);
    }
    Ok(code(report.replayed > 0 && report.failed == 0))
}

fn print(report: &Report) {
    if report.replayed + report.failed > 0 {
        println!("{} replayed, {} not", report.replayed, report.failed);
    } else {
        acequia_telemetry::note!("nothing matches, or another process is replaying it");
    }
    for Failed {
        quarantine_id,
        reason,
    } in &report.failures
    {
        println!("{quarantine_id}: {}", printable(reason));
    }
    for LeftOut {
        quarantine_id,
        properties,
    } in &report.left_out
    {
        let properties = printable(&properties.join(", "));
        println!("{quarantine_id}: sent without what cannot be sent as it came: {properties}");
    }
}

/// Marks every row that matches as discarded.
pub async fn discard(args: MarkArgs) -> anyhow::Result<ExitCode> {
    let filters = args.action.filters(args.filters)?;
    let mut connection = open(&args.database).await?;
    if args.action.dry_run {
        return dry_run(&mut connection, &filters, args.action.json).await;
    }
    let actor = args.action.actor(&filters)?;
    let discarded = quarantine::discard(&mut connection, &filters, &actor).await?;
    marked("discarded", discarded, args.action.json)
}

/// Opens every discarded row that matches again.
pub async fn restore(args: MarkArgs) -> anyhow::Result<ExitCode> {
    let filters = args.action.discarded(args.filters)?;
    let mut connection = open(&args.database).await?;
    if args.action.dry_run {
        return dry_run(&mut connection, &filters, args.action.json).await;
    }
    let actor = args.action.actor(&filters)?;
    let restored = quarantine::restore(&mut connection, &filters, &actor).await?;
    marked("restored", restored, args.action.json)
}

/// Reports rows that have another status now.
fn marked(verb: &str, rows: usize, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print_json(&serde_json::json!({verb: rows}))?;
    } else if rows > 0 {
        println!("{rows} {verb}");
    } else {
        acequia_telemetry::note!("nothing matches");
    }
    Ok(code(rows > 0))
}

/// Counts the rows that an action would change.
async fn dry_run(
    connection: &mut PgConnection,
    filters: &Filters,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let would = quarantine::dry_run(connection, filters).await?;
    let rows: i64 = would.iter().map(|would| would.rows).sum();
    if json {
        print_json(&serde_json::json!({"dry_run": true, "rows": rows, "by": would}))?;
    } else {
        let lines = would.iter().map(|would| {
            let Would {
                domain,
                entity,
                code,
                rows,
            } = would;
            vec![
                domain.clone(),
                entity.clone(),
                code.clone(),
                rows.to_string(),
            ]
        });
        print_table(&["domain", "entity", "code", "rows"], lines);
        println!("{rows} rows would be taken; nothing was changed");
    }
    Ok(code(rows > 0))
}
