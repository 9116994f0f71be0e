//! Data quality rules and their results.

use acequia_ops::quality::{self, Outcome, Rule, Which};
use axum::extract::State;

use crate::app::App;
use crate::auth::Right;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, List, Page, limit};
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::scope::scope;

/// Outcomes of a rule.
const OUTCOMES: [&str; 4] = ["pass", "warn", "fail", "error"];

/// Rules with their last result
///
/// `sample_keys` are empty for callers who may not see payloads.
#[utoipa::path(get, path = "/v1/dq/rules", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The rules", body = Page<Rule>), Refusals))]
pub async fn rules(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Rule>>> {
    let domains = scope(&caller, &mut params)?;
    params.end()?;
    let mut database = app.database().await?;
    let mut rules = quality::rules(&mut database, domains.as_deref()).await?;
    database.done();
    if !caller.role.may(Right::Payloads) {
        rules.iter_mut().for_each(|rule| rule.sample_keys.clear());
    }
    Ok(Json(Page::whole(rules)))
}

/// Results of rules, the newest first
#[utoipa::path(get, path = "/v1/dq/results", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given"),
        ("rule" = Option<Vec<String>>, Query, description = "Rules"),
        ("outcome" = Option<Vec<String>>, Query, description = "`pass`, `warn`, `fail` or `error`"),
        ("since" = Option<String>, Query, description = "Checked at this time or later: an instant, or a span as 2h"),
        ("limit" = Option<i64>, Query, description = "Rows of a page, 1 to 1000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ), responses((status = 200, description = "A page", body = Page<Outcome>), Refusals))]
pub async fn results(
    State(app): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Outcome>>> {
    let domains = scope(&caller, &mut params)?;
    let (rules, outcomes) = (params.list("rule"), params.list("outcome"));
    if outcomes.iter().any(|one| !OUTCOMES.contains(&one.as_str())) {
        return Err(Problem::parameter(
            "outcome",
            format!("must be one of {}", OUTCOMES.join(", ")),
        ));
    }
    let since = params.instant("since", app.clock.now())?;
    let limit = limit(&mut params)?;
    let cursor = params.one("cursor")?;
    params.end()?;
    let list = List::of(&["dq/results", &format!("{domains:?} {rules:?} {outcomes:?}")]);
    let which = Which {
        domains,
        rules,
        outcomes,
        since,
        before: list.position(cursor.as_deref())?,
    };
    let mut database = app.database().await?;
    let mut results = quality::results(&mut database, &which, limit + 1).await?;
    database.done();
    if !caller.role.may(Right::Payloads) {
        results
            .iter_mut()
            .for_each(|result| result.sample_keys.clear());
    }
    Ok(Json(list.page(results, limit, |result| result.id)))
}
