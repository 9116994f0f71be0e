//! Work that takes longer than a call.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look, Operate};
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::events;
use crate::data::operations::{self, Operation};
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::operations::Lane;
use crate::paging::{Json, List, Page, limit};
use crate::params::Params;
use crate::problem::{Code, Problem, Result};
use crate::routes::gates::reason;
use crate::scope::scope;

/// States of an operation.
const STATES: [&str; 5] = ["queued", "running", "done", "failed", "cancelled"];

/// Operations, the newest first
#[utoipa::path(get, path = "/v1/operations", tag = "quarantine", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("domain" = Option<Vec<String>>, Query, description = "Only operations on these domains; all of the scope when not given"),
        ("state" = Option<Vec<String>>, Query, description = "`queued`, `running`, `done`, `failed` or `cancelled`"),
        ("limit" = Option<i64>, Query, description = "Rows of a page, 1 to 1000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ), responses((status = 200, description = "A page", body = Page<Operation>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Operation>>> {
    let domains = scope(&caller, &mut params)?;
    let states = params.list("state");
    if states.iter().any(|state| !STATES.contains(&state.as_str())) {
        return Err(Problem::parameter(
            "state",
            format!("must be one of {}", STATES.join(", ")),
        ));
    }
    let limit = limit(&mut params)?;
    let cursor = params.one("cursor")?;
    params.end()?;
    let list = List::of(&["operations", &format!("{domains:?} {states:?}")]);
    let before = list.position(cursor.as_deref())?;
    let mut database = app.database().await?;
    let rows = operations::list(
        &mut database,
        domains.as_deref(),
        &states,
        before,
        limit + 1,
    )
    .await?;
    database.done();
    Ok(Json(list.page(rows, limit, |row| row.operation_id)))
}

/// Whether an operation is about the caller's domains only.
fn sees(caller: &Caller, operation: &Operation) -> bool {
    match &operation.domains {
        Some(domains) => domains.iter().all(|domain| caller.sees(domain)),
        None => caller.domains.is_none(),
    }
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Operation> {
    let missing = || Problem::not_found("such operation");
    let id: i64 = id.parse().map_err(|_| missing())?;
    let mut database = app.database().await?;
    let operation = operations::find(&mut database, id).await?;
    database.done();
    operation
        .filter(|operation| sees(caller, operation))
        .ok_or_else(missing)
}

/// An operation with its progress
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "quarantine", extensions(("x-acequia-right" = json!("look"))),
    params(("id" = String, Path, description = "Number of the operation")), responses(
    (status = 200, description = "The operation", body = Operation), Refusals))]
pub async fn show(
    State(app): State<App>,
    caller: As<Look>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Operation>> {
    params.end()?;
    Ok(Json(find(&app, &caller, &id).await?))
}

/// Stop an operation
///
/// Finished rows and partitions stay finished: the answer has their number. A running operation stops after its current rows;
/// a partition that is being moved stays where it was.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "quarantine", extensions(("x-acequia-right" = json!("operate"))),
    params(("id" = String, Path, description = "Number of the operation")), responses(
    (status = 200, description = "The operation", body = Operation), Refusals))]
pub async fn cancel(
    State(app): State<App>,
    caller: As<Operate>,
    Path(id): Path<String>,
) -> Result<Noted<Json<Operation>>> {
    let operation = find(&app, &caller, &id).await?;
    let mut database = app.database().await?;
    let cancelled =
        operations::cancel(&mut database, operation.operation_id, &caller.who()).await?;
    database.done();
    let Some(cancelled) = cancelled else {
        return Err(Problem::new(
            Code::Conflict,
            format!("the operation has ended: {}", operation.state),
        ));
    };
    let note = Note {
        detail: json!({"operation": cancelled.operation_id, "done": cancelled.done}),
        ..Note::default()
    };
    Ok(Noted(Json(cancelled), note))
}

/// Answers with an operation that was written down, and wakes the task that carries it out.
pub fn accepted(app: &App, operation: Operation, note: Note) -> Response {
    app.work(Lane::of(&operation.kind)).notify_one();
    let location = format!("/v1/operations/{}", operation.operation_id);
    let answer = (
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(operation),
    );
    Noted(answer, note).into_response()
}

/// A discard that is to be taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// Why; kept in the audit log.
    reason: String,
}

/// Undo an operation
///
/// Of a discard: opens the rows again that it discarded and that nobody has touched since. The answer is the operation that does
/// it, with the rows that were discarded in `matched`; rows that somebody else decided about, or that are not kept any more, are
/// missing in its `done`. `can_undo` of an operation says whether it can be undone.
#[utoipa::path(post, path = "/v1/operations/{id}/undo", tag = "quarantine", extensions(("x-acequia-right" = json!("operate"))),
    params(("id" = String, Path, description = "Number of the operation")), request_body = Undo, responses(
    (status = 202, description = "The operation that undoes it", body = Operation), Refusals))]
pub async fn undo(
    State(app): State<App>,
    caller: As<Operate>,
    Path(id): Path<String>,
    Input(asked): Input<Undo>,
) -> Result<Response> {
    let discard = find(&app, &caller, &id).await?;
    let reason = reason(&asked.reason)?;
    if !discard.can_undo {
        return Err(cannot(&discard));
    }
    // Without the login it would wait for a process that has one.
    let operator = app.operator().await?;
    operator.done();
    let number = discard.operation_id;
    let mut database = app.database().await?;
    let undo = operations::undo(&mut database, number, &caller.who(), reason).await?;
    let now = operations::find(&mut database, number).await?;
    let Some(undo) = undo else {
        database.done();
        return Err(cannot(now.as_ref().unwrap_or(&discard)));
    };
    // Whoever looks at the discard hears that it cannot be undone again.
    let domain = undo.domain();
    events::write(&mut database, "operations", domain, &json!(now)).await?;
    database.done();
    let note = Note {
        domain: domain.map(ToOwned::to_owned),
        reason: Some(reason.to_owned()),
        detail: json!({"operation": number, "undone_by": undo.operation_id, "discarded": undo.matched}),
    };
    Ok(accepted(&app, undo, note))
}

/// Why an operation cannot be undone.
fn cannot(operation: &Operation) -> Problem {
    let detail = match operation {
        Operation {
            undone_by: Some(by),
            ..
        } => format!("operation {by} has undone it, or is about to"),
        Operation { kind, .. } if kind != "discard" => {
            format!("only a discard can be undone; this operation is of kind {kind}")
        }
        Operation {
            finished_at: None, ..
        } => "it has not ended: cancel it, or wait for its end".to_owned(),
        _ => "it has discarded nothing, or the audit log does not say any more which rows it discarded: POST /v1/quarantine/restore opens rows by filters".to_owned(),
    };
    Problem::new(Code::Conflict, detail)
}
