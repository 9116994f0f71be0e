//! Idempotency-Keys: the same call gets the same answer, and sends the same ids.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Made;
use crate::app::App;
use crate::auth::Caller;
use crate::data::idempotency::{self, Answer, Known};
use crate::problem::{Code, Problem, Result};

/// Longest Idempotency-Key.
const KEY_MAX: usize = 255;

/// The stored form of an Idempotency-Key: a hash of key, caller and route.
pub fn key(
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

/// Begins a call with an Idempotency-Key; returns the answer of the first call if this one repeats it.
pub async fn begin(app: &App, key: &[u8; 32], fingerprint: &[u8; 32]) -> Result<Option<Response>> {
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

/// Keeps the answer of a call with a key. A refusal is not kept: the caller may correct the message, or try again.
pub async fn end(app: &App, key: &[u8; 32], answered: Result<Made>) -> Result<Response> {
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

/// The id of a message that follows from the key of its call: the same call sends the same ids again.
pub fn derived(key: &[u8; 32], line: usize) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(line.to_le_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    Uuid::new_v8(half)
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
    }
}
