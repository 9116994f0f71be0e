//! Each domain's way from its queues to its tables.

use acequia_ops::streams::{self, Stream};
use axum::extract::State;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// Each domain's way from its queues to its tables
#[utoipa::path(get, path = "/v1/streams", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The rows", body = Page<Stream>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Stream>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = streams::list(&mut database, domains.as_deref()).await?;
    database.done();
    Ok(Json(Page::whole(rows)))
}
