//! One run of a scenario: servers, workers, load, watch; faults and recoveries.

use std::time::{Duration, Instant};

use acequia_testkit::Proxy;

use crate::environment::TestEnv;
use crate::load::{Flow, Load};
use crate::observe::Observer;
use crate::oracle::Sent;
use crate::process_supervisor::{Orders, ProcessSupervisor};
use crate::report::Outcome;
use crate::setup::{RunOptions, Setup};
use crate::watch::Watch;

/// Rules on data would warn of the load itself: random values in random order, repeated with other values.
/// A worker runs them when it starts, so they would look like signs of its death.
pub const PLATFORM_RULES_ONLY: &str =
    "update core.dq_rules set enabled = false where severity = 'warn' and schema_name <> 'core'";

/// A run of a scenario.
#[derive(Debug)]
pub struct ScenarioRun {
    /// Servers.
    pub environment: TestEnv,
    /// Workers.
    pub supervisor: ProcessSupervisor,
    /// Publisher.
    pub load: Load,
    /// Ways to the servers.
    pub broker_proxy: Option<Proxy>,
    /// See `broker_proxy`.
    pub database_proxy: Option<Proxy>,
    pub(crate) run_options: RunOptions,
    pub(crate) watch: Watch,
    pub(crate) observer: Option<Observer>,
    pub(crate) begun: Instant,
    /// Time since which nothing but "ready" may be answered.
    pub(crate) calm_since: Option<Instant>,
    pub(crate) struck: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) told: Vec<String>,
    pub(crate) extra: Vec<Sent>,
}

impl ScenarioRun {
    /// Sets everything up and waits until messages flow.
    ///
    /// # Errors
    /// When that fails.
    pub async fn begin(run_options: &RunOptions, setup: &Setup) -> anyhow::Result<Self> {
        let own_servers = setup.own_servers || run_options.observe;
        Self::on(TestEnv::set(own_servers).await?, run_options, setup).await
    }

    /// In a test environment that is set already.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn on(
        environment: TestEnv,
        run_options: &RunOptions,
        setup: &Setup,
    ) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let (mut broker, mut database) = (
            environment.broker.url.clone(),
            environment.database.worker.clone(),
        );
        let (mut broker_proxy, mut database_proxy) = (None, None);
        if setup.broker_proxy {
            let proxy = Proxy::to(&broker).await?;
            broker = proxy.url(&broker)?;
            broker_proxy = Some(proxy);
        }
        if setup.database_proxy {
            let proxy = Proxy::to(&database).await?;
            database = proxy.url(&database)?;
            database_proxy = Some(proxy);
        }
        let stall_after = format!("{}s", setup.stall_after);
        let options = ["--stall-after", &stall_after, "--refresh-every", "2s"];
        let options = options.iter().chain(&setup.options);
        let orders = Orders {
            database,
            broker,
            options: options.map(|option| (*option).to_owned()).collect(),
            folder: environment.folder.clone(),
        };
        let supervisor =
            ProcessSupervisor::start(setup.workers, &orders, setup.failpoint.as_deref())?;
        if run_options.observe {
            environment.execute(PLATFORM_RULES_ONLY).await?;
        }
        let members = supervisor.members.iter();
        let addresses: Vec<String> = members.map(|member| member.http.clone()).collect();
        let mut flow = Flow::new(run_options.seed, setup.rate);
        flow.copies = setup.copies.unwrap_or(flow.copies);
        let observer = async |flows| match run_options.observe {
            true => anyhow::Ok(Some(Observer::over(&environment, &addresses, flows).await?)),
            false => Ok(None),
        };
        // The load alone is observed before the fault, unless the load itself is the fault.
        let (load, observer) = if setup.begin_ready && setup.copies.is_none() {
            let load = Load::start(&environment.broker.url, flow).await?;
            (load, observer(true).await?)
        } else {
            let observer = observer(false).await?;
            (Load::start(&environment.broker.url, flow).await?, observer)
        };
        let watch = Watch::over(addresses);
        let mut run = Self {
            environment,
            supervisor,
            load,
            broker_proxy,
            database_proxy,
            run_options: run_options.clone(),
            watch,
            observer,
            begun,
            calm_since: None,
            struck: Instant::now(),
            outcome: Outcome::default(),
            told: Vec::new(),
            extra: Vec::new(),
        };
        if setup.begin_ready {
            run.back(Instant::now(), Duration::from_secs(90)).await?;
        }
        Ok(run)
    }

    /// Writes down what shows that the fault happened; `false` is a failure.
    pub fn proof(&mut self, happened: bool, words: impl Into<String>) {
        let words = words.into();
        if happened {
            self.outcome.evidence.push(words);
        } else {
            self.outcome
                .failures
                .push(format!("the fault did not happen: {words}"));
        }
    }

    /// Writes down a demand; `false` is a failure.
    pub fn demand(&mut self, holds: bool, words: impl Into<String>) {
        if !holds {
            self.outcome.failures.push(words.into());
        }
    }

    /// Messages that were sent by another way than the load.
    pub fn also_sent(&mut self, sent: impl IntoIterator<Item = Sent>) {
        self.extra.extend(sent);
    }

    /// The fault begins now. Until here the workers must have said that they are ready.
    pub fn strike(&mut self) {
        self.stays_calm();
        self.struck = Instant::now();
        if let Some(observer) = &self.observer {
            observer.strike();
        }
        self.outcome.injections += 1;
    }

    /// Records a sign of the fault outside Prometheus.
    pub fn sees(&mut self, words: impl Into<String>) {
        self.told.push(words.into());
    }

    /// The fault happened so often.
    pub fn injected(&mut self, times: usize) {
        self.outcome.injections = times as u64;
    }

    /// Copies recognised so far beyond those sent on purpose, that is, deliveries of the broker; a
    /// lower bound.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn redelivered(&self) -> anyhow::Result<i64> {
        const DUPLICATES: &str =
            "select coalesce(sum(duplicates), 0)::bigint from core.conservation";
        let on_purpose = i64::try_from(self.load.copies())?;
        Ok(self.environment.number(DUPLICATES).await? - on_purpose)
    }

    /// Number of times that the workers' logs have a text.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn logged(&self, text: &str) -> anyhow::Result<usize> {
        let mut found = 0;
        for entry in std::fs::read_dir(&self.environment.folder)? {
            let path = entry?.path();
            if path.is_dir() {
                continue; // Prometheus' own
            }
            let log = std::fs::read(path)?;
            found += String::from_utf8_lossy(&log).matches(text).count();
        }
        Ok(found)
    }
}
