//! Routes of the message contracts.

use acequia_contracts::{Entity, Topology, catalog, domain, fixtures};
use acequia_net::topology::{ALERTS, EXCHANGE, REJECTED, queue_of};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::{Problem, Result};
use crate::scope::scope;

/// A contract.
#[derive(Debug, Serialize, ToSchema)]
pub struct Contract {
    /// Domain.
    domain: &'static str,
    /// Entity.
    entity: &'static str,
    /// Version of the contract.
    version: i64,
    /// Where its JSON Schema is.
    schema: String,
    /// Where messages are sent.
    send: String,
    /// A valid message.
    #[schema(value_type = Option<Object>)]
    example: Option<Box<serde_json::value::RawValue>>,
}

/// The entity of a path, in the caller's scope.
///
/// # Errors
/// `foreign_domain`, `not_found`.
pub fn entity(caller: &Caller, name: &str, entity: &str) -> Result<&'static Entity> {
    // The scope first: a caller outside a domain does not learn its content.
    caller.insist_on(name)?;
    let found = domain(name).ok_or_else(|| Problem::not_found(format!("domain {name:?}")))?;
    found
        .entities
        .iter()
        .find(|one| one.name == entity)
        .ok_or_else(|| {
            let known: Vec<_> = found.entities.iter().map(|one| one.name).collect();
            Problem::not_found(format!("such entity; {name} has {}", known.join(", ")))
        })
}

/// Contracts of all message types, each with a valid example
#[utoipa::path(get, path = "/v1/contracts", tag = "messages", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The contracts", body = Page<Contract>), Refusals))]
pub async fn list(
    State(_): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<Contract>>> {
    let wanted = scope(&caller, &mut params)?;
    params.end()?;
    let contracts = catalog()
        .iter()
        .filter(|domain| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.iter().any(|one| one == domain.name))
        })
        .flat_map(|domain| &domain.entities)
        .map(|entity| {
            let (domain, name) = (entity.domain, entity.name);
            let example = fixtures::valid(domain, name).into_iter().next();
            let text = example.and_then(|fixture| String::from_utf8(fixture.body.to_vec()).ok());
            Contract {
                domain,
                entity: name,
                version: acequia_contracts::CONTRACT_VERSION,
                schema: format!("/v1/contracts/{domain}/{name}"),
                send: format!("/v1/messages/{domain}/{name}"),
                example: text.and_then(|text| serde_json::value::RawValue::from_string(text).ok()),
            }
        });
    Ok(Json(Page::whole(contracts.collect())))
}

/// The JSON Schema of a message type (draft 2020-12)
///
/// Where JSON Schema cannot say a rule, or says it differently, `x-acequia-rules` names the fields and the codes of errors.
/// `?dry_run=true` of `POST /v1/messages/{domain}/{entity}` checks everything.
#[utoipa::path(get, path = "/v1/contracts/{domain}/{entity}", tag = "messages", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("domain" = String, Path, description = "Domain"),
        ("entity" = String, Path, description = "Entity"),
    ), responses((status = 200, description = "The schema", body = Value, content_type = "application/schema+json"), Refusals))]
pub async fn show(
    State(_): State<App>,
    caller: As<Look>,
    Path((domain, name)): Path<(String, String)>,
    params: Params,
) -> Result<Response> {
    params.end()?;
    let schema = acequia_contracts::schema(entity(&caller, &domain, &name)?);
    let mut response = Json(schema).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/schema+json"),
    );
    Ok(response)
}

/// All contracts of the caller's scope as an AsyncAPI document (3.1): exchange, routing keys, queues, headers, identity
#[utoipa::path(get, path = "/v1/contracts/asyncapi.json", tag = "messages", extensions(("x-acequia-right" = json!("look"))),
    responses((status = 200, description = "The document", body = Value, content_type = "application/vnd.aai.asyncapi+json"), Refusals))]
pub async fn asyncapi(State(_): State<App>, caller: As<Look>, params: Params) -> Result<Response> {
    params.end()?;
    let broker = Topology {
        exchange: EXCHANGE,
        alerts: ALERTS,
        rejected: REJECTED,
        queue_of,
    };
    let domains = catalog().iter().filter(|domain| caller.sees(domain.name));
    let mut response = Json(acequia_contracts::asyncapi(domains, &broker)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/vnd.aai.asyncapi+json"),
    );
    Ok(response)
}
