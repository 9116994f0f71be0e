//! /metrics, /livez and /readyz, answered by a task that no message passes through.

use std::net::SocketAddr;
use std::sync::Arc;

use acequia_store::{clock, failpoint};
use acequia_telemetry::health::is_ready;
use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::context::WorkerContext;
use crate::database_metrics::DatabaseMetrics;
use crate::queue_consumer::QueueConsumer;

struct Server {
    context: Arc<WorkerContext>,
    status: DatabaseMetrics,
}

/// Binds the port.
///
/// # Errors
/// When it is taken already.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another address with --http-addr or HTTP_ADDR")
    })
}

/// Serves until the task is aborted.
///
/// # Errors
/// When it cannot.
pub async fn serve(listener: TcpListener, context: Arc<WorkerContext>) -> anyhow::Result<()> {
    let server = Arc::new(Server {
        context,
        status: DatabaseMetrics::default(),
    });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(server.clone());
    // The first reading opens the session and plans its queries, so it is slow: no request waits for it.
    let first = async {
        server.status.update(&server.context).await;
        failpoint::http();
    };
    let (served, ()) = tokio::join!(axum::serve(listener, router).into_future(), first);
    served.context("serving HTTP")
}

async fn metrics(State(server): State<Arc<Server>>) -> impl IntoResponse {
    let context = &server.context;
    let reports = context.health.report(context.settings.stall_after);
    context.metrics.loops.ready(&reports);
    context.metrics.loops.clock(context.clock.ahead());
    server.status.update(context).await;
    match server.status.page(&context.metrics) {
        Ok(page) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                acequia_telemetry::metrics::CONTENT_TYPE,
            )],
            page,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            format!("{error}\n"),
        ),
    }
}

/// 200 while every loop makes progress, 503 otherwise; see [`is_ready`] for the one exception. The
/// body names each loop and what keeps it, or what the start waits for before there are loops.
async fn readyz(State(server): State<Arc<Server>>) -> impl IntoResponse {
    let context = &server.context;
    let reports = context.health.report(context.settings.stall_after);
    let lanes = QueueConsumer::of(&context.domains).into_iter();
    let queues: Vec<String> = lanes
        .filter_map(|lane| lane.domain.map(|_| lane.queue))
        .collect();
    let ready = is_ready(&reports, &queues);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = serde_json::json!({ "ready": ready, "loops": reports });
    // No reason not to be ready: no date is judged by it.
    let ahead = context.clock.ahead();
    if clock::is_off(ahead) {
        body["clock_ahead_s"] = ahead.as_seconds_f64().into();
    }
    if let Some(cause) = context.health.waiting_for() {
        body["waiting_for"] = cause.into();
    }
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        format!("{body:#}\n"),
    )
}
