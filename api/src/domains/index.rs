//! Routes by which a reference system describes itself.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::console;
use crate::paging::Json;
use crate::routes::health;

/// Which program answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Root {
    /// What this is.
    message: &'static str,
    /// Version of the program.
    version: &'static str,
}

/// Whether calls can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, or `unhealthy` while the database does not answer.
    status: &'static str,
    /// Name of the program.
    service: &'static str,
    /// Time by the database's clock.
    timestamp: DateTime<Utc>,
}

/// Which program answers; the console, for a browser
#[utoipa::path(get, path = "/", tag = "process", security(()), responses(
    (status = 200, description = "Name and version, or the page of the console where Accept asks for text/html", body = Root)))]
pub async fn root(request: Request) -> Response {
    if console::wants_page(request.headers()) {
        return console::serve(&request);
    }
    let mut response = Json(Root {
        message: "Acequia: the routes are in /openapi.json",
        version: env!("CARGO_PKG_VERSION"),
    })
    .into_response();
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether calls can be answered, as the reference systems say it; `/readyz` names the part that is missing
#[utoipa::path(get, path = "/health", tag = "process", security(()), responses(
    (status = 200, description = "They can", body = Health),
    (status = 503, description = "They cannot", body = Health),
))]
pub async fn health(State(app): State<App>) -> Response {
    let (status, word) = if health::database_answers(&app).await {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    };
    let health = Health {
        status: word,
        service: "acequia-api",
        timestamp: app.clock.now(),
    };
    (status, Json(health)).into_response()
}
