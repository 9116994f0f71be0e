//! The scenarios.

mod processes;

use std::pin::Pin;

use crate::report::Outcome;
use crate::trial::{Game, Setup, Trial};

/// A scenario at play.
type Play = Pin<Box<dyn Future<Output = anyhow::Result<Outcome>> + Send>>;

/// A fault, and how it is played.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens.
    pub fault: &'static str,
    /// Whether it is left out of the default tests.
    pub slow: bool,
    /// Plays it.
    pub play: fn(Game) -> Play,
}

macro_rules! scenarios {
    ($($name:literal, $fault:literal, $slow:literal, $play:path;)*) => {
        &[$(Scenario {
            name: $name,
            fault: $fault,
            slow: $slow,
            play: |game| Box::pin($play(game)),
        }),*]
    };
}

static ALL: &[Scenario] = scenarios![
    "worker-kill", "worker killed (SIGKILL) at random moments", false, processes::kill;
    "worker-stop", "worker stopped (SIGSTOP) for a while, then continued", false, processes::stop;
    "crash-after-commit", "worker crashes between commit and acknowledgement", false, processes::after_commit;
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

/// Sets up a trial, plays a part in it, and ends it with the comparison, whatever the part came
/// to: a fault that was not survived in time may have lost nothing all the same.
async fn trial(
    game: &Game,
    setup: &Setup,
    part: impl AsyncFnOnce(&mut Trial) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    conclude(Trial::begin(game, setup).await?, part).await
}

async fn conclude(
    mut trial: Trial,
    part: impl AsyncFnOnce(&mut Trial) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    match part(&mut trial).await {
        Ok(()) => trial.finish().await,
        Err(error) => Ok(trial.failed(&error)),
    }
}
