//! Partitions in the object store, and people who archive and restore them.

use acequia_args::{duration, first_instant, instant_after};
use acequia_ops::archives::{self, Archive, Decision, DryRun, NoPolicy, Range, Wanted};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::gates::reason;
use super::operations::accepted;
use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look, Operate};
use crate::body::Input;
use crate::data::calls::Note;
use crate::data::operations::{self, New, Operation};
use crate::docs::Refusals;
use crate::layer::Noted;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::scope::scope;

/// How long a restored partition stays, unless the caller says otherwise.
const HOLD: &str = "7d";

/// The domain of a table: it stands in the schema of its domain.
fn domain_of(table: &str) -> &str {
    table.split('.').next().unwrap_or_default()
}

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
        rows.retain(|row| {
            domains
                .iter()
                .any(|domain| domain == domain_of(&row.table_name))
        });
    }
    Ok(Json(Page::whole(rows)))
}

/// Which partitions to archive.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ArchiveRequest)]
pub struct ToArchive {
    /// Table with its schema; every table of the scope that has a policy when not given.
    table: Option<String>,
    /// Age since the end of a partition, as `30d`, instead of the policy's.
    older_than: Option<String>,
    /// Why; kept in the audit log. Not needed for a dry run.
    reason: String,
    /// List what would be archived, and do nothing.
    dry_run: bool,
}

/// Which archives to restore.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RestoreRequest)]
pub struct ToRestore {
    /// Table with its schema.
    table: String,
    /// First day, as `2024-09-01`, or month, as `2024-09`.
    from: String,
    /// Last day or month; partitions are restored whole.
    to: String,
    /// How long they are not archived again; `7d` when not given.
    #[serde(default)]
    hold: Option<String>,
    /// Why; kept in the audit log. Not needed for a dry run.
    #[serde(default)]
    reason: String,
    /// List what would be restored, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Archive the partitions that are due
///
/// Those that ended longer ago than the policy of their table allows, or than `older_than`. An operation: see
/// `GET /v1/operations/{id}` for its progress, counted in partitions.
#[utoipa::path(post, path = "/v1/archives/archive", tag = "state", extensions(("x-acequia-right" = json!("operate"))), request_body = ToArchive, responses(
    (status = 200, description = "Nothing was done: a dry run", body = DryRun),
    (status = 202, description = "The operation", body = Operation), Refusals))]
pub async fn archive(
    State(app): State<App>,
    caller: As<Operate>,
    Input(asked): Input<ToArchive>,
) -> Result<Response> {
    let older_than_s = match &asked.older_than {
        Some(text) => Some(seconds("older_than", text)?),
        None => None,
    };
    let domain = match &asked.table {
        Some(table) => {
            caller.insist_on(domain_of(table))?;
            vec![domain_of(table).to_owned()]
        }
        None => caller.domains.clone().unwrap_or_default(),
    };
    let decision = Decision::Archive(Wanted {
        domain,
        table: asked.table,
        older_than_s,
    });
    begin(&app, &caller, &decision, &asked.reason, asked.dry_run).await
}

/// Restore the archives of a range
///
/// Every archive that overlaps the range comes back whole. An operation: see `GET /v1/operations/{id}` for its progress, counted in
/// partitions.
#[utoipa::path(post, path = "/v1/archives/restore", tag = "state", extensions(("x-acequia-right" = json!("operate"))), request_body = ToRestore, responses(
    (status = 200, description = "Nothing was done: a dry run", body = DryRun),
    (status = 202, description = "The operation", body = Operation), Refusals))]
pub async fn restore(
    State(app): State<App>,
    caller: As<Operate>,
    Input(asked): Input<ToRestore>,
) -> Result<Response> {
    let day = |name: &str, read: fn(&str) -> Result<DateTime<Utc>, String>, text: &str| {
        read(text).map_err(|wrong| Problem::parameter(name, wrong))
    };
    let from = day("from", first_instant, &asked.from)?;
    let to = day("to", instant_after, &asked.to)?;
    if from >= to {
        return Err(Problem::parameter("from", "must not be after \"to\""));
    }
    let hold_s = seconds("hold", asked.hold.as_deref().unwrap_or(HOLD))?;
    caller.insist_on(domain_of(&asked.table))?;
    let decision = Decision::Restore(Range {
        table: asked.table,
        from,
        to,
        hold_s,
    });
    begin(&app, &caller, &decision, &asked.reason, asked.dry_run).await
}

/// A time span in seconds.
fn seconds(name: &str, text: &str) -> Result<u64> {
    let span = duration(text).map_err(|wrong| Problem::parameter(name, wrong))?;
    Ok(span.as_secs())
}

/// The domains that a decision is about; `None`: all.
fn domains_of(decision: &Decision) -> Option<Vec<String>> {
    let domains = match decision {
        Decision::Archive(wanted) => wanted.domain.clone(),
        Decision::Restore(range) => vec![domain_of(&range.table).to_owned()],
    };
    (!domains.is_empty()).then_some(domains)
}

async fn begin(
    app: &App,
    caller: &Caller,
    decision: &Decision,
    why: &str,
    dry_run: bool,
) -> Result<Response> {
    // Without these it would wait for a process that has them.
    app.archives()?;
    let why = if dry_run && why.is_empty() {
        None
    } else {
        Some(reason(why)?)
    };
    let mut database = app.database().await?;
    let would = match archives::dry_run(&mut database, decision).await {
        Ok(would) => would,
        Err(error) if error.is::<NoPolicy>() => {
            return Err(Problem::parameter(
                "table",
                "has no policy in core.lifecycle_policies: it is never archived",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let filters = decision.filters().map_err(anyhow::Error::from)?;
    let domains = domains_of(decision);
    let note = Note {
        domain: match domains.as_deref() {
            Some([one]) => Some(one.clone()),
            _ => None,
        },
        reason: why.map(ToOwned::to_owned),
        detail: json!({"filters": filters, "matched": would.partitions}),
    };
    if dry_run {
        database.done();
        return Ok(Noted(Json(would), note).into_response());
    }
    let who = caller.who();
    let new = New {
        kind: decision.action(),
        who: &who,
        reason: why,
        domains: domains.as_deref(),
        filters: &filters,
        rate: None,
        matched: would.partitions,
    };
    let operation = operations::ask(&mut database, &new).await?;
    database.done();
    Ok(accepted(app, operation, note))
}
