//! Health and metrics of this process, for probes and Prometheus.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::app::App;
use crate::database;
use crate::paging::Json;
use crate::problem::Problem;

/// Time that a probe waits for the database.
const WITHIN: Duration = Duration::from_secs(3);

/// Whether calls can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether they can. Reading needs the database only.
    ready: bool,
    /// The parts that calls depend on.
    parts: Vec<Part>,
}

/// Something that calls depend on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Part {
    /// `database`, `operator`, `archive` or `broker`.
    name: &'static str,
    /// Whether it answers.
    ready: bool,
    /// Whether this process is not ready without it.
    required: bool,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Whether the process lives
#[utoipa::path(get, path = "/livez", tag = "process", security(()), responses((status = 200, description = "It lives", body = String, content_type = "text/plain")))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Whether calls can be answered, and if not, which part is missing
#[utoipa::path(get, path = "/readyz", tag = "process", security(()), responses(
    (status = 200, description = "They can", body = Ready),
    (status = 503, description = "They cannot", body = Ready),
))]
pub async fn readyz(State(app): State<App>) -> Response {
    let mut parts = vec![database_part(&app).await];
    if app.operator.is_none() {
        parts.push(missing("operator", "OPERATOR_DATABASE_URL"));
    }
    if app.archives.is_none() {
        parts.push(missing("archive", "ARCHIVE_DATABASE_URL or ARCHIVE_URL"));
    }
    parts.push(match &app.publisher {
        Some(publisher) => Part {
            name: "broker",
            ready: publisher.is_connected(),
            required: false,
            why: (!publisher.is_connected()).then(|| {
                format!(
                    "{} does not answer: messages cannot be sent",
                    publisher.url()
                )
            }),
        },
        None => missing("broker", "AMQP_URL"),
    });
    let ready = parts.iter().all(|part| part.ready || !part.required);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Ready { ready, parts })).into_response()
}

fn missing(name: &'static str, variable: &str) -> Part {
    Part {
        name,
        ready: false,
        required: false,
        why: Some(format!(
            "{variable} is not set: routes that need it answer not_configured"
        )),
    }
}

/// Whether the database answers, and has the schema that this program needs.
pub async fn database_answers(app: &App) -> bool {
    database_part(app).await.ready
}

async fn database_part(app: &App) -> Part {
    let look = async {
        let mut connection = app.database().await.map_err(|problem| problem.detail)?;
        database::check(&mut connection)
            .await
            .map_err(|error| format!("{error:#}"))?;
        connection.done();
        Ok::<_, String>(())
    };
    let why = match timeout(WITHIN, look).await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(_) => Some(format!("{} does not answer", app.database.url())),
    };
    Part {
        name: "database",
        ready: why.is_none(),
        required: true,
        why,
    }
}

/// Metrics in the text format of Prometheus
#[utoipa::path(get, path = "/metrics", tag = "process", security(()), responses((status = 200, description = "The page", body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): State<App>) -> Response {
    app.metrics.database("api", app.database.in_use());
    if let Some(operator) = &app.operator {
        app.metrics.database("operator", operator.in_use());
    }
    match app.metrics.page() {
        Ok(page) => (
            [(
                header::CONTENT_TYPE,
                acequia_telemetry::metrics::CONTENT_TYPE,
            )],
            page,
        )
            .into_response(),
        Err(error) => Problem::internal(&error.into()).into_response(),
    }
}
