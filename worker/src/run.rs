//! The worker process: starts the loops, stops them.

use std::sync::Arc;
use std::time::Duration;

use acequia_contracts::Domain;
use acequia_messaging::Declarations;
use acequia_messaging::look::Looks;
use acequia_net::SecretUrl;
use acequia_store::acknowledged::Memory;
use acequia_store::clock::Clock;
use acequia_store::failure::Failure;
use acequia_store::pool::Pool;
use acequia_store::{db, pooler};
use acequia_telemetry::Traces;
use acequia_telemetry::health::Health;
use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::archive::Archiver;
use crate::check::Check;
use crate::config::LoopArgs;
use crate::context::WorkerContext;
use crate::http;
use crate::ingest;
use crate::ingest::writers::Writers;
use crate::listen::listen;
use crate::looks::Observe;
use crate::maintain::Maintain;
use crate::metrics::{Metrics, Open};
use crate::outbox_relay::OutboxRelay;
use crate::pauses::{self, LearnPauses, Pauses};
use crate::promote::Promote;
use crate::queue_consumer::{QueueConsumer, queues_of};
use crate::refresh::Refresh;
use crate::ticks::Ticks;
use crate::wakes::Wakes;
use crate::worker_loop::{self, PeriodicTask};

/// Time limit for the loops to finish their work.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Runs the worker until `stop` is cancelled; then finishes the messages in flight.
///
/// # Errors
/// When a setting is wrong, the schema does not fit, or the HTTP port is taken. Broker and
/// database may come and go.
pub async fn run(
    database: SecretUrl,
    broker: SecretUrl,
    settings: LoopArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let domains = domains_of(&settings.domains)?;
    let archivers = (domains.iter())
        .map(|_| {
            let url = settings.archive_url.as_deref();
            let login = settings.archive_login.url(&database)?;
            Archiver::new(url, login, &settings.archive_schedule, stop.clone())
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let lanes = QueueConsumer::of(&domains);
    let queues = lanes.iter().map(|lane| {
        let domain = lane.domain.map(|domain| domain.name);
        (lane.queue.clone(), domain)
    });
    let context = Arc::new(WorkerContext {
        worker: format!("{}:{}", acequia_net::hostname(), std::process::id()),
        metrics: Metrics::new(&domains).context("metrics")?,
        health: Health::default(),
        clock: Clock::default(),
        acknowledged: Memory::default(),
        declarations: Declarations::new(queues_of(&domains)),
        looks: Arc::new(Looks::new(queues)),
        traces: Traces::from_env("acequia-worker", |collector| {
            acequia_net::allow_http(collector, database.may_be_plaintext())
        })?,
        writers: Writers::new(&domains),
        wakes: Wakes::new(&domains),
        pauses: Pauses::new(&domains),
        database,
        broker,
        settings,
        domains: domains.clone(),
    });
    let listener = http::bind(context.settings.http_addr).await?;
    info!(event = "worker.started", version = env!("CARGO_PKG_VERSION"), worker = context.worker,
        http = %listener.local_addr()?, database = %context.database, broker = %context.broker,
        "worker runs");
    // Served from the first moment: /livez says that the process lives while it waits.
    let mut server = AbortOnDropHandle::new(tokio::spawn(http::serve(listener, context.clone())));
    tokio::select! {
        waited = wait_for_schema(&context, &stop) => waited?,
        ended = &mut server => return Err(unserved(ended)),
    }

    let mut loops = Loops {
        running: JoinSet::new(),
        pool: Arc::new(Pool::shared(&context.database)),
        context: context.clone(),
        stop: stop.clone(),
    };
    // Housekeeping first: today's partitions should be there before the first row.
    for (domain, archiver) in domains.iter().copied().zip(archivers) {
        loops.start(Maintain::default(), domain);
        loops.start_with(
            Promote,
            domain,
            Pool::own(Promote::NAME, domain.name, &context.database),
        );
        loops.start(Check, domain);
        loops.start(Refresh::default(), domain);
        loops.start(OutboxRelay::default(), domain);
        loops.start(LearnPauses, domain);
        loops.start(Ticks, domain);
        loops.start(archiver, domain);
    }
    if let Some(domain) = domains.first() {
        loops.start(Observe::default(), domain);
    }
    let mut loops = loops.running;
    loops.spawn(listen(context.clone(), stop.clone()));
    for lane in lanes {
        loops.spawn(ingest::run(lane, context.clone(), stop.clone()));
    }
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            // Without it the state of the loops is invisible: as bad as a loop that ended.
            ended = &mut server => return Err(unserved(ended)),
            Some(ended) = loops.join_next() => {
                if let Err(panicked) = ended {
                    bail!("a loop crashed: {panicked}; restart the worker, nothing is lost");
                }
                if !stop.is_cancelled() {
                    bail!("a loop ended by itself; restart the worker, nothing is lost");
                }
            }
        }
    }
    info!(event = "worker.stopping", "finishing what is in flight");
    let all_ended = async { while loops.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, all_ended).await.is_err() {
        warn!(
            event = "worker.stop_timeout",
            "gave up waiting; unacknowledged messages stay in their queue"
        );
    }
    drop(server);
    if let Some(traces) = context.traces.clone() {
        tokio::task::spawn_blocking(move || traces.finish()).await?;
    }
    info!(event = "worker.stopped", "worker stopped");
    Ok(())
}

