//! Sessions of people.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::check_name;
use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::auth::secret::{Secret, hash};
use crate::auth::{Caller, Right, Role, cookie, password};
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::people;
use crate::docs::Refusals;
use crate::layer::{Noted, Recognised, address};
use crate::paging::Json;
use crate::problem::{Code, Problem, Result};

/// Attempts to log in per second, for each address and for each name.
const ATTEMPTS: u32 = 3;

/// A login.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name.
    name: String,
    /// Password.
    password: String,
}

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
pub struct Current {
    /// Name of the person or token.
    name: String,
    /// `user` or `token`.
    kind: &'static str,
    /// Role.
    role: Role,
    /// What the role may do: `look`, `rows`, `payloads`, `publish`, `operate`, `administer`.
    rights: Vec<&'static str>,
    /// Domains that the role is for; null: all.
    domains: Option<Vec<String>>,
    /// End of the session or token.
    expires_at: DateTime<Utc>,
}

impl From<&Caller> for Current {
    fn from(caller: &Caller) -> Self {
        const RIGHTS: [Right; 6] = [
            Right::Look,
            Right::Rows,
            Right::Payloads,
            Right::Publish,
            Right::Operate,
            Right::Administer,
        ];
        Self {
            name: caller.name.clone(),
            kind: if caller.is_person { "user" } else { "token" },
            role: caller.role,
            rights: RIGHTS
                .into_iter()
                .filter(|right| caller.role.may(*right))
                .map(Right::as_str)
                .collect(),
            domains: caller.domains.clone(),
            expires_at: caller.expires_at,
        }
    }
}

/// Log in
///
/// Sets the cookie of a session. Browsers only: programs use tokens.
#[utoipa::path(post, path = "/v1/session", tag = "access", security(()), request_body = Login, responses(
    (status = 200, description = "The session has begun", body = Current), Refusals))]
pub async fn login(State(app): State<App>, request: Request) -> Result<Response> {
    let headers = request.headers();
    // A call without these headers comes from no browser, and a session that it opens is of no use to another site.
    if headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN) {
        cookie::same_site(headers)?;
    }
    let from = address(&request, app.settings.behind_tls);
    let extensions = request.extensions().clone();
    let Input(login) = Input::<Login>::from_request(request, &()).await?;
    if login.password.len() > password::LONGEST || check_name(&login.name).is_err() {
        return Err(wrong());
    }
    let keys = [
        from.map(|from| format!("login from {from}")),
        Some(format!("login of {}", login.name)),
    ];
    for key in keys.into_iter().flatten() {
        app.limiter.take(&key, ATTEMPTS).map_err(|wait| {
            Problem::new(Code::RateLimited, "too many attempts to log in: wait")
                .retry_after(wait.as_secs() + 1)
        })?;
    }
    let mut database = app.database().await?;
    let stored = people::password_hash(&mut database, &login.name).await?;
    database.done();
    if !password::is_of(login.password, stored).await? {
        return Err(wrong());
    }
    let secret = Secret::session();
    let lasts = app.settings.session_max();
    let mut database = app.database().await?;
    people::open_session(&mut database, &login.name, &secret.hash, lasts).await?;
    let idle = lasts / 4;
    let found = crate::data::callers::of_session(&mut database, &secret.hash, idle).await?;
    database.done();
    let crate::data::callers::Found::Valid(caller) = found else {
        return Err(wrong());
    };
    let cookie = cookie::set(&secret.text, app.settings.behind_tls, lasts);
    let answer = ([(header::SET_COOKIE, cookie)], Json(Current::from(&caller)));
    Recognised::leave(&extensions, &caller);
    Ok(Noted(answer, Note::default()).into_response())
}

fn wrong() -> Problem {
    Problem::new(
        Code::WrongPassword,
        "name or password is wrong; an administrator sets a new one by `api user set-password`",
    )
}

/// The caller and its rights
#[utoipa::path(get, path = "/v1/session", tag = "access", extensions(("x-acequia-right" = json!("look"))), responses(
    (status = 200, description = "The caller", body = Current), Refusals))]
pub async fn current(caller: As<Look>) -> Json<Current> {
    Json(Current::from(&*caller))
}

/// Log out
#[utoipa::path(delete, path = "/v1/session", tag = "access", extensions(("x-acequia-right" = json!("look"))), responses(
    (status = 204, description = "The session has ended"), Refusals))]
pub async fn logout(
    State(app): State<App>,
    caller: As<Look>,
    headers: HeaderMap,
) -> Result<Response> {
    let Some(session) =
        cookie::read(&headers, app.settings.behind_tls).filter(|_| caller.is_person)
    else {
        return Err(Problem::new(
            Code::Conflict,
            "a token has no session; it ends by `api token revoke`",
        ));
    };
    let mut database = app.database().await?;
    people::end_session(&mut database, &hash(session)).await?;
    database.done();
    app.callers.forget();
    let gone = cookie::set("", app.settings.behind_tls, std::time::Duration::ZERO);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The present one.
    password: String,
    /// The new one, 12 to 256 bytes.
    new_password: String,
}

/// Change one's own password
///
/// Ends every session of the person, this one too.
#[utoipa::path(post, path = "/v1/session/password", tag = "access", extensions(("x-acequia-right" = json!("look"))), request_body = Change, responses(
    (status = 204, description = "It is changed"), Refusals))]
pub async fn change_password(
    State(app): State<App>,
    caller: As<Look>,
    Input(change): Input<Change>,
) -> Result<StatusCode> {
    if !caller.is_person {
        return Err(Problem::new(Code::Conflict, "a token has no password"));
    }
    password::check(&change.new_password).map_err(|why| Problem::parameter("new_password", why))?;
    let mut database = app.database().await?;
    let stored = people::password_hash(&mut database, &caller.name).await?;
    database.done();
    if change.password.len() > password::LONGEST
        || !password::is_of(change.password, stored).await?
    {
        return Err(Problem::new(
            Code::WrongPassword,
            "the present password is wrong",
        ));
    }
    let hashed = password::hash(change.new_password).await?;
    let mut database = app.database().await?;
    people::set_password(&mut database, &caller.name, &hashed, None).await?;
    database.done();
    app.callers.forget();
    Ok(StatusCode::NO_CONTENT)
}

use axum::extract::FromRequest as _;
