//! `ETag` and `If-Match`: an edit of a row names the state that it was made from, so that the second of two people
//! who edit the same row is refused (RFC 9110, 13.1.1).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem, Result};

/// `If-Match` of a call.
#[derive(Debug)]
pub struct IfMatch(Option<Wanted>);

/// The states that an edit may be made from.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any state: `*`.
    Any,
    /// One of these revisions.
    Revisions(Vec<String>),
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let mut texts = Vec::new();
        for value in parts.headers.get_all(header::IF_MATCH) {
            texts.push(value.to_str().map_err(|_| malformed())?);
        }
        Ok(Self(match texts.is_empty() {
            true => None,
            false => Some(Wanted::parse(&texts.join(","))?),
        }))
    }
}

fn malformed() -> Problem {
    Problem::parameter(
        "If-Match",
        "must be * or the ETag of a GET, with its quotes; several are separated by commas",
    )
}

impl IfMatch {
    /// The condition.
    ///
    /// # Errors
    /// `precondition_required` when it is missing.
    pub fn required(self) -> Result<Wanted> {
        self.0.ok_or_else(|| {
            Problem::new(
                Code::PreconditionRequired,
                "send If-Match with the ETag of the GET that the edit was made from, or * to edit whatever is there",
            )
        })
    }
}

impl Wanted {
    /// A list of tags. Ours hold no comma.
    fn parse(text: &str) -> Result<Self> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut revisions = Vec::new();
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let (weak, quoted) = match tag.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, tag),
            };
            let inner = quoted
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .filter(|inner| !inner.contains('"'))
                .ok_or_else(malformed)?;
            // A weak tag never matches here.
            if !weak {
                revisions.push(inner.to_owned());
            }
        }
        Ok(Self::Revisions(revisions))
    }

    /// The revision that the row must still have when it is changed, given the one that it has now; `None` for `*`.
    ///
    /// # Errors
    /// `precondition_failed` when the row is in another state already.
    pub fn held_by(&self, revision: &str) -> Result<Option<String>> {
        match self {
            Self::Any => Ok(None),
            Self::Revisions(all) if all.iter().any(|one| one == revision) => {
                Ok(Some(revision.to_owned()))
            }
            Self::Revisions(_) => Err(stale()),
        }
    }
}

/// The row has changed since the edit was made.
#[must_use]
pub fn stale() -> Problem {
    Problem::new(
        Code::PreconditionFailed,
        "somebody has changed it since you read it, and nothing was done: GET it again, and decide on its present state",
    )
}

/// An answer with the `ETag` of the row that it shows.
#[derive(Debug)]
pub struct Tagged<T>(pub T, pub String);

impl<T: IntoResponse> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.1)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_with_their_quotes_and_weak_ones_never_match() {
        let wanted = |text| Wanted::parse(text).unwrap_or(Wanted::Revisions(Vec::new()));
        assert_eq!(wanted(" * "), Wanted::Any);
        assert_eq!(wanted("*").held_by("a").unwrap_or_default(), None);
        let two = wanted("\"a\", \"b\"");
        assert_eq!(two.held_by("b").unwrap_or_default().as_deref(), Some("b"));
        for (text, revision) in [("\"a\"", "b"), ("W/\"a\"", "a"), ("", "a"), ("\"*\"", "a")] {
            let code = wanted(text).held_by(revision).err().map(|stale| stale.code);
            assert_eq!(code, Some(Code::PreconditionFailed), "{text}");
        }
        for text in ["a", "\"a", "*, \"a\"", "\"a\"b\"", "W/a", "\""] {
            let code = Wanted::parse(text).err().map(|problem| problem.code);
            assert_eq!(code, Some(Code::InvalidParameter), "{text}");
        }
    }
}
