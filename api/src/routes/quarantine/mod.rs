//! Messages that could not be promoted, and what people do about them.

mod edit;

use acequia_contracts::envelope::UNKNOWN;
use acequia_ops::quarantine::{self, Filters, Group, Id, Row, Status, Whole, Would};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::guard::{As, Look, Operate};
use crate::auth::{Caller, Right};
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::operations::{self, New, Operation};
use crate::docs::Refusals;
use crate::filters::{self, Chosen};
use crate::layer::Noted;
use crate::paging::{Json, List, Page, limit};
use crate::params::Params;
use crate::precondition::{IfMatch, Tagged};
use crate::problem::{Problem, Result};
use crate::routes::gates::reason;
use crate::routes::operations::accepted;

/// Maximum number of groups in a list.
const GROUPS: u32 = 1_000;

/// Rows of the quarantine, the newest first
#[utoipa::path(get, path = "/v1/quarantine", tag = "quarantine", extensions(("x-acequia-right" = json!("look"))),
    params(Chosen,
        ("limit" = Option<i64>, Query, description = "Rows of a page, 1 to 1000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ), responses((status = 200, description = "A page", body = Page<Row>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Row>>> {
    let mut filters = filters::of_params(&caller, &mut params, app.clock.now())?;
    let limit = limit(&mut params)?;
    let cursor = params.one("cursor")?;
    params.end()?;
    let mut key = filters.clone();
    // Spans move with the clock: a page later they mean another instant.
    (key.since, key.until) = (None, None);
    let list = List::of(&[
        "quarantine",
        &serde_json::to_string(&key).unwrap_or_default(),
    ]);
    let last: Option<i64> = list.position(cursor.as_deref())?;
    filters.through = last.map(|last| last - 1);
    filters.limit = u32::try_from(limit).ok();
    let mut database = app.database().await?;
    let page = quarantine::list(&mut database, &filters).await?;
    database.done();
    let next = page
        .rows
        .last()
        .filter(|_| page.more)
        .map(|row| list.cursor(row.quarantine_id));
    Ok(Json(Page {
        items: page.rows,
        next,
    }))
}

/// How many rows there are of each cause, the most open first
///
/// At most a thousand causes.
#[utoipa::path(get, path = "/v1/quarantine/groups", tag = "quarantine", extensions(("x-acequia-right" = json!("look"))),
    params(Chosen), responses((status = 200, description = "The groups", body = Page<Group>), Refusals))]
pub async fn groups(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Group>>> {
    let mut filters = filters::of_params(&caller, &mut params, app.clock.now())?;
    params.end()?;
    filters.limit = Some(GROUPS);
    let mut database = app.database().await?;
    let groups = quarantine::stats(&mut database, &filters).await?;
    database.done();
    Ok(Json(Page::whole(groups.rows)))
}

/// A row with its body, its versions and its history
///
/// Body, properties and versions are left out for callers who may not see payloads.
#[utoipa::path(get, path = "/v1/quarantine/{id}", tag = "quarantine", extensions(("x-acequia-right" = json!("look"))),
    params(("id" = String, Path, description = "Number of the row, or id of the message")), responses(
    (status = 200, description = "The row", body = Whole, headers(("ETag" = String, description = "For `If-Match` of an edit"))), Refusals))]
pub async fn show(
    State(app): State<App>,
    caller: As<Look>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Tagged<Json<serde_json::Value>>> {
    params.end()?;
    let which = id.parse().map_or_else(|_| Id::of_message(&id), Id::Number);
    let filters = Filters {
        id: vec![which],
        domain: caller.domains.clone().unwrap_or_default(),
        limit: Some(1),
        ..Filters::default()
    };
    let mut database = app.database().await?;
    let page = quarantine::show(&mut database, &filters).await?;
    database.done();
    let row = page
        .rows
        .into_iter()
        .next()
        .ok_or_else(|| Problem::not_found("such row in quarantine"))?;
    let mut shown = serde_json::to_value(&row).map_err(anyhow::Error::from)?;
    if !caller.role.may(Right::Payloads) {
        for secret in ["body", "encoding", "properties", "versions"] {
            if let Some(row) = shown.as_object_mut() {
                row.remove(secret);
            }
        }
    }
    Ok(Tagged(Json(shown), row.revision))
}

/// An action on every row that matches.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Which rows; at least one condition, or `all`.
    #[serde(default)]
    filter: Chosen,
    /// Every row of the scope, without a condition.
    #[serde(default)]
    all: bool,
    /// Why; kept in the audit log. Not needed for a dry run.
    #[serde(default)]
    reason: String,
    /// Count what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
    /// Messages per second, at most; replay only.
    #[serde(default)]
    rate: Option<i32>,
    /// A body that takes the place of the original, for exactly one row; replay only. The original is kept.
    #[serde(default)]
    edit: Option<String>,
}

/// The rows that an action would change.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRun {
    /// Always true.
    dry_run: bool,
    /// Rows that match.
    rows: i64,
    /// The same by domain, entity and code.
    by: Vec<Would>,
}

