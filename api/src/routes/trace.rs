//! Routes that trace a message, or all messages of a key.

use std::time::Duration;

use acequia_ops::trace::{self, Target, Trace};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::auth::{Caller, Right};
use crate::docs::Refusals;
use crate::paging::Json;
use crate::params::Params;
use crate::problem::{Code, Problem, Result};

/// Longest time of one look into a table.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Outcome of a message
///
/// Under its id as the publisher gave it, or its identity. With `values=true` also what is in it, for callers who may see
/// payloads.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("id" = String, Path, description = "Id that the message was published with"),
        ("values" = Option<bool>, Query, description = "Also its fields"),
    ), responses((status = 200, description = "The trace", body = Trace), Refusals))]
pub async fn message(
    State(app): State<App>,
    caller: As<Look>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response> {
    let target = Target::parse(&id, &[]);
    // An id that is the name of an entity is none that anybody sent.
    let target = target.map_err(|_| Problem::not_found("message of that id"))?;
    answer(&app, &caller, params, &target).await
}

/// Everything that came under a key
///
/// The row of the domain table, the messages of the key in staging, and what waits for it. The parts of the key stand in the
/// order of `GET /v1/domains`, a slash between them. With `values=true` also what is in them, for callers who may see payloads.
#[utoipa::path(get, path = "/v1/entities/{domain}/{entity}/{key}", tag = "messages", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("domain" = String, Path, description = "Domain"),
        ("entity" = String, Path, description = "Entity"),
        ("key" = String, Path, description = "Parts of the key with slashes between them"),
        ("values" = Option<bool>, Query, description = "Also their fields"),
    ), responses((status = 200, description = "The trace", body = Trace), Refusals))]
pub async fn entity(
    State(app): State<App>,
    caller: As<Look>,
    Path((domain, entity, key)): Path<(String, String, String)>,
    params: Params,
) -> Result<Response> {
    let target = key_target(&caller, &domain, &entity, &key)?;
    answer(&app, &caller, params, &target).await
}

/// The target of a key in the caller's scope.
fn key_target(caller: &Caller, domain: &str, entity: &str, key: &str) -> Result<Target> {
    let entity = super::contracts::entity(caller, domain, entity)?;
    let parts: Vec<String> = key.split('/').map(ToOwned::to_owned).collect();
    if parts.len() != entity.key.len() {
        return Err(Problem::parameter(
            "key",
            format!(
                "has {} part(s); the key is {}",
                parts.len(),
                entity.key.join("/")
            ),
        ));
    }
    let name = format!("{}.{}", entity.domain, entity.name);
    Target::parse(&name, &parts).map_err(|error| Problem::parameter("key", error.to_string()))
}

async fn answer(
    app: &App,
    caller: &Caller,
    mut params: Params,
    target: &Target,
) -> Result<Response> {
    let values = params.flag("values")?;
    params.end()?;
    if values {
        caller.insist(Right::Payloads)?;
    }
    let found = look(app, target, values).await?;
    let missing = || {
        Problem::new(
            Code::NotFound,
            "nothing is known of it: it has not arrived, or it is older than staging is kept",
        )
    };
    if !found.is_known() {
        return Err(missing());
    }
    if caller.domains.is_none() {
        return Ok(Json(found).into_response());
    }
    let mut shown = serde_json::to_value(&found).map_err(anyhow::Error::from)?;
    if within(caller, &mut shown) {
        Ok(Json(shown).into_response())
    } else {
        Err(missing())
    }
}

/// Looks.
///
/// # Errors
/// When the database does not answer, or takes too long.
pub async fn look(app: &App, target: &Target, values: bool) -> Result<Trace> {
    let mut database = app.database().await?;
    let found = trace::trace(&mut database, target, values, TIMEOUT).await;
    match found {
        Ok(found) => {
            database.done();
            Ok(found)
        }
        Err(error) => Err(match error.downcast::<sqlx::Error>() {
            Ok(cause) => cause.into(),
            Err(error) => Problem::new(Code::Timeout, format!("{error:#}")),
        }),
    }
}

/// Leaves out what belongs to domains outside the caller's scope; whether anything is left. The same id may have been used in
/// several domains.
fn within(caller: &Caller, trace: &mut Value) -> bool {
    let sees = |part: &Value| {
        let entity = part["entity"].as_str().unwrap_or_default();
        caller.sees(entity.split('.').next().unwrap_or_default())
    };
    if trace["trace"] == "key" {
        if let Some(waiting) = trace["waiting"].as_array_mut() {
            waiting.retain(sees);
        }
        return sees(trace);
    }
    for list in ["rows", "more_quarantine"] {
        if let Some(parts) = trace[list].as_array_mut() {
            parts.retain(sees);
        }
    }
    if trace["quarantine"].is_object() && !sees(&trace["quarantine"]) {
        trace["quarantine"] = Value::Null;
    }
    if let Some(trace) = trace.as_object_mut() {
        trace.remove("lost");
    }
    let rows = trace["rows"]
        .as_array()
        .is_some_and(|rows| !rows.is_empty());
    let more = trace["more_quarantine"]
        .as_array()
        .is_some_and(|rows| !rows.is_empty());
    if let Some(outcome) = trace["rows"][0]["outcome"].as_str().map(ToOwned::to_owned) {
        trace["outcome"] = outcome.into();
    } else if let Some(status) = trace["quarantine"]["status"].as_str() {
        trace["outcome"] = match status {
            "open" => "quarantined",
            other => other,
        }
        .into();
    }
    rows || more || trace["quarantine"].is_object()
}
