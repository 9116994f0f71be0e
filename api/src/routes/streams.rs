//! Each domain's way from its queues to its tables, and people who pause it.

use acequia_ops::streams::{self, Change, Stream};
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::gates::reason;
use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look, Operate};
use crate::body::Input;
use crate::data::calls::Note;
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::scope::scope;

/// Each domain's way from its queues to its tables
#[utoipa::path(get, path = "/v1/streams", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The rows", body = Page<Stream>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Stream>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = streams::list(&mut database, domains.as_deref()).await?;
    database.done();
    Ok(Json(Page::whole(rows)))
}

/// Why a stream is paused or resumed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = StreamDecision)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Why; kept in the audit log.
    reason: String,
}

/// Leave a domain's messages in its queues
///
/// Workers finish what they hold and take nothing more until the stream is resumed; everything else goes on. A stream that is
/// paused stays so, and the answer says since when.
#[utoipa::path(post, path = "/v1/streams/{domain}/pause", tag = "state", extensions(("x-acequia-right" = json!("operate"))),
    params(("domain" = String, Path, description = "Domain")), request_body = Decision, responses(
    (status = 200, description = "What was done", body = Change), Refusals))]
pub async fn pause(
    State(app): State<App>,
    caller: As<Operate>,
    Path(domain): Path<String>,
    Input(decision): Input<Decision>,
) -> Result<Noted<Json<Change>>> {
    decide(&app, &caller, &domain, true, &decision).await
}

/// Take a domain's messages again
///
/// A stream that is not paused stays so.
#[utoipa::path(post, path = "/v1/streams/{domain}/resume", tag = "state", extensions(("x-acequia-right" = json!("operate"))),
    params(("domain" = String, Path, description = "Domain")), request_body = Decision, responses(
    (status = 200, description = "What was done", body = Change), Refusals))]
pub async fn resume(
    State(app): State<App>,
    caller: As<Operate>,
    Path(domain): Path<String>,
    Input(decision): Input<Decision>,
) -> Result<Noted<Json<Change>>> {
    decide(&app, &caller, &domain, false, &decision).await
}

async fn decide(
    app: &App,
    caller: &Caller,
    domain: &str,
    paused: bool,
    decision: &Decision,
) -> Result<Noted<Json<Change>>> {
    caller.insist_on(domain)?;
    let unknown = || Problem::not_found("such domain; GET /v1/domains lists them");
    if acequia_contracts::domain(domain).is_none() {
        return Err(unknown());
    }
    let reason = reason(&decision.reason)?;
    let mut operator = app.operator().await?;
    let who = caller.who();
    let change = streams::set_paused(&mut operator, domain, paused, Some(&who), reason).await?;
    operator.done();
    let change = change.ok_or_else(unknown)?;
    let note = Note {
        domain: Some(domain.to_owned()),
        reason: Some(reason.to_owned()),
        detail: json!({"paused": paused, "changed": change.changed}),
    };
    Ok(Noted(Json(change), note))
}
