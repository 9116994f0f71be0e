//! Pages of lists, and the opaque cursor that leads to the next one.

use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::params::Params;
use crate::problem::{Code, Problem, Result};

/// Rows of a page unless the call says otherwise.
pub const ROWS: i64 = 100;
/// Maximum number of rows in a page.
pub const MOST: i64 = 1_000;

/// The first rows of a list, and where the next ones begin.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Parameter `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// A cursor: where a page ends, and which list it belongs to.
#[derive(Serialize, Deserialize)]
struct Cursor<P> {
    /// Hash of the list's name and filters.
    l: String,
    /// Position.
    p: P,
}

/// A list with its filters: a cursor of another one is refused.
#[derive(Debug, Clone)]
pub struct List(String);

impl List {
    /// Of everything that decides what is in the list and in which order.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        Self(URL_SAFE_NO_PAD.encode(&digest[..9]))
    }

    /// The cursor of a position.
    #[must_use]
    pub fn cursor(&self, position: impl Serialize) -> String {
        let cursor = Cursor {
            l: self.0.clone(),
            p: position,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
    }

    /// The position of parameter `cursor`, if it is given.
    ///
    /// # Errors
    /// `invalid_cursor`.
    pub fn position<P: DeserializeOwned>(&self, cursor: Option<&str>) -> Result<Option<P>> {
        let Some(text) = cursor else {
            return Ok(None);
        };
        let wrong = || {
            Problem::new(
                Code::InvalidCursor,
                "use the cursor with the same route, filters and order; without one the list starts again",
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let cursor: Cursor<P> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if cursor.l != self.0 {
            return Err(wrong());
        }
        Ok(Some(cursor.p))
    }

    /// The page of rows that were read with one more than `limit`.
    pub fn page<T, P: Serialize>(
        &self,
        mut rows: Vec<T>,
        limit: i64,
        position: impl Fn(&T) -> P,
    ) -> Page<T> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|row| self.cursor(position(row)));
        Page { items: rows, next }
    }
}

/// Parameter `limit`.
///
/// # Errors
/// When it is no number from 1 to a thousand.
pub fn limit(params: &mut Params) -> Result<i64> {
    Ok(params.number("limit", 1, MOST)?.unwrap_or(ROWS))
}

impl<T> Page<T> {
    /// A list that has one page.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// A JSON answer.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => (
                [(
                    axum::http::header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                )],
                body,
            )
                .into_response(),
            Err(error) => Problem::internal(&error.into()).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_list() {
        let list = List::of(&["quarantine", "domain=a"]);
        let page = list.page(vec![9, 8, 7], 2, |row| *row);
        assert_eq!(page.items, [9, 8]);
        let cursor = page.next.unwrap();
        assert_eq!(list.position::<i64>(Some(&cursor)).unwrap(), Some(8));
        let other = List::of(&["quarantine", "domain=b"]);
        assert_eq!(
            other.position::<i64>(Some(&cursor)).unwrap_err().code,
            Code::InvalidCursor
        );
        for wrong in ["", "x", "!!", "e30"] {
            assert!(list.position::<i64>(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(list.page(vec![9, 8], 2, |row| *row).next, None);
    }
}
