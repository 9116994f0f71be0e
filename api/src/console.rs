//! The console: files that `scripts/console.sh build` made, inside the program.
//!
//! Files below `/assets/` are named by a hash of their content and may be kept for a year. Every other address that a browser
//! asks for as a page gets the one page of the console, whose script reads the address. Any other request
//! gets a problem (404).

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../console/dist");

/// Scripts, styles and calls of this origin only; nothing inline, nothing in frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, and its entity tag.
static PAGE: LazyLock<Option<(&'static [u8], String)>> = LazyLock::new(|| {
    let page = FILES.get_file("index.html")?.contents();
    let hash = Sha256::digest(page);
    let tag: String = hash
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Some((page, format!("\"{tag}\"")))
});

/// Answers requests that match no route of the API.
#[must_use]
pub fn serve(request: &Request) -> Response {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads
        && let Some(file) = FILES
            .get_file(path.trim_start_matches('/'))
            .filter(|_| path != "/index.html")
    {
        return asset(path, file.contents());
    }
    if reads
        && is_page(path, request.headers())
        && let Some((page, tag)) = &*PAGE
    {
        return html(page, tag, request.headers());
    }
    Problem::not_found("such route; /openapi.json has the list").into_response()
}

/// Whether a browser asks for a page. Paths of the API and of files are not pages: a wrong path must not look
/// like success.
fn is_page(path: &str, headers: &HeaderMap) -> bool {
    let first = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    !matches!(first, "v1" | "api" | "assets") && !first.contains('.') && wants_page(headers)
}

/// Whether the caller is a browser: it accepts HTML.
#[must_use]
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

fn asset(path: &str, content: &'static [u8]) -> Response {
    let kind = match path.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let keep = if path.starts_with("/assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=3600"
    };
    with_policy(
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)],
        content,
    )
}

fn html(page: &'static [u8], tag: &str, headers: &HeaderMap) -> Response {
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let mut response = if known.is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag)) {
        let mut unchanged = with_policy(fixed, b"");
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        with_policy(fixed, page)
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    // Accept decides between the page and a problem.
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

fn with_policy(fixed: [(header::HeaderName, &'static str); 2], content: &'static [u8]) -> Response {
    let mut response = Response::new(Body::from(content));
    for (name, value) in fixed {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::Request;

    use super::*;

    fn get(path: &str, accept: &str) -> Response {
        let request = Request::get(path).header(header::ACCEPT, accept);
        serve(&request.body(Body::empty()).unwrap())
    }

    fn text<'a>(response: &'a Response, name: &header::HeaderName) -> &'a str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn pages_are_the_page_and_files_are_kept() {
        for path in ["/", "/quarantine/17", "/marts/kpi"] {
            let response = get(path, "text/html,*/*");
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(
                text(&response, &header::CACHE_CONTROL),
                "no-cache",
                "{path}"
            );
            assert!(
                text(&response, &header::CONTENT_SECURITY_POLICY).contains("default-src 'none'")
            );
        }
        let page = std::str::from_utf8(PAGE.as_ref().unwrap().0).unwrap();
        let named: Vec<_> = page
            .split('"')
            .filter(|one| one.starts_with("/assets/"))
            .collect();
        assert_eq!(named.len(), 2, "a script and a style sheet: {named:?}");
        for path in named {
            let response = get(path, "*/*");
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(
                text(&response, &header::CACHE_CONTROL).contains("immutable"),
                "{path}"
            );
            let kind = text(&response, &header::CONTENT_TYPE);
            assert!(
                kind.starts_with("text/javascript") || kind.starts_with("text/css"),
                "{kind}"
            );
        }
        for inline in ["<style", " style=", "<script>"] {
            assert!(!page.contains(inline), "the policy forbids {inline}");
        }
    }

    #[test]
    fn what_is_no_page_is_a_problem() {
        let cases = [
            ("/v1/nothing", "text/html"),
            ("/assets/gone.js", "text/html"),
            ("/favicon.ico", "text/html"),
            ("/quarantine", "application/json"),
        ];
        for (path, accept) in cases {
            assert_eq!(get(path, accept).status(), StatusCode::NOT_FOUND, "{path}");
        }
        let post = Request::post("/").header(header::ACCEPT, "text/html");
        let answer = serve(&post.body(Body::empty()).unwrap());
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let first = get("/", "text/html");
        let again = Request::get("/")
            .header(header::ACCEPT, "text/html")
            .header(header::IF_NONE_MATCH, text(&first, &header::ETAG));
        let answer = serve(&again.body(Body::empty()).unwrap());
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }
}
