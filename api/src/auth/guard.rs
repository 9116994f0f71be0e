//! Recognises the caller before a route is reached, and asks a right of it.

use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Caller, Right, cookie, secret};
use crate::app::App;
use crate::data::callers::{self, Found};
use crate::layer::Recognised;
use crate::params::check_path;
use crate::problem::{Code, Problem, Result};

/// A layer of every route that needs a caller: recognises it, takes one of its calls, and leaves it to the route.
pub async fn recognise(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let caller = match caller(&app, request.method(), request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    Recognised::leave(request.extensions(), &caller);
    let rate = caller.rate.unwrap_or(app.settings.rate);
    match app.limiter.take(&caller.who(), rate) {
        Ok(()) => match check_path(request.uri().path()) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        },
        Err(wait) => Problem::new(
            Code::RateLimited,
            format!("at most {rate} calls a second: wait as Retry-After says"),
        )
        .retry_after(wait.as_secs() + 1)
        .into_response(),
    }
}

async fn caller(app: &App, method: &Method, headers: &HeaderMap) -> Result<Caller> {
    let given = headers.get(header::AUTHORIZATION);
    let (hash, is_person) = if let Some(given) = given {
        let token = given
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthenticated("the header is Authorization: Bearer acq_..."))?;
        (secret::hash(token), false)
    } else {
        let session = cookie::read(headers, app.settings.behind_tls).ok_or_else(|| {
            unauthenticated(
                "send Authorization: Bearer acq_..., made by `api token create`, or log in by POST /v1/session",
            )
        })?;
        if !method.is_safe() {
            cookie::same_site(headers)?;
        }
        (secret::hash(session), true)
    };
    let caller = match app.callers.get(&hash) {
        Some(caller) => caller,
        None => {
            let mut database = app.database().await?;
            let found = if is_person {
                let idle = app.settings.session_max() / 4;
                callers::of_session(&mut database, &hash, idle).await?
            } else {
                callers::of_token(&mut database, &hash).await?
            };
            database.done();
            match found {
                Found::Valid(caller) => {
                    app.callers.put(hash, caller.clone());
                    caller
                }
                Found::Expired => return Err(expired()),
                Found::Unknown => {
                    return Err(unauthenticated(
                        "the token or session is not known, or was revoked",
                    ));
                }
            }
        }
    };
    if caller.expires_at <= app.clock.now() {
        return Err(expired());
    }
    Ok(caller)
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}

fn expired() -> Problem {
    Problem::new(
        Code::Expired,
        "ask for a new token, or log in again by POST /v1/session",
    )
}

macro_rules! rights {
    ($($name:ident),*) => {$(
        /// See [`Right`].
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Asked for $name {
            const RIGHT: Right = Right::$name;
        }
    )*};
}

/// A right as a type, for the signature of a route.
pub trait Asked {
    /// The right.
    const RIGHT: Right;
}
rights!(Look, Rows, Publish, Operate, Administer);

/// A caller that has a right. A route with it in its signature cannot be reached without.
#[derive(Debug)]
pub struct As<R>(Caller, PhantomData<R>);

impl<R> Deref for As<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<R: Asked, S: Send + Sync> FromRequestParts<S> for As<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| unauthenticated("send Authorization: Bearer acq_..."))?;
        caller.insist(R::RIGHT)?;
        Ok(Self(caller, PhantomData))
    }
}
