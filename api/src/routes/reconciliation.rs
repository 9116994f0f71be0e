//! Where the messages of each entity are; unaccounted is always 0.

use acequia_ops::reconciliation::{self, Account};
use axum::extract::State;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// Where the messages of each entity are; unaccounted is always 0
#[utoipa::path(get, path = "/v1/reconciliation", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The rows", body = Page<Account>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Account>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let rows = reconciliation::list(&mut database, domains.as_deref()).await?;
    database.done();
    Ok(Json(Page::whole(rows)))
}
