//! Around every call: its id, a limit of time, metrics, the record, and the text of problems.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tracing::{debug, error};
use uuid::Uuid;

use crate::app::App;
use crate::auth::Caller;
use crate::data::calls::{Call, Note};
use crate::problem::{Code, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The address that a call came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The caller's address: the last hop that the proxy in front names, else the other end of the connection.
#[must_use]
pub fn address(request: &Request, behind_tls: bool) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.0.ip();
    // The proxy may add a line of its own behind those that came with the call.
    let named = request.headers().get_all("x-forwarded-for");
    let last = (named.iter().next_back())
        .filter(|_| behind_tls)
        .and_then(|text| text.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    Some(last.unwrap_or(peer).to_canonical())
}

/// The caller, once authenticated: the inner layers leave it here for the record of calls.
#[derive(Debug, Clone, Default)]
pub struct Recognised(Arc<OnceLock<Caller>>);

impl Recognised {
    /// Leaves the caller of a request for the record of calls.
    pub fn leave(request: &axum::http::Extensions, caller: &Caller) {
        if let Some(Self(place)) = request.get::<Self>() {
            // The first one counts: a caller is recognised once in a call.
            let _ = place.set(caller.clone());
        }
    }
}

/// Answers a call, whatever happens inside, and to its end: a caller who goes away changes nothing about what is done and
/// recorded.
pub async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let answered = tokio::spawn(answer(app, request, next)).await;
    answered.unwrap_or_else(|_| {
        Problem::new(Code::Internal, "the call was given up: the API stops").into_response()
    })
}

async fn answer(app: App, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = Uuid::now_v7();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let address = address(&request, app.settings.behind_tls);
    let matched = request.extensions().get::<MatchedPath>();
    let matched = matched.map(|route| route.as_str().to_owned());
    let route = matched.clone().unwrap_or_else(|| "(none)".to_owned());

    let recognised = Recognised::default();
    request.extensions_mut().insert(recognised.clone());
    let answer = tokio::time::timeout(app.settings.call_max(), next.run(request));
    let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::new(
            Code::Timeout,
            "the call took too long: ask for less, or look at GET /v1/operations for work that goes on",
        )
        .into_response(),
        Err(_) => {
            error!(event = "call.panicked", route, request_id = %id, "a call ended in a panic");
            Problem::new(
                Code::Internal,
                "report it with the id of the request; the log has the place",
            )
            .into_response()
        }
    };
    let problem = response.extensions_mut().remove::<Arc<Problem>>();
    let caller = recognised.0.get().cloned();
    let note = response.extensions_mut().remove::<Note>();
    let status = response.status();
    if let Some(problem) = &problem {
        *response.body_mut() = Body::from(problem.body(&id.to_string()));
    }
    head(response.headers_mut(), id);
    let code = problem.as_ref().map(|problem| problem.code);
    let took = begun.elapsed();
    app.metrics.answered(
        method.as_str(),
        matched.as_deref(),
        status.as_u16(),
        code,
        took,
    );
    debug!(event = "call", %method, route, status = status.as_u16(), code = code.map(Code::as_str),
        who = caller.as_ref().map(Caller::who), took_s = took.as_secs_f64(), request_id = %id, "answered");

    let denied = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    );
    let changes =
        !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) && caller.is_some();
    if denied || changes || note.is_some() {
        let call = Call {
            who: caller.as_ref().map(Caller::who),
            role: caller.as_ref().map(|caller| caller.role.as_str()),
            method: method.to_string(),
            route,
            path: path.chars().take(500).collect(),
            status: status.as_u16(),
            code: code.map(Code::as_str),
            note: note.unwrap_or_default(),
            request_id: id,
            address,
        };
        // A denied call is answered at once, so that denied calls cannot make the database the bottleneck.
        if !app.calls.note(call, !denied).await {
            app.metrics.unrecorded.inc();
        }
    }
    response
}

/// Headers of every answer.
fn head(headers: &mut HeaderMap, id: Uuid) {
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// An answer with what the record of calls says about it.
#[derive(Debug)]
pub struct Noted<T>(pub T, pub Note);

impl<T: IntoResponse> IntoResponse for Noted<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.extensions_mut().insert(self.1);
        response
    }
}
