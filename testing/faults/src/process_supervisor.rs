//! Worker processes that are started again whenever they end, as a service manager does.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acequia_testkit::free_port;
use anyhow::Context;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::environment::{signal, worker_program};

/// Pause before a worker that has ended is started again.
const RESTART_AFTER: Duration = Duration::from_millis(100);

/// Addresses, options and log folder of the workers.
#[derive(Debug, Clone)]
pub struct Orders {
    /// PostgreSQL.
    pub database: String,
    /// RabbitMQ.
    pub broker: String,
    /// Options of `worker run`.
    pub options: Vec<String>,
    /// Folder of their logs.
    pub folder: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<u32>,
    exits: Vec<ExitStatus>,
    failpoint: Option<String>,
    stopping: bool,
    held: bool,
}

/// One place for a worker process.
#[derive(Debug)]
pub struct Member {
    /// Its address, the same after each start.
    pub http: String,
    state: Arc<Mutex<State>>,
    task: Option<JoinHandle<()>>,
}

/// The worker processes of a scenario; starts each again when it ends.
#[derive(Debug)]
pub struct ProcessSupervisor {
    /// The workers.
    pub members: Vec<Member>,
}

impl ProcessSupervisor {
    /// Starts a number of workers.
    ///
    /// # Errors
    /// When there is no program or no port.
    pub fn start(count: usize, orders: &Orders, failpoint: Option<&str>) -> anyhow::Result<Self> {
        let members = (0..count)
            .map(|number| Member::start(number, orders.clone(), failpoint.map(ToOwned::to_owned)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { members })
    }

    /// How each process ended so far.
    #[must_use]
    pub fn exits(&self) -> Vec<ExitStatus> {
        self.members
            .iter()
            .flat_map(|member| member.state().exits.clone())
            .collect()
    }

    /// Number of processes ended by a signal so far.
    #[must_use]
    pub fn ended_by(&self, signal: i32) -> usize {
        let exits = self.exits();
        exits
            .iter()
            .filter(|exit| exit.signal() == Some(signal))
            .count()
    }

    /// Sends SIGTERM to all and waits for their end.
    ///
    /// # Errors
    /// When one does not end, or ends with an error.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.stop().await?;
        }
        Ok(())
    }
}

impl Member {
    fn start(number: usize, orders: Orders, failpoint: Option<String>) -> anyhow::Result<Self> {
        let program = worker_program()?;
        let http = format!("127.0.0.1:{}", free_port()?);
        let state = Arc::new(Mutex::new(State {
            failpoint,
            ..State::default()
        }));
        let shared = state.clone();
        let address = http.clone();
        let task = tokio::spawn(async move {
            loop {
                let mut command = Command::new(program);
                let log = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(orders.folder.join(format!("worker-{number}.log")));
                command
                    .arg("run")
                    .args(&orders.options)
                    .env_clear()
                    .env("DATABASE_URL", &orders.database)
                    .env("AMQP_URL", &orders.broker)
                    .env("HTTP_ADDR", &address)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
                    .kill_on_drop(true);
                if let Some(failpoint) = &lock(&shared).failpoint {
                    command.env("ACEQUIA_FAILPOINT", failpoint);
                }
                if lock(&shared).stopping {
                    return;
                }
                if let Ok(mut child) = command.spawn() {
                    lock(&shared).pid = child.id();
                    let ended = child.wait().await;
                    let mut state = lock(&shared);
                    state.pid = None;
                    state.exits.extend(ended);
                    if state.stopping {
                        return;
                    }
                }
                tokio::time::sleep(RESTART_AFTER).await;
                while lock(&shared).held {
                    tokio::time::sleep(RESTART_AFTER).await;
                }
            }
        });
        Ok(Self {
            http,
            state,
            task: Some(task),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Its process id, while it runs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.state().pid.context("the worker does not run")
    }

    /// Sets the fail point for the next starts of the process; `None` removes it.
    pub fn failpoint(&self, failpoint: Option<&str>) {
        self.state().failpoint = failpoint.map(ToOwned::to_owned);
    }

    /// `true`: the process is not started again when it ends. `false`: it is.
    pub fn hold(&self, held: bool) {
        self.state().held = held;
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(name, self.pid()?)
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        let pid = {
            let mut state = self.state();
            state.stopping = true;
            state.pid
        };
        if let Some(pid) = pid {
            signal("TERM", pid)?;
        }
        let Some(task) = self.task.take() else {
            return Ok(());
        };
        tokio::time::timeout(Duration::from_secs(60), task)
            .await
            .context("a worker that was told to stop went on")??;
        let last = self.state().exits.last().copied();
        if pid.is_some() && !last.is_some_and(|exit| exit.success()) {
            anyhow::bail!("a worker that was told to stop ended with {last:?}");
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
