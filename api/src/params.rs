//! Parameters of a query. Each is taken by name; one that nobody took is refused, so that a misspelt filter never widens a
//! list.

use acequia_args::duration;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::problem::{Code, Problem, Result};

/// The parameters of a call.
#[derive(Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let params = Self::parse(parts.uri.query().unwrap_or_default());
        // No text of PostgreSQL holds it, so nothing can match.
        match params.0.iter().find(|(_, value)| value.contains('\0')) {
            Some((name, _)) => Err(Problem::parameter(name, "must not contain U+0000")),
            None => Ok(params),
        }
    }
}

impl Params {
    /// Of the text behind the question mark.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A parameter that may be given once.
    ///
    /// # Errors
    /// When it is given more than once.
    pub fn one(&mut self, name: &str) -> Result<Option<String>> {
        let mut found = self.all(name);
        let value = found.pop();
        if !found.is_empty() {
            return Err(Problem::parameter(name, "is given more than once"));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// A list: the parameter may be given several times, and each may hold several values with a comma between them.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let found = self.all(name);
        let values = found.iter().flat_map(|value| value.split(','));
        values
            .filter(|value| !value.is_empty())
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Values as they are given, commas and all.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (found, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(given, _)| given == name);
        self.0 = others;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// A whole number between limits.
    ///
    /// # Errors
    /// If it is not a number, or outside the limits.
    pub fn number(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            Problem::parameter(
                name,
                format!("must be a whole number from {least} to {most}"),
            )
        })
    }

    /// `true` or `false`, by default `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&mut self, name: &str) -> Result<bool> {
        match self.one(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::parameter(name, "must be true or false")),
        }
    }

    /// An instant, or a time span before now, as on the command line.
    ///
    /// # Errors
    /// When it is neither.
    pub fn instant(&mut self, name: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        instant(&text, now).map(Some).ok_or_else(|| {
            Problem::parameter(
                name,
                "must be an instant as 2024-06-10T08:00:00Z, or a time span before now as 30m, 2h or 7d",
            )
        })
    }

    /// One of a closed list.
    ///
    /// # Errors
    /// When it is another text.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        choice(name, &text, choices).map(Some)
    }

    /// The remaining parameters, for routes that accept any name.
    #[must_use]
    pub fn rest(self) -> Vec<(String, String)> {
        self.0
    }

    /// Insists that every parameter was taken.
    ///
    /// # Errors
    /// Names the first that was not.
    pub fn end(self) -> Result<()> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::parameter(
                &name,
                "is no parameter of this route; /openapi.json has the list",
            )),
        }
    }
}

/// Insists that a path is text, and text that PostgreSQL can hold.
///
/// # Errors
/// When its percent-encoding makes no UTF-8, or U+0000.
pub fn check_path(path: &str) -> Result<()> {
    let (mut decoded, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 16).ok());
        decoded.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    match str::from_utf8(&decoded) {
        Ok(text) if !text.contains('\0') => Ok(()),
        _ => Err(Problem::new(
            Code::InvalidParameter,
            "the path must be percent-encoded UTF-8 without U+0000",
        )),
    }
}

/// A text as one of a closed list.
///
/// # Errors
/// When it is another one.
pub fn choice<T: Copy>(name: &str, text: &str, choices: &[(&str, T)]) -> Result<T> {
    let found = choices.iter().find(|(known, _)| *known == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = choices.iter().map(|(known, _)| *known).collect();
        Problem::parameter(name, format!("must be one of {}", known.join(", ")))
    })
}

/// An instant, or a time span before `now`.
fn instant(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    now.checked_sub_signed(chrono::TimeDelta::from_std(duration(text).ok()?).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_nobody_takes_is_refused() {
        let mut params = Params::parse("a=1&b=x,y&b=z&c=");
        assert_eq!(params.number("a", 0, 9).unwrap(), Some(1));
        assert_eq!(params.list("b"), ["x", "y", "z"]);
        let problem = params.end().unwrap_err();
        assert_eq!(problem.errors[0].field, "c");
    }

    #[test]
    fn a_path_is_text() {
        for path in ["/a/%C3%A9", "/a/%", "/a/%zz", "/a%2Fb", "/"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        for path in ["/a/%FF", "/%00", "/a/%C3%28"] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn wrong_values_name_their_parameter() {
        for query in ["n=x", "n=10", "n=-1", "n=1&n=2", "n=1.5"] {
            let problem = Params::parse(query).number("n", 0, 9).unwrap_err();
            assert_eq!(problem.errors[0].field, "n", "{query}");
        }
        assert!(Params::parse("f=yes").flag("f").is_err());
        assert!(Params::parse("t=soon").instant("t", Utc::now()).is_err());
    }
}
