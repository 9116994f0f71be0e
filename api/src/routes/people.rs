//! People who log in.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::access;
use crate::app::App;
use crate::auth::guard::{Administer, As};
use crate::auth::{Role, password};
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::people::{self, Person};
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::precondition::{self, IfMatch, Tagged};
use crate::problem::{Code, Problem, Result};

/// Everybody, by name
#[utoipa::path(get, path = "/v1/people", tag = "access", extensions(("x-acequia-right" = json!("administer"))), responses(
    (status = 200, description = "The people", body = Page<Person>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Administer>,
    params: Params,
) -> Result<Json<Page<Person>>> {
    caller.insist_on_all()?;
    params.end()?;
    let mut database = app.database().await?;
    let people = people::list(&mut database).await?;
    database.done();
    Ok(Json(Page::whole(people)))
}

/// A person
#[utoipa::path(get, path = "/v1/people/{name}", tag = "access", extensions(("x-acequia-right" = json!("administer"))),
    params(("name" = String, Path, description = "Login name")), responses(
    (status = 200, description = "The person", body = Person, headers(("ETag" = String, description = "For `If-Match` of an edit"))), Refusals))]
pub async fn show(
    State(app): State<App>,
    caller: As<Administer>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Tagged<Json<Person>>> {
    caller.insist_on_all()?;
    params.end()?;
    let mut person = find(&app, &name).await?;
    let revision = std::mem::take(&mut person.revision);
    Ok(Tagged(Json(person), revision))
}

async fn find(app: &App, name: &str) -> Result<Person> {
    let mut database = app.database().await?;
    let person = people::find(&mut database, name).await?;
    database.done();
    person.ok_or_else(|| Problem::not_found("such person"))
}

/// A person to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPerson {
    /// Login name: small letters, digits and `. _ @ -`.
    name: String,
    /// Password, 12 to 256 bytes.
    password: String,
    /// Role.
    role: Role,
    /// Domains that the role is for; all when not given.
    #[serde(default)]
    domains: Option<Vec<String>>,
}

/// Add a person
#[utoipa::path(post, path = "/v1/people", tag = "access", extensions(("x-acequia-right" = json!("administer"))), request_body = NewPerson, responses(
    (status = 201, description = "The person", body = Person), Refusals))]
pub async fn add(
    State(app): State<App>,
    caller: As<Administer>,
    Input(new): Input<NewPerson>,
) -> Result<Noted<(StatusCode, Json<Person>)>> {
    caller.insist_on_all()?;
    access::check_name(&new.name)
        .and_then(|()| access::check_domains(new.domains.as_deref()))
        .and_then(|()| password::check(&new.password).map_err(|why| ("password", why)))
        .map_err(|(field, why)| Problem::parameter(field, why))?;
    let hashed = password::hash(new.password).await?;
    let mut database = app.database().await?;
    let added = people::add(
        &mut database,
        &new.name,
        &hashed,
        new.role,
        new.domains.as_deref(),
        &caller.who(),
    )
    .await;
    let person = access::unless_taken(added, "person")?;
    database.done();
    let note = Note {
        detail: json!({"name": person.name, "role": person.role, "domains": person.domains}),
        ..Note::default()
    };
    Ok(Noted((StatusCode::CREATED, Json(person)), note))
}

/// A password that is to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The new one, 12 to 256 bytes.
    password: String,
}

/// Set a person's password
///
/// Ends every session of the person.
#[utoipa::path(post, path = "/v1/people/{name}/password", tag = "access", extensions(("x-acequia-right" = json!("administer"))),
    params(
        ("name" = String, Path, description = "Login name"),
        ("If-Match" = String, Header, description = "`ETag` of the person, or `*`"),
    ), request_body = NewPassword, responses(
    (status = 204, description = "It is set"), Refusals))]
pub async fn set_password(
    State(app): State<App>,
    caller: As<Administer>,
    Path(name): Path<String>,
    if_match: IfMatch,
    Input(new): Input<NewPassword>,
) -> Result<StatusCode> {
    caller.insist_on_all()?;
    password::check(&new.password).map_err(|why| Problem::parameter("password", why))?;
    let wanted = if_match.required()?;
    let revision = wanted.held_by(&find(&app, &name).await?.revision)?;
    let hashed = password::hash(new.password).await?;
    let mut database = app.database().await?;
    let is_set = people::set_password(&mut database, &name, &hashed, revision.as_deref()).await?;
    database.done();
    app.callers.forget();
    match (is_set, revision) {
        (true, _) => Ok(StatusCode::NO_CONTENT),
        (false, Some(_)) => Err(precondition::stale()),
        (false, None) => Err(Problem::not_found("such person")),
    }
}

/// Remove a person
#[utoipa::path(delete, path = "/v1/people/{name}", tag = "access", extensions(("x-acequia-right" = json!("administer"))),
    params(("name" = String, Path, description = "Login name")), responses(
    (status = 204, description = "The person is removed"), Refusals))]
pub async fn remove(
    State(app): State<App>,
    caller: As<Administer>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    caller.insist_on_all()?;
    if caller.is_person && caller.name == name {
        return Err(Problem::new(
            Code::Conflict,
            "administrators cannot remove themselves; another administrator can",
        ));
    }
    let mut database = app.database().await?;
    let was_there = people::remove(&mut database, &name).await?;
    database.done();
    app.callers.forget();
    if was_there {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("such person"))
    }
}