/// The loops over the database, and their shared parts.
struct Loops {
    running: JoinSet<()>,
    pool: Arc<Pool<Open>>,
    context: Arc<WorkerContext>,
    stop: CancellationToken,
}

impl Loops {
    /// Starts one that shares the pool.
    fn start<W: PeriodicTask + 'static>(&mut self, task: W, domain: &'static Domain) {
        self.spawn(task, domain, self.pool.clone());
    }

    /// Starts one that has a connection of its own.
    fn start_with<W: PeriodicTask + 'static>(
        &mut self,
        task: W,
        domain: &'static Domain,
        pool: Pool<Open>,
    ) {
        self.spawn(task, domain, Arc::new(pool));
    }

    fn spawn<W: PeriodicTask + 'static>(
        &mut self,
        task: W,
        domain: &'static Domain,
        pool: Arc<Pool<Open>>,
    ) {
        let (context, stop) = (self.context.clone(), self.stop.clone());
        self.running
            .spawn(worker_loop::run(task, domain, pool, context, stop));
    }
}

/// Reason why the HTTP task ended, which it never should.
fn unserved(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    let why = match ended {
        Ok(Ok(())) => "it ended".to_owned(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panicked) => panicked.to_string(),
    };
    anyhow::anyhow!(
        "/metrics and /readyz are not served any more: {why}; restart the worker, nothing is lost"
    )
}

/// The domains of a list of names; all of them when it is empty.
///
/// # Errors
/// When a name is not in the catalog.
pub fn domains_of(names: &[String]) -> anyhow::Result<Vec<&'static Domain>> {
    let known = || {
        let names: Vec<_> = acequia_contracts::catalog()
            .iter()
            .map(|domain| domain.name)
            .collect();
        names.join(", ")
    };
    if names.is_empty() {
        return Ok(acequia_contracts::catalog().iter().collect());
    }
    let mut domains: Vec<&'static Domain> = Vec::new();
    for name in names {
        let name = name.trim();
        if name.is_empty() {
            bail!(
                "DOMAINS has an empty name; there is {}. Leave it out to work for all of them",
                known()
            );
        }
        let domain = acequia_contracts::domain(name)
            .with_context(|| format!("there is no domain {name}; there is {}", known()))?;
        if domains.iter().any(|other| other.name == domain.name) {
            bail!("DOMAINS names {name} twice: name each domain once");
        }
        domains.push(domain);
    }
    Ok(domains)
}

/// Waits until the database answers, then insists that its schema is this program's.
async fn wait_for_schema(context: &WorkerContext, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut backoff = acequia_store::failure::Backoff::default();
    while !stop.is_cancelled() {
        let error = match check_schema(&context.database).await {
            Ok(paused) => {
                for domain in &context.domains {
                    pauses::learn(context, domain, &paused);
                }
                break;
            }
            Err(error) => error,
        };
        // An error that waiting cannot fix ends the start: the operator has to act. A lost connection is waited for.
        let cause = error.downcast_ref::<sqlx::Error>().map(Failure::of);
        if cause.is_none_or(|failure| failure == Failure::Broken) {
            return Err(error);
        }
        let error = format!("{error:#}");
        warn!(
            event = "worker.waiting",
            error, "database does not answer yet"
        );
        context.health.waits_for(error);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
    Ok(())
}

/// Insists on the schema; returns the domains that are paused, so that no lane takes a message of theirs.
async fn check_schema(database: &SecretUrl) -> anyhow::Result<Vec<String>> {
    const WITHIN: Duration = Duration::from_secs(30);
    let mut connection = pooler::connect_past(database, "start").await?;
    let check = async {
        acequia_schema::check(&mut connection).await?;
        let paused = acequia_store::pauses::paused(&mut connection).await;
        paused.context("database")
    };
    match tokio::time::timeout(WITHIN, check).await {
        Ok(outcome) => outcome,
        Err(_) => Err(db::no_answer(WITHIN)).context("database"),
    }
}
