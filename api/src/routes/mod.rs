//! The routes, and the OpenAPI document that is made from them.

pub mod archives;
pub mod audit;
pub mod contracts;
pub mod domains;
pub mod events;
pub mod freshness;
pub mod gates;
pub mod health;
pub mod lineage;
pub mod marts;
pub mod messages;
pub mod operations;
pub mod people;
pub mod quality;
pub mod quarantine;
pub mod reconciliation;
pub mod session;
pub mod streams;
pub mod tokens;
pub mod trace;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::guard;
use crate::console;
use crate::domains::{self as of_domains, index};
use crate::layer;
use crate::metrics::Route;
use crate::paging::Json;
use crate::problem::{Code, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Acequia",
        description = "JSON messages from RabbitMQ to marts in PostgreSQL, every one accounted for. Errors are problem details (RFC 9457) with a stable `code`. Lists are read page by page with `cursor`. Decimals are JSON numbers with all their digits: do not read them into floats.",
        license(name = "MIT", identifier = "MIT"),
    ),
    security(("token" = []), ("session" = [])),
    modifiers(&Schemes),
    components(schemas(crate::problem::Shown, crate::problem::FieldError)),
    tags(
        (name = "state", description = "What the platform knows about its own data"),
        (name = "quarantine", description = "Messages that could not be promoted, and what people do about them"),
        (name = "messages", description = "Sending messages, and what became of them"),
        (name = "marts", description = "Rows for analysts"),
        (name = "access", description = "Sessions, people, tokens, the record of calls"),
        (name = "process", description = "Health of this process"),
    )
)]
struct Base;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("acq_...")
            .description(Some("A token made by `api token create`"))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let session = ApiKeyValue::with_description(
            "acequia_session",
            "The cookie of POST /v1/session; `__Host-acequia` behind TLS",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// Routes that need no caller.
fn open() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(session::login))
        .routes(routes!(index::root))
        .routes(routes!(index::health))
}

/// Routes that need one.
fn guarded() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(session::current, session::logout))
        .routes(routes!(session::change_password))
        .routes(routes!(domains::list))
        .routes(routes!(streams::list))
        .routes(routes!(streams::pause))
        .routes(routes!(streams::resume))
        .routes(routes!(freshness::list))
        .routes(routes!(reconciliation::list))
        .routes(routes!(quality::rules))
        .routes(routes!(quality::results))
        .routes(routes!(gates::list))
        .routes(routes!(gates::open))
        .routes(routes!(gates::close))
        .routes(routes!(lineage::list))
        .routes(routes!(archives::list))
        .routes(routes!(archives::archive))
        .routes(routes!(archives::restore))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::groups))
        .routes(routes!(quarantine::show))
        .routes(routes!(quarantine::replay))
        .routes(routes!(quarantine::discard))
        .routes(routes!(quarantine::restore))
        .routes(routes!(operations::list))
        .routes(routes!(operations::show))
        .routes(routes!(operations::cancel))
        .routes(routes!(operations::undo))
        .routes(routes!(trace::message))
        .routes(routes!(trace::entity))
        .routes(routes!(messages::send))
        .routes(routes!(marts::list))
        .routes(routes!(marts::rows::rows))
        .routes(routes!(marts::schema))
        .routes(routes!(contracts::list))
        .routes(routes!(contracts::show))
        .routes(routes!(contracts::asyncapi))
        .routes(routes!(events::stream))
        .routes(routes!(audit::decisions))
        .routes(routes!(audit::calls))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(people::list, people::add))
        .routes(routes!(people::show, people::remove))
        .routes(routes!(people::set_password))
        .merge(of_domains::guarded())
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> Document {
    let mut document = open().merge(guarded()).into_openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document
}

/// Method and path of each route of a document.
pub fn routes_of(document: &Document) -> impl Iterator<Item = Route> + '_ {
    document.paths.paths.iter().flat_map(|(path, item)| {
        let methods = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        let there = methods
            .into_iter()
            .filter(|(_, operation)| operation.is_some());
        there.map(move |(method, _)| (method.to_owned(), path.clone()))
    })
}

/// Everything that is served.
pub fn router(app: &App) -> Router {
    let (guarded, _) = guarded().split_for_parts();
    let (open, _) = open().split_for_parts();
    let recognise = from_fn_with_state(app.clone(), guard::recognise);
    let document = document();
    open.merge(guarded.route_layer(recognise))
        .route("/openapi.json", get(async move || Json(document.clone())))
        .fallback(async |request: Request| console::serve(&request))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "/openapi.json has the methods of each route",
            )
        })
        .layer(DefaultBodyLimit::max(app.settings.body_max()))
        .layer(from_fn_with_state(app.clone(), layer::around))
        .with_state(app.clone())
}
