//! Sending messages.

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Code as Reason, Entity, MAX_BODY_BYTES, Violation};
use acequia_ops::trace::{Target, Trace};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{App, WAIT_MAX};
use crate::auth::guard::{As, Publish};
use crate::auth::{Caller, Right};
use crate::body::{bytes, media_type};
use crate::data::calls::Note;
use crate::data::idempotency::{self, Answer, Known};
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::params::{Params, span};
use crate::problem::{Code, FieldError, Problem, Result};
use crate::publish::{Outgoing, Sent};

/// Most lines of a call.
const LINES: usize = 10_000;
/// Longest Idempotency-Key.
const KEY_MAX: usize = 255;

/// What became of a message.
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
    /// What became of it, when the call waited: `current`, `superseded`, `pending`, `quarantined` and so on; null when nothing
    /// was known in that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// The row of the domain table, when the call waited and the caller may see payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    row: Option<Value>,
}

/// What became of a line.
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

/// What became of each line.
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
/// `event_id` has that as its id; with the header Idempotency-Key its id follows from the key. What comes twice under an id has
/// no second effect.
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

/// Parameter `wait`, or the preference `wait=` in seconds.
fn wait(params: &mut Params) -> Result<Option<Duration>> {
    let Some(text) = params.one("wait")? else {
        return Ok(None);
    };
    span(&text)
        .filter(|wait| *wait <= WAIT_MAX)
        .map(Some)
        .ok_or_else(|| Problem::parameter("wait", "must be a time span up to 20s, as 500ms or 2s"))
}

/// What is kept of an Idempotency-Key: its hash with caller and route.
fn key(
    headers: &HeaderMap,
    caller: &Caller,
    domain: &str,
    entity: &str,
) -> Result<Option<[u8; 32]>> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > KEY_MAX {
        return Err(Problem::parameter(
            "Idempotency-Key",
            "must have 1 to 255 printable ASCII characters",
        ));
    }
    let mut hash = Sha256::new();
    for part in [caller.who().as_str(), domain, entity, text] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    Ok(Some(hash.finalize().into()))
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

/// Begins a call with a key; the answer of the first one, if this is another.
async fn begin(app: &App, key: &[u8; 32], fingerprint: &[u8; 32]) -> Result<Option<Response>> {
    let mut database = app.database().await?;
    let known = idempotency::begin(&mut database, key, fingerprint).await?;
    database.done();
    match known {
        Known::New => Ok(None),
        Known::Answered(answer) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            let headers = [
                (header::CONTENT_TYPE.as_str(), answer.content_type.as_str()),
                ("idempotency-replayed", "true"),
            ];
            Ok(Some((status, headers, answer.body).into_response()))
        }
        Known::InFlight => Err(Problem::new(
            Code::KeyInFlight,
            "wait for its answer, or send the call again in a minute",
        )
        .retry_after(2)),
        Known::Other => Err(Problem::new(
            Code::KeyReused,
            "use a new Idempotency-Key for another body",
        )),
    }
}

/// Keeps the answer of a call with a key. A refusal is not kept: the caller may mend the message, or try again.
async fn end(app: &App, key: &[u8; 32], answered: Result<Made>) -> Result<Response> {
    let kept = answered.as_ref().ok().map(|made| Answer {
        status: made.status.as_u16(),
        content_type: "application/json".to_owned(),
        body: made.body.clone(),
    });
    let mut database = app.database().await?;
    idempotency::end(&mut database, key, kept.as_ref()).await?;
    database.done();
    answered.map(Made::into_response)
}

/// A call that sends.
struct Call<'a> {
    app: &'a App,
    caller: &'a Caller,
    entity: &'static Entity,
    key: Option<[u8; 32]>,
    dry_run: bool,
}

