//! The scenarios.

mod broker;
mod cluster;
mod database;
mod deliveries;
mod hostile;
mod messages;
mod network;
mod processes;
mod raw;

use std::pin::Pin;

use crate::report::Outcome;
use crate::scenario_run::ScenarioRun;
use crate::setup::{RunOptions, Setup};

/// A scenario at play.
type Play = Pin<Box<dyn Future<Output = anyhow::Result<Outcome>> + Send>>;

/// A fault, and how it is played.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// Description of the fault.
    pub fault: &'static str,
    /// Whether it is left out of the default tests.
    pub slow: bool,
    /// Plays it.
    pub play: fn(RunOptions) -> Play,
}

macro_rules! scenarios {
    ($($name:literal, $fault:literal, $slow:literal, $play:path;)*) => {
        &[$(Scenario {
            name: $name,
            fault: $fault,
            slow: $slow,
            play: |run_options| Box::pin($play(run_options)),
        }),*]
    };
}

static ALL: &[Scenario] = scenarios![
    "worker-kill", "worker killed (SIGKILL) at random moments", false, processes::kill;
    "worker-stop", "worker stopped (SIGSTOP) for a minute, in tests 6 s, then continued", false, processes::stop;
    "crash-after-commit", "worker crashes between commit and acknowledgement", false, processes::after_commit;
    "broker-kill", "broker killed (SIGKILL) and started again", false, broker::kill;
    "memory-alarm", "memory alarm of the broker for 20 s, in tests 3 s: publishers are blocked", false, broker::memory_alarm;
    "disk-alarm", "disk alarm of the broker for 20 s, in tests 3 s: publishers are blocked", false, broker::disk_alarm;
    "connections-closed", "all connections closed by the broker", false, broker::close_connections;
    "queue-deleted", "queue deleted under its consumer (empty: what is in a deleted queue is gone), declared again by the worker", false, broker::delete_queue;
    "database-crash", "PostgreSQL stopped at once (`stop -m immediate`) and started again", false, database::crash;
    "database-freeze", "all processes of PostgreSQL stopped (SIGSTOP) for 53 s, in tests 5 s", false, database::freeze;
    "backends-ended", "every connection ended by `pg_terminate_backend`, five times in a row", false, database::terminate;
    "lock-held", "exclusive lock on a core table held for 20 s, in tests 7 s; nobody waits longer than 5 s", false, database::lock;
    "disk-full", "no space left for PostgreSQL where staging lies", false, database::full;
    "broker-cut", "TCP to the broker cut until `/readyz` says so", false, network::broker_cut;
    "database-cut", "TCP to the database cut until `/readyz` says so", false, network::database_cut;
    "broker-latency", "answers of the broker 200 ms late for a minute, in tests 6 s", false, network::broker_latency;
    "database-latency", "answers of the database 200 ms late for a minute, in tests 6 s", false, network::database_latency;
    "poison", "message that crashes every worker that decodes it", false, messages::poison;
    "four-workers", "four workers, messages shuffled, 30 % of them copies", false, messages::four_workers;
    "clock-skew", "publishers whose clocks are days behind or ahead", false, messages::clock_skew;
    "migration-race", "four processes migrate an empty database at once", false, messages::migration_race;
    "hostile", "100,000 hostile messages, in tests 5,000, among good ones", false, messages::hostile;
    "hostile-deliveries", "2,000 deliveries, in tests 100, with properties that no library reads and bodies up to 120 MB, in tests 1 MB, among good ones", false, deliveries::deliveries;
    "cluster-node-kill", "cluster of three: the node of the queue's leader killed and brought back", true, cluster::node_kill;
];

/// All scenarios.
#[must_use]
pub fn all() -> &'static [Scenario] {
    ALL
}

/// The scenario of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Sets up a run, plays a part in it, and ends it with the comparison, whatever the part came
/// to: a fault that was not survived in time may have lost nothing all the same.
async fn run_scenario(
    run_options: &RunOptions,
    setup: &Setup,
    part: impl AsyncFnOnce(&mut ScenarioRun) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    conclude(ScenarioRun::begin(run_options, setup).await?, part).await
}

async fn conclude(
    mut run: ScenarioRun,
    part: impl AsyncFnOnce(&mut ScenarioRun) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    match part(&mut run).await {
        Ok(()) => run.finish().await,
        Err(error) => Ok(run.failed(&error)),
    }
}
