//! Breaks processes, servers and connections while messages flow, mends them, and then counts to
//! the message what arrived: nothing lost, nothing twice.
//!
//! Every scenario has servers of its own or a database and a virtual host of its own on servers
//! that the scenarios share, worker processes, and a publisher whose messages are known one by
//! one. [`oracle`] computes the expected result from the list of the messages alone.

pub mod cluster;
pub mod compare;
pub mod environment;
pub mod kinds;
pub mod load;
pub mod observe;
pub mod oracle;
pub mod process_supervisor;
mod recovery;
pub mod report;
pub mod scenario_run;
pub mod scenarios;
pub mod settle;
pub mod setup;
mod source;
pub mod watch;

use std::time::Duration;

pub use report::{Outcome, markdown};
pub use scenarios::{Scenario, all, find};
pub use setup::RunOptions;

/// Longest time for one scenario.
const WITHIN: Duration = Duration::from_secs(900);

/// Plays a scenario. What goes wrong is in the outcome.
pub async fn play(scenario: &Scenario, run_options: &RunOptions) -> Outcome {
    let begun = std::time::Instant::now();
    let played = tokio::time::timeout(WITHIN, (scenario.play)(run_options.clone())).await;
    let mut outcome = match played {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => failure(format!("{error:#}")),
        Err(_) => failure(format!("not done after {} s", WITHIN.as_secs())),
    };
    scenario.name.clone_into(&mut outcome.name);
    scenario.fault.clone_into(&mut outcome.fault);
    outcome.seed = run_options.seed;
    outcome.long = run_options.long;
    if outcome.seconds == 0.0 {
        outcome.seconds = begun.elapsed().as_secs_f64();
    }
    if outcome.skipped.is_none() && outcome.failures.is_empty() && outcome.evidence.is_empty() {
        outcome
            .failures
            .push("nothing shows that the fault happened".to_owned());
    }
    outcome
}

fn failure(words: String) -> Outcome {
    Outcome {
        failures: vec![words],
        ..Outcome::default()
    }
}
