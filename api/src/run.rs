//! The process: starts the parts, serves, stops.

use std::time::Duration;

use acequia_net::SecretUrl;
use acequia_ops::archives::Depot;
use acequia_store::clock::Clock;
use acequia_store::failure::{Backoff, Failure};
use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::{App, Parts};
use crate::auth::Callers;
use crate::config::ServeArgs;
use crate::data::calls::{self, Calls};
use crate::database::{self, Database};
use crate::events::{self, Events};
use crate::limit::Limiter;
use crate::metrics::Metrics;
use crate::operations::{Lane, Watch};
use crate::publish::Publisher;
use crate::{operations, routes, server};

/// Time between two looks at the database's clock and at bulk actions.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time limit for background work to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Addresses of the servers.
#[derive(Debug, Clone)]
pub struct Servers {
    /// PostgreSQL as acequia_api.
    pub database: SecretUrl,
    /// PostgreSQL as acequia_operator.
    pub operator: Option<SecretUrl>,
    /// RabbitMQ.
    pub broker: Option<SecretUrl>,
    /// The object store of archives, with PostgreSQL as acequia_archive.
    pub archives: Option<Depot>,
}

/// Serves until `stop` is cancelled.
///
/// # Errors
/// When a setting is wrong, the schema does not fit, or the port is taken. Database and broker may come and go.
pub async fn run(
    servers: Servers,
    settings: ServeArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    settings.check()?;
    let listener = server::bind(settings.http_addr).await?;
    let connections = usize::from(settings.database_connections);
    let open = |url| Database::new(url, connections, settings.statement_max());
    let database = open(servers.database);
    fit(&database).await?;
    let (calls, waiting) = Calls::new();
    let writer = tokio::spawn(calls::write(waiting, database.clone()));
    let app = App::new(Parts {
        operator: servers.operator.map(open),
        publisher: servers
            .broker
            .map(|url| Publisher::start(url, stop.clone())),
        archives: servers.archives,
        database,
        callers: Callers::default(),
        calls,
        limiter: Limiter::default(),
        metrics: Metrics::new(routes::routes_of(&routes::document())).context("metrics")?,
        events: Events::default(),
        clock: Clock::default(),
        name: format!("{}:{}", acequia_net::hostname(), std::process::id()),
        quarantine_work: Notify::new(),
        archive_work: Notify::new(),
        settings,
        stop,
    });
    info!(event = "api.started", version = env!("CARGO_PKG_VERSION"), http = %listener.local_addr()?,
        database = %app.database.url(), "the API serves");
    let mut background = JoinSet::new();
    background.spawn(look(app.clone()));
    background.spawn(events::run(app.clone()));
    background.spawn(operations::run(app.clone(), Lane::Quarantine));
    background.spawn(operations::run(app.clone(), Lane::Archives));
    server::serve(listener, routes::router(&app), app.clone()).await;
    info!(event = "api.stopping", "finishing what is under way");
    let ended = async { while background.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
        warn!(
            event = "api.stop_timeout",
            "gave up waiting; another process goes on with the operation"
        );
        background.abort_all();
    }
    drop(app);
    // The record of calls ends with its last writer.
    let _ = tokio::time::timeout(STOP_WITHIN, writer).await;
    info!(event = "api.stopped", "API stopped");
    Ok(())
}

/// Insists on the schema; a database that is away may come later.
async fn fit(database: &Database) -> anyhow::Result<()> {
    let Ok(mut connection) = database.take().await else {
        warn!(event = "database.away", database = %database.url(), "the database does not answer; /readyz says when it does");
        return Ok(());
    };
    let checked = database::check(&mut connection).await;
    match checked {
        Err(error)
            if error
                .downcast_ref()
                .is_some_and(|error| Failure::of(error) != Failure::Broken) =>
        {
            Ok(())
        }
        checked => checked,
    }
}

/// Polls the database now and then: keeps its clock at hand, and the state of bulk actions.
async fn look(app: App) {
    let mut backoff = Backoff::default();
    let mut watch = Watch::default();
    while !app.stop.is_cancelled() {
        let read = read(&app, &mut watch).await;
        if read.is_none() {
            app.metrics.operations(None);
        }
        let pause = if read.is_some() {
            backoff.reset();
            LOOK_EVERY
        } else {
            backoff.next_delay()
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.stop.cancelled() => {}
        }
    }
}

async fn read(app: &App, watch: &mut Watch) -> Option<()> {
    let mut database = app.database().await.ok()?;
    app.clock.read(&mut database).await.ok()?;
    let read = watch.look(&mut database).await.ok()?;
    app.metrics.operations(Some(&read));
    database.done();
    Some(())
}
