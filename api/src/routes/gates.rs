//! Marts that failing rules block, and people who decide otherwise.

use acequia_args::duration;
use std::time::Duration;

use acequia_ops::gates::{self, Done, Gate};
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::guard::{As, Look, Operate};
use crate::auth::{Caller, Right};
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::events;
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::scope::scope;

/// Failing rules and the marts that they concern
///
/// Nothing in the list: no rule of severity error fails. `sample_keys` are empty for callers who may not see payloads.
#[utoipa::path(get, path = "/v1/gates", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The gates", body = Page<Gate>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Gate>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let marts = marts_of(&mut database, domains.as_deref()).await?;
    let mut gates = gates::list(&mut database, marts.as_deref()).await?;
    database.done();
    if !caller.role.may(Right::Payloads) {
        gates.iter_mut().for_each(|gate| gate.sample_keys.clear());
    }
    Ok(Json(Page::whole(gates)))
}

/// Gates that are to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Marts with their schema; all of the scope when empty.
    #[serde(default)]
    marts: Vec<String>,
    /// Why; kept in the audit log.
    reason: String,
    /// For how long, as 30m, 2h or 1d; until a rule passes or gets worse when not given.
    #[serde(default, rename = "for")]
    period: Option<String>,
}

/// Gates that are to be closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Marts with their schema; all of the scope when empty.
    #[serde(default)]
    marts: Vec<String>,
    /// Why; kept in the audit log.
    reason: String,
}

/// Let marts be refreshed although rules fail
///
/// They stay marked as not trusted. The answer lists marts and rules; nothing when no gate was closed.
#[utoipa::path(post, path = "/v1/gates/open", tag = "state", extensions(("x-acequia-right" = json!("operate"))), request_body = Open, responses(
    (status = 200, description = "What was opened", body = Page<Done>), Refusals))]
pub async fn open(
    State(app): State<App>,
    caller: As<Operate>,
    Input(asked): Input<Open>,
) -> Result<Noted<Json<Page<Done>>>> {
    let period = match &asked.period {
        None => None,
        Some(text) => Some(
            duration(text)
                .ok()
                .filter(|period| {
                    (Duration::from_secs(1)..=Duration::from_secs(365 * 86_400)).contains(period)
                })
                .ok_or_else(|| {
                    Problem::parameter("for", "must be a time span from 1s to 365d, as 30m or 2h")
                })?,
        ),
    };
    let reason = reason(&asked.reason)?;
    let marts = marts(&app, &caller, asked.marts).await?;
    let mut operator = app.operator().await?;
    let who = caller.who();
    let done = gates::open(&mut operator, marts.as_deref(), period, Some(&who), reason).await?;
    operator.done();
    tell(&app, "open", &who, reason, &done).await?;
    Ok(noted(done, reason))
}

/// Take openings back
#[utoipa::path(post, path = "/v1/gates/close", tag = "state", extensions(("x-acequia-right" = json!("operate"))), request_body = Close, responses(
    (status = 200, description = "What was closed", body = Page<Done>), Refusals))]
pub async fn close(
    State(app): State<App>,
    caller: As<Operate>,
    Input(asked): Input<Close>,
) -> Result<Noted<Json<Page<Done>>>> {
    let reason = reason(&asked.reason)?;
    let marts = marts(&app, &caller, asked.marts).await?;
    let mut operator = app.operator().await?;
    let who = caller.who();
    let done = gates::close(&mut operator, marts.as_deref(), Some(&who), reason).await?;
    operator.done();
    tell(&app, "close", &who, reason, &done).await?;
    Ok(noted(done, reason))
}

/// A reason that says something.
///
/// # Errors
/// `invalid_parameter` when it does not.
pub fn reason(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.is_empty() || text.len() > 1_000 || text.contains('\0') {
        return Err(Problem::parameter(
            "reason",
            "must say why, in at most 1000 bytes and without U+0000",
        ));
    }
    Ok(text)
}

fn noted(done: Vec<Done>, reason: &str) -> Noted<Json<Page<Done>>> {
    let note = Note {
        domain: None,
        reason: Some(reason.to_owned()),
        detail: json!({"gates": done.len()}),
    };
    Noted(Json(Page::whole(done)), note)
}

async fn tell(app: &App, action: &str, who: &str, reason: &str, done: &[Done]) -> Result<()> {
    if done.is_empty() {
        return Ok(());
    }
    let data = json!({"action": action, "who": who, "reason": reason, "gates": done});
    let mut database = app.database().await?;
    events::write(&mut database, "gates", None, &data).await?;
    database.done();
    Ok(())
}

/// The marts of domains; `None` for all.
async fn marts_of(
    database: &mut PgConnection,
    domains: Option<&[String]>,
) -> Result<Option<Vec<String>>> {
    let Some(domains) = domains else {
        return Ok(None);
    };
    let marts = acequia_ops::marts::list(database, Some(domains)).await?;
    Ok(Some(marts.into_iter().map(|mart| mart.mart).collect()))
}

/// The marts that are asked for, all of them there and in the caller's scope; `None` for all.
async fn marts(app: &App, caller: &Caller, asked: Vec<String>) -> Result<Option<Vec<String>>> {
    let mut database = app.database().await?;
    if asked.is_empty() {
        let marts = marts_of(&mut database, caller.domains.as_deref()).await?;
        database.done();
        return Ok(marts);
    }
    let known = acequia_ops::marts::list(&mut database, None).await?;
    database.done();
    for name in &asked {
        let found = known.iter().find(|mart| mart.mart == *name);
        let mart = found.ok_or_else(|| {
            Problem::parameter(
                "marts",
                format!("there is no mart {name}; GET /v1/marts lists them"),
            )
        })?;
        caller.insist_on(&mart.domain)?;
    }
    Ok(Some(asked))
}
