//! How fresh, complete and trustworthy each mart is.

use acequia_ops::freshness::{self, Freshness};
use axum::extract::State;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// How fresh, complete and trustworthy each mart is
#[utoipa::path(get, path = "/v1/freshness", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The rows", body = Page<Freshness>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Freshness>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = freshness::list(&mut database, domains.as_deref()).await?;
    database.done();
    Ok(Json(Page::whole(rows)))
}
