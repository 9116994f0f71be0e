//! Partitions that were moved to the object store.

use acequia_ops::archives::{self, Archive};
use axum::extract::State;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// Archives of tables
#[utoipa::path(get, path = "/v1/archives", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given"),
        ("table" = Option<String>, Query, description = "Table with its schema"),
        ("all" = Option<bool>, Query, description = "Also those that were superseded or given up"),
    ), responses((status = 200, description = "The archives", body = Page<Archive>), Refusals))]
pub async fn list(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Archive>>> {
    let domains = scope(&caller, &mut params)?;
    let table = params.one("table")?;
    let all = params.flag("all")?;
    params.end()?;
    let mut database = app.database().await?;
    let mut rows = archives::list(&mut database, table.as_deref(), all).await?;
    database.done();
    if let Some(domains) = domains {
        // A table stands in the schema of its domain.
        rows.retain(|row| {
            let schema = row.table_name.split('.').next().unwrap_or_default();
            domains.iter().any(|domain| domain == schema)
        });
    }
    Ok(Json(Page::whole(rows)))
}
