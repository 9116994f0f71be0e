//! Route that lists the message types.

use acequia_contracts::{Domain, Entity, catalog};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::guard::{As, Look};
use crate::docs::Refusals;
use crate::paging::{Json, Page};
use crate::params::Params;
use crate::problem::Result;
use crate::scope::scope;

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Domain)]
pub struct DomainEntry {
    /// Name.
    domain: &'static str,
    /// Queue that its messages wait in.
    queue: String,
    /// Queue of the publishers of a reference system.
    legacy_queue: Option<&'static str>,
    /// Message types, parents before children.
    entities: Vec<EntityEntry>,
}

/// A message type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entity)]
pub struct EntityEntry {
    /// Name inside the domain.
    entity: &'static str,
    /// `<domain>.<entity>`: routing key and AMQP type.
    message_type: String,
    /// Fields of the key, in the order of `GET /v1/entities`.
    key: &'static [&'static str],
    /// Staging table.
    staging_table: &'static str,
    /// Domain table.
    domain_table: &'static str,
    /// Fields.
    fields: Vec<FieldEntry>,
}

/// A field of a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Field)]
pub struct FieldEntry {
    /// Name.
    name: &'static str,
    /// Type in PostgreSQL.
    sql_type: &'static str,
    /// Whether it must be there.
    required: bool,
}

impl From<&'static Entity> for EntityEntry {
    fn from(entity: &'static Entity) -> Self {
        Self {
            entity: entity.name,
            message_type: format!("{}.{}", entity.domain, entity.name),
            key: entity.key,
            staging_table: entity.staging,
            domain_table: entity.core,
            fields: entity
                .columns
                .iter()
                .map(|column| FieldEntry {
                    name: column.name,
                    sql_type: column.kind.sql(),
                    required: column.required,
                })
                .collect(),
        }
    }
}

impl From<&'static Domain> for DomainEntry {
    fn from(domain: &'static Domain) -> Self {
        Self {
            domain: domain.name,
            queue: acequia_net::topology::queue_of(domain.name),
            legacy_queue: domain.legacy_queue,
            entities: domain.entities.iter().map(EntityEntry::from).collect(),
        }
    }
}

/// Domains with their message types, keys and fields
#[utoipa::path(get, path = "/v1/domains", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(("domain" = Option<Vec<String>>, Query, description = "Domains; all of the scope when not given")), responses(
    (status = 200, description = "The domains", body = Page<DomainEntry>), Refusals))]
pub async fn list(
    State(_): State<App>,
    caller: As<Look>,
    mut params: Params,
) -> Result<Json<Page<DomainEntry>>> {
    let wanted = scope(&caller, &mut params)?;
    params.end()?;
    let sees = |domain: &&Domain| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|one| one == domain.name))
    };
    let domains = catalog().iter().filter(sees).map(DomainEntry::from);
    Ok(Json(Page::whole(domains.collect())))
}
