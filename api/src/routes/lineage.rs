//! The way from message type to mart.

use acequia_ops::lineage::{self, Lineage};
use axum::extract::State;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// The way from message type to mart
#[utoipa::path(get, path = "/v1/lineage", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The rows", body = Page<Lineage>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Lineage>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = lineage::list(&mut database, domains.as_deref()).await?;
    database.done();
    Ok(Json(Page::whole(rows)))
}