impl Call<'_> {
    fn name(&self) -> String {
        format!("{}.{}", self.entity.domain, self.entity.name)
    }

    /// A message and its id, or what is wrong with it. `line` is its number, 0 for a single one.
    fn check(&self, body: &[u8], line: usize) -> std::result::Result<Outgoing, Vec<Violation>> {
        let context = acequia_contracts::Context {
            now: self.app.clock.now(),
        };
        let refused = |code, why: &str| vec![Violation::body(code, why)];
        if body.len() > MAX_BODY_BYTES {
            return Err(refused(Reason::TooLarge, "has more than 1 MiB"));
        }
        let text =
            std::str::from_utf8(body).map_err(|_| refused(Reason::NotUtf8, "is not UTF-8"))?;
        let mut columns = self.entity.new_columns();
        let envelope = self.entity.decode(text, &context, &mut columns)?;
        if let Some(named) = acequia_contracts::entity_of(text)
            && named != self.entity.name
            && named != self.name()
        {
            return Err(vec![Violation::field(
                Reason::UnknownEntity,
                "entity",
                "names another entity than the path",
            )]);
        }
        // An id that names nothing is none.
        let given = envelope
            .event_id
            .filter(|id| id.len() <= 255 && Identity::named(id).is_some());
        let id = given.unwrap_or_else(|| match self.key {
            Some(key) => derived(&key, line).to_string(),
            None => Uuid::now_v7().to_string(),
        });
        Ok(Outgoing {
            name: self.name(),
            id,
            app_id: self.caller.name.clone(),
            body: body.to_vec(),
        })
    }

    /// Sends messages, and counts them.
    async fn publish(&self, messages: Vec<Outgoing>) -> Result<Vec<Sent>> {
        let sent = self.app.publisher()?.send(messages).await?;
        let confirmed = sent.iter().filter(|sent| **sent == Sent::Confirmed).count();
        let published = &self.app.metrics.published;
        published
            .with_label_values(&[self.entity.domain])
            .inc_by(confirmed as u64);
        Ok(sent)
    }

    fn count_refused(&self, messages: usize) {
        let refused = &self.app.metrics.refused;
        refused
            .with_label_values(&[self.entity.domain])
            .inc_by(messages as u64);
    }

    fn note(&self, detail: Value) -> Note {
        Note {
            domain: Some(self.entity.domain.to_owned()),
            reason: None,
            detail,
        }
    }

    /// One message.
    async fn one(&self, body: &[u8], wait: Option<Duration>) -> Result<Made> {
        let message = self.check(body, 0).map_err(|violations| {
            self.count_refused(1);
            let errors: Vec<_> = violations.into_iter().map(FieldError::from).collect();
            Problem::new(
                Code::InvalidMessage,
                format!(
                    "mend the fields in errors; GET /v1/contracts/{}/{} has the contract",
                    self.entity.domain, self.entity.name
                ),
            )
            .with_errors(errors)
        })?;
        let mut accepted = Accepted {
            message_id: message.id.clone(),
            message_type: self.name(),
            status: if self.dry_run { "valid" } else { "sent" },
            trace: trace_of(&message.id),
            outcome: None,
            row: None,
        };
        if self.dry_run {
            return Made::of(
                StatusCode::OK,
                &accepted,
                self.note(json!({"dry_run": true})),
            );
        }
        let id = message.id.clone();
        let sent = self.publish(vec![message]).await?;
        if let Some(Sent::Refused(why)) = sent.into_iter().next() {
            return Err(Problem::new(Code::BrokerUnavailable, why));
        }
        let note = self.note(json!({"message_id": id}));
        if let Some(wait) = wait
            && let Some((outcome, row)) = self.outcome(&id, wait).await?
        {
            accepted.outcome = Some(outcome);
            accepted.row = row;
            return Made::of(StatusCode::OK, &accepted, note);
        }
        Made::of(StatusCode::ACCEPTED, &accepted, note)
    }

    /// What becomes of a message within a time, and the row that it made.
    async fn outcome(&self, id: &str, wait: Duration) -> Result<Option<(String, Option<Value>)>> {
        let Ok(target) = Target::parse(id, &[]) else {
            return Ok(None);
        };
        let deadline = Instant::now() + wait;
        let mut pause = Duration::from_millis(25);
        let values = self.caller.role.may(Right::Payloads);
        loop {
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            // While the database is away nothing is known: the message is in its queue.
            if let Ok(Trace::Message(found)) = super::trace::look(self.app, &target, values).await {
                let shown = serde_json::to_value(&found).map_err(anyhow::Error::from)?;
                // The same id may have been used for other entities.
                let rows = shown["rows"].as_array().into_iter().flatten();
                let mine = rows
                    .into_iter()
                    .find(|row| row["entity"] == self.name().as_str());
                let outcome = mine.map_or(&shown["outcome"], |row| &row["outcome"]);
                let outcome = outcome.as_str().unwrap_or("unknown");
                if !matches!(outcome, "unknown" | "staged") {
                    let row = mine.map(|row| row["core"]["values"].clone());
                    return Ok(Some((outcome.to_owned(), row.filter(|row| !row.is_null()))));
                }
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            pause = (pause * 2).min(Duration::from_millis(400));
        }
    }

    /// One message on each line.
    async fn lines(&self, body: &[u8]) -> Result<Made> {
        let given: Vec<(usize, &[u8])> = (1..)
            .zip(body.split(|byte| *byte == b'\n'))
            .map(|(number, line)| (number, line.trim_ascii()))
            .filter(|(_, line)| !line.is_empty())
            .collect();
        if given.is_empty() || given.len() > LINES {
            return Err(Problem::new(
                Code::InvalidBody,
                format!("has {} lines; a call takes 1 to {LINES}", given.len()),
            ));
        }
        let mut lines = Vec::with_capacity(given.len());
        let mut messages = Vec::with_capacity(given.len());
        for (number, line) in given {
            let checked = self.check(line, number);
            lines.push(Line {
                line: number,
                message_id: checked.as_ref().ok().map(|message| message.id.clone()),
                status: match &checked {
                    Err(_) => "refused",
                    Ok(_) if self.dry_run => "valid",
                    Ok(_) => "sent",
                },
                errors: match checked {
                    Err(violations) => violations.into_iter().map(FieldError::from).collect(),
                    Ok(message) => {
                        messages.push(message);
                        Vec::new()
                    }
                },
            });
        }
        if !self.dry_run && !messages.is_empty() {
            let mut sent = self.publish(messages).await?.into_iter();
            for line in lines.iter_mut().filter(|line| line.status == "sent") {
                if let Some(Sent::Refused(message)) = sent.next() {
                    line.status = "refused";
                    line.errors.push(FieldError {
                        field: String::new(),
                        code: Code::BrokerUnavailable.as_str().into(),
                        message,
                    });
                }
            }
        }
        let count = |status: &str| lines.iter().filter(|line| line.status == status).count();
        let answer = Lines {
            message_type: self.name(),
            sent: count("sent"),
            valid: count("valid"),
            refused: count("refused"),
            lines,
        };
        self.count_refused(answer.refused);
        let note = self
            .note(json!({"sent": answer.sent, "refused": answer.refused, "dry_run": self.dry_run}));
        Made::of(StatusCode::OK, &answer, note)
    }
}

/// The id of a message that follows from the key of its call: the same call sends the same ids again.
fn derived(key: &[u8; 32], line: usize) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(line.to_le_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    Uuid::new_v8(half)
}

/// Where the trace of an id is.
fn trace_of(id: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("/v1/messages/{}", encoded.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_key_and_line() {
        let key = [7; 32];
        assert_eq!(derived(&key, 1), derived(&key, 1));
        assert_ne!(derived(&key, 1), derived(&key, 2));
        assert_ne!(derived(&key, 1), derived(&[8; 32], 1));
        assert_eq!(trace_of("a b/c"), "/v1/messages/a%20b%2Fc");
    }
}
