//! Bodies of calls.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem, Result};

/// The bytes of a body within the limit of the API, and its headers.
///
/// # Errors
/// `too_large`, or `invalid_body` when the caller went away in the middle.
pub async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes> {
    Bytes::from_request(request, state)
        .await
        .map_err(|refused| {
            if refused.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return Problem::new(Code::TooLarge, "send fewer lines at a time");
            }
            Problem::new(Code::InvalidBody, "the body could not be read to its end")
        })
}

/// The media type of a body, in lower case and without parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media = text.split(';').next().unwrap_or_default();
    Some(media.trim().to_ascii_lowercase())
}

/// Whether a text in JSON holds U+0000, which no text of PostgreSQL can hold. It is always written as an escape.
fn holds_nul(json: &[u8]) -> bool {
    const NUL: &[u8] = br"\u0000";
    json.windows(NUL.len()).enumerate().any(|(at, part)| {
        let slashes = json[..at].iter().rev().take_while(|byte| **byte == b'\\');
        part == NUL && slashes.count().is_multiple_of(2)
    })
}

/// A JSON body.
#[derive(Debug)]
pub struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if media_type(request.headers()).as_deref() != Some("application/json") {
            return Err(Problem::new(
                Code::UnsupportedType,
                "send Content-Type: application/json",
            ));
        }
        let bytes = bytes(request, state).await?;
        if holds_nul(&bytes) {
            return Err(Problem::new(
                Code::InvalidBody,
                "a text must not contain U+0000",
            ));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            // The library's text may quote a value, so only field names and the position are used.
            let text = error.to_string();
            let what = match error.classify() {
                serde_json::error::Category::Data
                    if text.starts_with("missing field") || text.starts_with("unknown field") =>
                {
                    text.split(" at line").next().unwrap_or_default()
                }
                serde_json::error::Category::Data => {
                    "a value does not have the type of /openapi.json"
                }
                _ => "not JSON",
            };
            Problem::new(
                Code::InvalidBody,
                format!(
                    "{what}: see line {}, column {}",
                    error.line(),
                    error.column()
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::holds_nul;

    #[test]
    fn an_escaped_nul_differs_from_an_escaped_backslash() {
        assert!(holds_nul(br#"{"a":"x\u0000"}"#));
        assert!(holds_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!holds_nul(br#"{"a":"\\u0000"}"#));
        assert!(!holds_nul(br#"{"a":"\u0001 u0000"}"#));
    }
}
