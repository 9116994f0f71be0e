//! The cookie of a session, and whether a call with it comes from the console itself.

use std::time::Duration;

use axum::http::{HeaderMap, header};

use crate::problem::{Code, Problem, Result};

/// Name of the cookie behind TLS. Browsers accept a `__Host-` cookie only from its own host, with path `/`.
const SECURE: &str = "__Host-acequia";
/// Name of the cookie over plain HTTP on this machine, where not every browser accepts the other one.
const LOCAL: &str = "acequia_session";

/// Name of the cookie.
const fn name(behind_tls: bool) -> &'static str {
    if behind_tls { SECURE } else { LOCAL }
}

/// The session of a call, if it has one.
#[must_use]
pub fn read(headers: &HeaderMap, behind_tls: bool) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name(behind_tls))
        .map(|(_, value)| value)
}

/// The `Set-Cookie` header. An empty value with `max_age` 0 deletes the cookie.
#[must_use]
pub fn set(value: &str, behind_tls: bool, max_age: Duration) -> String {
    let secure = if behind_tls { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
        name(behind_tls),
        max_age.as_secs()
    )
}

/// Refuses a call that another site made a browser send. Browsers say in Sec-Fetch-Site where a call comes from; old ones
/// say it in Origin.
///
/// # Errors
/// `cross_site`.
pub fn same_site(headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let ours = match text("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => match (text("origin"), text("host")) {
            (Some(origin), Some(host)) => origin
                .split_once("://")
                .is_some_and(|(_, from)| from == host),
            _ => false,
        },
    };
    if ours {
        return Ok(());
    }
    Err(Problem::new(
        Code::CrossSite,
        "calls from elsewhere use a token: Authorization: Bearer acq_...",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_name() {
        let sent = headers(&[("cookie", "a=b; acequia_session=xyz; c=d")]);
        assert_eq!(read(&sent, false), Some("xyz"));
        assert_eq!(read(&sent, true), None);
        let made = set("v", true, Duration::from_secs(60));
        assert!(made.starts_with("__Host-acequia=v; ") && made.ends_with("; Secure"));
    }

    #[test]
    fn other_sites_are_refused() {
        for ours in [
            headers(&[("sec-fetch-site", "same-origin")]),
            headers(&[
                ("origin", "http://127.0.0.1:8080"),
                ("host", "127.0.0.1:8080"),
            ]),
        ] {
            same_site(&ours).unwrap();
        }
        for other in [
            headers(&[("sec-fetch-site", "cross-site")]),
            headers(&[
                ("sec-fetch-site", "same-site"),
                ("origin", "http://h"),
                ("host", "h"),
            ]),
            headers(&[
                ("origin", "http://evil.example"),
                ("host", "127.0.0.1:8080"),
            ]),
            headers(&[("origin", "null"), ("host", "h")]),
            headers(&[("host", "h")]),
        ] {
            assert_eq!(same_site(&other).unwrap_err().code, Code::CrossSite);
        }
    }
}
