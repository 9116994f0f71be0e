//! Work that takes longer than a call.

use axum::extract::{Path, State};
use serde_json::json;

use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look, Operate};
use crate::data::calls::Note;
use crate::data::operations::{self, Operation};
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::{Json, List, Page, limit};
use crate::params::Params;
use crate::problem::{Code, Problem, Result};
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
/// Finished rows stay finished: the answer has their number. A running operation stops after its current rows.
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