/// Send every row that matches again
///
/// An operation: see `GET /v1/operations/{id}` for its progress. With `edit` one row is sent at once, if it is still in the state
/// that `If-Match` names, and the answer is what became of it.
#[utoipa::path(post, path = "/v1/quarantine/replay", tag = "quarantine", extensions(("x-acequia-right" = json!("operate"))),
    params(("If-Match" = Option<String>, Header, description = "`ETag` of the row, or `*`; required with `edit`, unless it is a dry run")), request_body = Act, responses(
    (status = 200, description = "Nothing was done: a dry run; or one edited row was sent", body = DryRun),
    (status = 202, description = "The operation", body = Operation), Refusals))]
pub async fn replay(
    State(app): State<App>,
    caller: As<Operate>,
    if_match: IfMatch,
    Input(act): Input<Act>,
) -> Result<Response> {
    app.publisher()?;
    if let Some(body) = &act.edit {
        return edit::edit(&app, &caller, &act, body.as_bytes().to_vec(), if_match).await;
    }
    begin(&app, &caller, act, "replay", Status::Open).await
}

/// Give every row that matches up
///
/// `POST /v1/operations/{id}/undo` takes it back while the rows are kept.
#[utoipa::path(post, path = "/v1/quarantine/discard", tag = "quarantine", extensions(("x-acequia-right" = json!("operate"))), request_body = Act, responses(
    (status = 200, description = "Nothing was done: a dry run", body = DryRun),
    (status = 202, description = "The operation", body = Operation), Refusals))]
pub async fn discard(
    State(app): State<App>,
    caller: As<Operate>,
    Input(act): Input<Act>,
) -> Result<Response> {
    begin(&app, &caller, act, "discard", Status::Open).await
}

/// Open every discarded row that matches again
#[utoipa::path(post, path = "/v1/quarantine/restore", tag = "quarantine", extensions(("x-acequia-right" = json!("operate"))), request_body = Act, responses(
    (status = 200, description = "Nothing was done: a dry run", body = DryRun),
    (status = 202, description = "The operation", body = Operation), Refusals))]
pub async fn restore(
    State(app): State<App>,
    caller: As<Operate>,
    Input(mut act): Input<Act>,
) -> Result<Response> {
    if act
        .filter
        .status
        .iter()
        .any(|status| *status != Status::Discarded)
    {
        return Err(Problem::parameter(
            "status",
            "only discarded rows can be restored",
        ));
    }
    act.filter.status = vec![Status::Discarded];
    begin(&app, &caller, act, "restore", Status::Discarded).await
}

/// The rows that are meant: of one status unless the filter has another, within the caller's scope.
fn meant(app: &App, caller: &Caller, act: &Act, status: Status) -> Result<Filters> {
    let mut filters = act.filter.clone().within(caller, app.clock.now())?;
    let narrow = Filters {
        // Restoring all is as wide as discarding all.
        status: Vec::new(),
        domain: act.filter.domain.clone(),
        ..filters.clone()
    };
    if !act.all && !narrow.is_narrow() {
        return Err(Problem::parameter(
            "filter",
            "has no condition: give one, or \"all\": true for every row",
        ));
    }
    if filters.status.is_empty() {
        filters.status.push(status);
    }
    Ok(filters)
}

async fn begin(
    app: &App,
    caller: &Caller,
    act: Act,
    kind: &'static str,
    status: Status,
) -> Result<Response> {
    if kind != "replay" && (act.rate.is_some() || act.edit.is_some()) {
        return Err(Problem::parameter("rate", "and edit are for replay only"));
    }
    if act.rate.is_some_and(|rate| rate < 1) {
        return Err(Problem::parameter("rate", "must be at least 1"));
    }
    if !act.reason.is_empty() {
        reason(&act.reason)?;
    }
    let filters = meant(app, caller, &act, status)?;
    let mut database = app.database().await?;
    let by = quarantine::dry_run(&mut database, &filters).await?;
    let rows = by.iter().map(|would| would.rows).sum();
    if act.dry_run {
        database.done();
        let answer = Json(DryRun {
            dry_run: true,
            rows,
            by,
        });
        return Ok(Noted(answer, note(act.reason, &filters, rows)).into_response());
    }
    let reason = reason(&act.reason)?;
    // Without the login it would wait for a process that has one.
    let operator = app.operator().await?;
    operator.done();
    let who = caller.who();
    let chosen = serde_json::to_value(&filters).map_err(anyhow::Error::from)?;
    let new = New {
        kind,
        who: &who,
        reason: Some(reason),
        domains: (!filters.domain.is_empty()).then_some(filters.domain.as_slice()),
        filters: &chosen,
        rate: act.rate,
        matched: rows,
    };
    let operation = operations::ask(&mut database, &new).await?;
    database.done();
    let note = note(reason.to_owned(), &filters, rows);
    Ok(accepted(app, operation, note))
}

fn note(reason: String, filters: &Filters, rows: i64) -> Note {
    let domain = match filters.domain.as_slice() {
        [one] if one != UNKNOWN => Some(one.clone()),
        _ => None,
    };
    Note {
        domain,
        reason: (!reason.is_empty()).then_some(reason),
        detail: json!({"filters": filters, "matched": rows}),
    }
}
