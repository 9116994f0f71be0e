//! Routes of decisions and recorded calls.

use axum::extract::State;

use crate::app::App;
use crate::auth::guard::{As, Operate};
use crate::data::calls::{self, Decision, Recorded, Which};
use crate::docs::Refusals;
use crate::paging::{Json, List, Page, limit};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// Decisions about messages, gates, streams, archives and accounts, made in any way, the newest first
///
/// For callers of all domains: a decision may be about several.
#[utoipa::path(get, path = "/v1/audit", tag = "access", extensions(("x-acequia-right" = json!("operate"))),
    params(
        ("action" = Option<String>, Query, description = "`replay`, `discard`, `restore`, `edit`, `open_gate`, `close_gate`, `write_off`, `pause_stream`, `resume_stream`, `archive` or `restore_archive`"),
        ("who" = Option<String>, Query, description = "Who"),
        ("limit" = Option<i64>, Query, description = "Rows of a page, 1 to 1000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ), responses((status = 200, description = "A page", body = Page<Decision>), Refusals))]
pub async fn decisions(
    State(app): State<App>,
    caller: As<Operate>,
    mut params: Params,
) -> Result<Json<Page<Decision>>> {
    caller.insist_on_all()?;
    let (action, who) = (params.one("action")?, params.one("who")?);
    let limit = limit(&mut params)?;
    let cursor = params.one("cursor")?;
    params.end()?;
    let list = List::of(&["audit", &format!("{action:?} {who:?}")]);
    let before = list.position(cursor.as_deref())?;
    let mut database = app.database().await?;
    let rows = calls::decisions(
        &mut database,
        action.as_deref(),
        who.as_deref(),
        before,
        limit + 1,
    )
    .await?;
    database.done();
    Ok(Json(list.page(rows, limit, |row| row.audit_id)))
}

/// Calls of this API that changed something or were denied, the newest first
#[utoipa::path(get, path = "/v1/audit/calls", tag = "access", extensions(("x-acequia-right" = json!("operate"))),
    params(
        ("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given"),
        ("who" = Option<String>, Query, description = "Caller, as `user:name` or `token:name`"),
        ("denied" = Option<bool>, Query, description = "Only denied calls"),
        ("limit" = Option<i64>, Query, description = "Rows of a page, 1 to 1000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ), responses((status = 200, description = "A page", body = Page<Recorded>), Refusals))]
pub async fn calls(
    State(app): State<App>,
    caller: As<Operate>,
    mut params: Params,
) -> Result<Json<Page<Recorded>>> {
    let domains = scope(&caller, &mut params)?;
    let (who, denied) = (params.one("who")?, params.flag("denied")?);
    let limit = limit(&mut params)?;
    let cursor = params.one("cursor")?;
    params.end()?;
    let list = List::of(&["calls", &format!("{domains:?} {who:?} {denied}")]);
    let which = Which {
        who,
        denied,
        domains,
        before: list.position(cursor.as_deref())?,
    };
    let mut database = app.database().await?;
    let rows = calls::list(&mut database, &which, limit + 1).await?;
    database.done();
    Ok(Json(list.page(rows, limit, |row| row.call_id)))
}
