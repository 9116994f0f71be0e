//! Checks the messages of a call, sends them, and waits for their outcomes.

use std::time::Duration;

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Entity, Violation};
use acequia_ops::trace::{Target, Trace};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::keys::derived;
use super::{Accepted, Line, Lines, Made};
use crate::app::App;
use crate::auth::{Caller, Right};
use crate::data::calls::Note;
use crate::problem::{Code, FieldError, Problem, Result};
use crate::publish::{Outgoing, Sent};
use crate::routes::trace;

/// Maximum number of lines in a call.
const LINES: usize = 10_000;

/// A call that sends.
pub struct Call<'a> {
    pub app: &'a App,
    pub caller: &'a Caller,
    pub entity: &'static Entity,
    pub key: Option<[u8; 32]>,
    pub dry_run: bool,
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
        let envelope = self.entity.check_body(body, &context)?;
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

    /// A message that must be right.
    fn insist(&self, body: &[u8]) -> Result<Outgoing> {
        self.check(body, 0).map_err(|violations| {
            self.count_refused(1);
            let errors: Vec<_> = violations.into_iter().map(FieldError::from).collect();
            Problem::new(
                Code::InvalidMessage,
                format!(
                    "correct the fields in errors; GET /v1/contracts/{}/{} has the contract",
                    self.entity.domain, self.entity.name
                ),
            )
            .with_errors(errors)
        })
    }

    /// Several messages, all of which must be right; how many were sent.
    pub async fn all(&self, bodies: &[String]) -> Result<usize> {
        let messages: Result<Vec<_>> = bodies
            .iter()
            .map(|body| self.insist(body.as_bytes()))
            .collect();
        let sent = self.publish(messages?).await?;
        let refused = sent.iter().find_map(|sent| match sent {
            Sent::Refused(why) => Some(why.clone()),
            Sent::Confirmed => None,
        });
        match refused {
            None => Ok(sent.len()),
            Some(why) => Err(Problem::new(Code::BrokerUnavailable, why)),
        }
    }

    /// One message.
    pub async fn one(&self, body: &[u8], wait: Option<Duration>) -> Result<Made> {
        let message = self.insist(body)?;
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

    /// The outcome of a message within a time, and its row.
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
            if let Ok(Trace::Message(found)) = trace::look(self.app, &target, values).await {
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
    pub async fn lines(&self, body: &[u8]) -> Result<Made> {
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

/// Path of the trace of an id.
fn trace_of(id: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    format!("/v1/messages/{}", encoded.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_encoded_in_the_path_of_its_trace() {
        assert_eq!(trace_of("a b/c"), "/v1/messages/a%20b%2Fc");
    }
}
