//! Options of a run, and the setup that a scenario needs.

use std::time::Duration;

/// Options of a run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The published size, not the small one of the default tests.
    pub long: bool,
    /// Seed of messages and of random choices.
    pub seed: u64,
    /// Whether Prometheus observes the run, which then has servers of its own.
    pub observe: bool,
}

impl RunOptions {
    /// One number for the long run, another for the tests.
    #[must_use]
    pub fn pick<T>(&self, long: T, quick: T) -> T {
        if self.long { long } else { quick }
    }

    /// How long the recovery may take: the promised time, or in tests on a busy machine twice
    /// that.
    #[must_use]
    pub fn recover_within(&self) -> Duration {
        Duration::from_secs(self.pick(30, 60))
    }
}

/// Setup that a scenario needs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Servers of its own.
    pub own_servers: bool,
    /// Worker processes.
    pub workers: usize,
    /// `--stall-after` of the workers, in seconds.
    pub stall_after: u32,
    /// Further options of `worker run`.
    pub options: Vec<&'static str>,
    /// Fail point that workers are started with.
    pub failpoint: Option<String>,
    /// Messages per second.
    pub rate: f64,
    /// Copies in a thousand messages.
    pub copies: Option<u32>,
    /// Whether workers reach the broker by a proxy.
    pub broker_proxy: bool,
    /// Whether workers reach the database by a proxy.
    pub database_proxy: bool,
    /// Whether workers must be ready before it goes on.
    pub begin_ready: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            own_servers: false,
            workers: 1,
            stall_after: 3,
            options: Vec::new(),
            failpoint: None,
            rate: 200.0,
            copies: None,
            broker_proxy: false,
            database_proxy: false,
            begin_ready: true,
        }
    }
}
