//! Sends one row with another body, at once, if nobody has decided about it meanwhile.

use acequia_ops::quarantine::{self, Actor, Edit, Failed, Filters, Id, Job, Report, Status};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Act, DryRun, meant, note};
use crate::app::App;
use crate::auth::Caller;
use crate::layer::Noted;
use crate::operations;
use crate::paging::Json;
use crate::precondition::IfMatch;
use crate::problem::{Code, Problem, Result};
use crate::routes::gates::reason;

/// What became of an edited row.
#[derive(Debug, Serialize, ToSchema)]
pub struct Edited {
    /// Rows that were sent.
    replayed: usize,
    /// Rows that no queue took.
    failed: usize,
    /// Why not.
    failures: Vec<Failed>,
}

/// The refusal of an edit that is not about exactly one row.
fn not_one(rows: impl std::fmt::Display) -> Problem {
    Problem::parameter(
        "filter",
        format!("matches {rows} rows, and an edit is for one: choose it by its id"),
    )
}

/// Sends the row that matches with another body.
pub async fn edit(
    app: &App,
    caller: &Caller,
    act: &Act,
    body: Vec<u8>,
    if_match: IfMatch,
) -> Result<Response> {
    let filters = meant(app, caller, act, Status::Open)?;
    let mut operator = app.operator().await?;
    if act.dry_run {
        let by = quarantine::dry_run(&mut operator, &filters).await?;
        operator.done();
        let rows: i64 = by.iter().map(|would| would.rows).sum();
        if rows != 1 {
            return Err(not_one(rows));
        }
        let answer = Json(DryRun {
            dry_run: true,
            rows,
            by,
        });
        return Ok(Noted(answer, note(String::new(), &filters, rows)).into_response());
    }
    let reason = reason(&act.reason)?;
    let wanted = if_match.required()?;
    // Whatever its status: a row that somebody else has sent is not gone, it has changed.
    let any = Filters {
        status: Vec::new(),
        limit: Some(2),
        ..filters.clone()
    };
    let rows = quarantine::revised(&mut operator, &any).await?;
    let [row] = rows.as_slice() else {
        operator.done();
        return Err(not_one(if rows.is_empty() { "no" } else { "several" }));
    };
    let revision = wanted.held_by(&row.revision)?;
    if !filters.status.iter().any(|one| one.as_str() == row.status) {
        operator.done();
        return Err(Problem::new(
            Code::Conflict,
            format!(
                "the row is {}: an edit is for open ones, unless the filter has another status",
                row.status
            ),
        ));
    }
    let job = Job {
        actor: Actor::new(Some(caller.who()), Some(reason.to_owned()), &filters)
            .map_err(anyhow::Error::from)?,
        filters: Filters {
            id: vec![Id::Number(row.quarantine_id)],
            ..filters.clone()
        },
        edit: Some(Edit { body, revision }),
        rate: None,
    };
    let url = app.publisher()?.url().clone();
    let sender = operations::sender(&url).await?;
    let mut report = Report::default();
    let sent = quarantine::replay(&mut operator, &sender, &job, &mut report).await;
    sender.close().await;
    sent?;
    operator.done();
    if report.replayed + report.failed == 0 {
        return Err(Problem::new(
            Code::Conflict,
            "somebody else decided about the row at the same time, and nothing was sent",
        ));
    }
    let answer = Json(Edited {
        replayed: report.replayed,
        failed: report.failed,
        failures: report.failures,
    });
    Ok(Noted(answer, note(reason.to_owned(), &filters, 1)).into_response())
}
