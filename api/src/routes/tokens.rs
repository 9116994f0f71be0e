//! Tokens of programs.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::access;
use crate::app::App;
use crate::auth::Role;
use crate::auth::guard::{Administer, As};
use crate::auth::secret::Secret;
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::tokens::{self, New, Token};
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::{Problem, Result};

/// Tokens, the newest first
#[utoipa::path(get, path = "/v1/tokens", tag = "access", extensions(("x-acequia-right" = json!("administer"))),
    params(("all" = Option<bool>, Query, description = "Also those that were revoked or have expired")), responses(
    (status = 200, description = "The tokens", body = Page<Token>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Administer>,
    mut params: Params,
) -> Result<Json<Page<Token>>> {
    caller.insist_on_all()?;
    let all = params.flag("all")?;
    params.end()?;
    let mut database = app.database().await?;
    let tokens = tokens::list(&mut database, all).await?;
    database.done();
    Ok(Json(Page::whole(tokens)))
}

/// A token that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Name of the program: small letters, digits and `. _ @ -`.
    name: String,
    /// Role.
    role: Role,
    /// Domains that the role is for; all when not given.
    #[serde(default)]
    domains: Option<Vec<String>>,
    /// Days of validity, 1 to 3650; 90 when not given.
    #[serde(default)]
    days: Option<i32>,
    /// Calls per second; the default of the API when not given.
    #[serde(default)]
    rate: Option<i32>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Made {
    /// The token: shown now, and never again.
    secret: String,
    /// What is kept of it.
    token: Token,
}

/// Make a token
#[utoipa::path(post, path = "/v1/tokens", tag = "access", extensions(("x-acequia-right" = json!("administer"))), request_body = Wanted, responses(
    (status = 201, description = "The token", body = Made), Refusals))]
pub async fn create(
    State(app): State<App>,
    caller: As<Administer>,
    Input(wanted): Input<Wanted>,
) -> Result<Noted<(StatusCode, Json<Made>)>> {
    caller.insist_on_all()?;
    let days = wanted.days.unwrap_or(access::DAYS);
    access::check_name(&wanted.name)
        .and_then(|()| access::check_domains(wanted.domains.as_deref()))
        .and_then(|()| access::check_days(days))
        .and_then(|()| access::check_rate(wanted.rate))
        .map_err(|(field, why)| Problem::parameter(field, why))?;
    let secret = Secret::token();
    let who = caller.who();
    let new = New {
        name: &wanted.name,
        role: wanted.role,
        domains: wanted.domains.as_deref(),
        rate: wanted.rate,
        days,
        by: &who,
    };
    let mut database = app.database().await?;
    let made = tokens::create(&mut database, &new, &secret).await;
    let token = access::unless_taken(made, "token")?;
    database.done();
    let note = Note {
        detail: json!({"token": token.token_id, "name": token.name, "role": token.role, "domains": token.domains}),
        ..Note::default()
    };
    let made = Made {
        secret: secret.text,
        token,
    };
    Ok(Noted((StatusCode::CREATED, Json(made)), note))
}

/// Revoke a token
///
/// It ends within five seconds.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", extensions(("x-acequia-right" = json!("administer"))),
    params(("id" = i64, Path, description = "Number of the token")), responses(
    (status = 200, description = "The token", body = Token), Refusals))]
pub async fn revoke(
    State(app): State<App>,
    caller: As<Administer>,
    Path(id): Path<String>,
) -> Result<Noted<Json<Token>>> {
    caller.insist_on_all()?;
    let missing = || Problem::not_found("valid token of that number");
    let id = id.parse::<i64>().map_err(|_| missing())?;
    let mut database = app.database().await?;
    let revoked = tokens::revoke(&mut database, None, Some(id), &caller.who()).await?;
    database.done();
    app.callers.forget();
    let token = revoked.into_iter().next().ok_or_else(missing)?;
    let note = Note {
        detail: json!({"token": token.token_id, "name": token.name}),
        ..Note::default()
    };
    Ok(Noted(Json(token), note))
}
