//! Marts.

mod ask;
mod parquet;
pub mod rows;

use acequia_ops::marts::{self, Mart, Schema};
use axum::extract::{Path, State};
use sqlx::PgConnection;

use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::scope::scope;

/// Marts
#[utoipa::path(get, path = "/v1/marts", tag = "marts", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The marts", body = Page<Mart>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Mart>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = marts::list(&mut database, domains.as_deref()).await?;
    database.done();
    Ok(Json(Page::whole(rows)))
}

/// Columns of a mart, with what they mean and their units
#[utoipa::path(get, path = "/v1/marts/{mart}/schema", tag = "marts", extensions(("x-acequia-right" = json!("look"))),
    params(("mart" = String, Path, description = "Mart, with or without `marts.`")), responses(
    (status = 200, description = "The schema", body = Schema), Refusals))]
pub async fn schema(
    State(app): State<App>,
    caller: As<Look>,
    Path(mart): Path<String>,
    params: Params,
) -> Result<Json<Schema>> {
    params.end()?;
    let mut database = app.database().await?;
    let schema = find(&mut database, &caller, &mart).await?;
    database.done();
    Ok(Json(schema))
}

/// A mart in the caller's scope.
async fn find(database: &mut PgConnection, caller: &Caller, name: &str) -> Result<Schema> {
    let found = marts::find(&mut *database, name).await?;
    let mart = found.ok_or_else(|| Problem::not_found("such mart; GET /v1/marts lists them"))?;
    caller.insist_on(&mart.domain)?;
    Ok(marts::schema(database, mart).await?)
}
