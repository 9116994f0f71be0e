//! Listens, serves connections within limits, and stops without cutting answers off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::app::App;
use crate::layer::Peer;

/// Time limit for the head of a call, also between two calls.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Time limit for running calls when the process stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Binds the port.
///
/// # Errors
/// When it is taken already.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; choose another address with --http-addr or API_HTTP_ADDR"
        )
    })
}

/// Serves until the application stops; then waits for the calls that are under way.
pub async fn serve(listener: TcpListener, router: Router, app: App) {
    let places = Arc::new(Semaphore::new(app.settings.connections as usize));
    let graceful = GracefulShutdown::new();
    loop {
        // Without a free place callers wait in the queue of the system.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = app.stop.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connection(stream, peer, &router, &app, place, &graceful),
            Err(error) => {
                // Too many open files, most often: some must close first.
                warn!(event = "http.accept", %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown())
        .await
        .is_err()
    {
        warn!(event = "http.stop_timeout", "gave up waiting for calls");
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
    app: &App,
    place: OwnedSemaphorePermit,
    graceful: &GracefulShutdown,
) {
    // Small answers at once.
    let _ = stream.set_nodelay(true);
    let inner = TowerToHyperService::new(router.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        inner.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let serving = graceful.watch(serving);
    let app = app.clone();
    app.metrics.connections.inc();
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            debug!(event = "http.connection", %error, "a connection ended early");
        }
        app.metrics.connections.dec();
        drop(place);
    });
}
