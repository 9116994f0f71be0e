//! Sending messages.

mod call;
mod keys;

use acequia_args::duration;
use std::time::Duration;

use acequia_contracts::Entity;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use self::call::Call;
use self::keys::{begin, end, key};
use crate::app::{App, WAIT_MAX};
use crate::auth::Caller;
use crate::auth::guard::{As, Publish};
use crate::body::{bytes, media_type};
use crate::data::calls::Note;
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::params::Params;
use crate::problem::{Code, FieldError, Problem, Result};

/// Outcome of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Id that it was sent with.
    message_id: String,
    /// `<domain>.<entity>`
    message_type: String,
    /// `sent`: a queue has it, on disk. `valid`: a dry run, nothing was sent.
    status: &'static str,
    /// Where its trace is.
    trace: String,
    /// Its outcome, when the call waited: `current`, `superseded`, `pending`, `quarantined` and so on; null when nothing
    /// was known in that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The row of the domain table, when the call waited and the caller may see payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    row: Option<Value>,
}

/// Outcome of a line.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    /// Number of the line, from 1.
    line: usize,
    /// Id that the message was sent with; null when it was refused.
    message_id: Option<String>,
    /// `sent`, `valid` (a dry run) or `refused`.
    status: &'static str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Outcome of each line.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lines {
    /// `<domain>.<entity>`
    message_type: String,
    /// Messages that a queue has.
    sent: usize,
    /// Messages that are valid and were not sent: a dry run.
    valid: usize,
    /// Messages that were refused.
    refused: usize,
    /// Every line in its order; empty lines have none.
    lines: Vec<Line>,
}

/// Send a message, or up to 10,000 lines of them
///
/// Messages are checked by their contract, sent to the exchange, and answered once a queue has them on disk. A message with
/// `event_id` has that as its id; with the header Idempotency-Key its id follows from the key. A second message under an id has
/// no effect.
#[utoipa::path(post, path = "/v1/messages/{domain}/{entity}", tag = "messages", extensions(("x-acequia-right" = json!("publish"))),
    params(
        ("domain" = String, Path, description = "Domain"),
        ("entity" = String, Path, description = "Entity"),
        ("dry_run" = Option<bool>, Query, description = "Only check; send nothing"),
        ("wait" = Option<String>, Query, description = "Wait for the outcome of a single message: a span as 2s, at most 20s"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same call with the same key gets the same answer for a day"),
    ),
    request_body(content((Value = "application/json"), (String = "application/x-ndjson")), description = "One message, or one on each line"),
    responses(
        (status = 200, description = "A dry run, lines, or the outcome of a message that was waited for", body = Lines),
        (status = 202, description = "The message was sent", body = Accepted), Refusals))]
pub async fn send(
    State(app): State<App>,
    caller: As<Publish>,
    Path((domain, name)): Path<(String, String)>,
    mut params: Params,
    request: Request,
) -> Result<Response> {
    let entity = super::contracts::entity(&caller, &domain, &name)?;
    let dry_run = params.flag("dry_run")?;
    let wait = wait(&mut params)?;
    params.end()?;
    let headers = request.headers().clone();
    let many = match media_type(&headers).as_deref() {
        Some("application/json") => false,
        Some("application/x-ndjson" | "application/jsonl") => true,
        _ => {
            return Err(Problem::new(
                Code::UnsupportedType,
                "send application/json for one message, application/x-ndjson for one on each line",
            ));
        }
    };
    if many && wait.is_some() {
        return Err(Problem::parameter("wait", "is for single messages"));
    }
    let body = bytes(request, &()).await?;
    let call = Call {
        app: &app,
        caller: &caller,
        entity,
        key: key(&headers, &caller, &domain, &name)?,
        dry_run,
    };
    if !dry_run {
        app.publisher()?;
    }
    let mut database_key = None;
    if let Some(key) = call.key.filter(|_| !dry_run) {
        let mut fingerprint = Sha256::new();
        fingerprint.update([u8::from(many)]);
        fingerprint.update(&body);
        match begin(&app, &key, &fingerprint.finalize().into()).await? {
            Some(answer) => return Ok(answer),
            None => database_key = Some(key),
        }
    }
    let answered = if many {
        call.lines(&body).await
    } else {
        call.one(&body, wait).await
    };
    if let Some(key) = database_key {
        return end(&app, &key, answered).await;
    }
    answered.map(Made::into_response)
}

/// Checks bodies by their contract and sends them: all of them, or none when one is wrong. Returns how many.
///
/// # Errors
/// `invalid_message`; `broker_unavailable` when a queue did not take one.
pub async fn send_all(
    app: &App,
    caller: &Caller,
    entity: &'static Entity,
    bodies: &[String],
) -> Result<usize> {
    let call = Call {
        app,
        caller,
        entity,
        key: None,
        dry_run: false,
    };
    call.all(bodies).await
}

/// Parameter `wait`.
fn wait(params: &mut Params) -> Result<Option<Duration>> {
    let Some(text) = params.one("wait")? else {
        return Ok(None);
    };
    duration(&text)
        .ok()
        .filter(|wait| *wait <= WAIT_MAX)
        .map(Some)
        .ok_or_else(|| Problem::parameter("wait", "must be a time span up to 20s, as 500ms or 2s"))
}

/// An answer that can be kept.
struct Made {
    status: StatusCode,
    body: Vec<u8>,
    note: Note,
}

impl IntoResponse for Made {
    fn into_response(self) -> Response {
        let answer = (
            self.status,
            [(header::CONTENT_TYPE, "application/json")],
            self.body,
        );
        Noted(answer, self.note).into_response()
    }
}

impl Made {
    fn of(status: StatusCode, body: &impl Serialize, note: Note) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(anyhow::Error::from)?;
        Ok(Self { status, body, note })
    }
}
