//! One scenario at work: servers, workers, load, watch; faults and recoveries.

use std::time::{Duration, Instant};

use acequia_testkit::Proxy;

use crate::fleet::{Fleet, Orders};
use crate::load::{Flow, Load};
use crate::observe::Observer;
use crate::oracle::Sent;
use crate::report::Outcome;
use crate::setup::{Game, Setup};
use crate::stage::Stage;
use crate::watch::Watch;

/// Rules on data warn of what the load is, random values in random order, told again with others.
/// A worker runs them when it starts, so they would look like signs of its death.
pub const PLATFORM_RULES_ONLY: &str =
    "update core.dq_rules set enabled = false where severity = 'warn' and schema_name <> 'core'";

/// A scenario at work.
#[derive(Debug)]
pub struct Trial {
    /// Servers.
    pub stage: Stage,
    /// Workers.
    pub fleet: Fleet,
    /// Publisher.
    pub load: Load,
    /// Ways to the servers.
    pub broker_proxy: Option<Proxy>,
    /// See `broker_proxy`.
    pub database_proxy: Option<Proxy>,
    pub(crate) game: Game,
    pub(crate) watch: Watch,
    pub(crate) observer: Option<Observer>,
    pub(crate) begun: Instant,
    /// Since when nothing but "ready" may be answered.
    pub(crate) calm_since: Option<Instant>,
    pub(crate) struck: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) told: Vec<String>,
    pub(crate) extra: Vec<Sent>,
}

impl Trial {
    /// Sets everything up and waits until messages flow.
    ///
    /// # Errors
    /// When that fails.
    pub async fn begin(game: &Game, setup: &Setup) -> anyhow::Result<Self> {
        let own_servers = setup.own_servers || game.observe;
        Self::on(Stage::set(own_servers).await?, game, setup).await
    }

    /// On a stage that is set already.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn on(stage: Stage, game: &Game, setup: &Setup) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let (mut broker, mut database) = (stage.broker.url.clone(), stage.database.worker.clone());
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
            folder: stage.folder.clone(),
        };
        let fleet = Fleet::start(setup.workers, &orders, setup.failpoint.as_deref())?;
        if game.observe {
            stage.execute(PLATFORM_RULES_ONLY).await?;
        }
        let members = fleet.members.iter();
        let addresses: Vec<String> = members.map(|member| member.http.clone()).collect();
        let mut flow = Flow::new(game.seed, setup.rate);
        flow.copies = setup.copies.unwrap_or(flow.copies);
        let observer = async |flows| match game.observe {
            true => anyhow::Ok(Some(Observer::over(&stage, &addresses, flows).await?)),
            false => Ok(None),
        };
        // What the load alone looks like is seen before the fault, unless the load brings it.
        let (load, observer) = if setup.begin_ready && setup.copies.is_none() {
            let load = Load::start(&stage.broker.url, flow).await?;
            (load, observer(true).await?)
        } else {
            let observer = observer(false).await?;
            (Load::start(&stage.broker.url, flow).await?, observer)
        };
        let watch = Watch::over(addresses);
        let mut trial = Self {
            stage,
            fleet,
            load,
            broker_proxy,
            database_proxy,
            game: game.clone(),
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
            trial.back(Instant::now(), Duration::from_secs(90)).await?;
        }
        Ok(trial)
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

    /// What people see of the fault who do not look at Prometheus.
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
        Ok(self.stage.number(DUPLICATES).await? - on_purpose)
    }

    /// How often the workers' logs have a text.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn logged(&self, text: &str) -> anyhow::Result<usize> {
        let mut found = 0;
        for entry in std::fs::read_dir(&self.stage.folder)? {
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
