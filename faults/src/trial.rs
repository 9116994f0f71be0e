//! One scenario at work: servers, workers, load, watch; faults and recoveries.

use std::time::{Duration, Instant};

use acequia_testkit::Proxy;
use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::sleep;

use crate::fleet::{Fleet, Orders};
use crate::kinds::DOMAIN;
use crate::load::{Flow, Load};
use crate::oracle::{Sent, compare};
use crate::report::Outcome;
use crate::stage::Stage;
use crate::watch::Watch;

/// How a scenario is played.
#[derive(Debug, Clone)]
pub struct Game {
    /// The published size, not the small one of the default tests.
    pub long: bool,
    /// Seed of messages and of what is left to chance.
    pub seed: u64,
}

impl Game {
    /// One number for the long run, another for the tests.
    #[must_use]
    pub fn pick<T>(&self, long: T, quick: T) -> T {
        if self.long { long } else { quick }
    }

    /// How long the way back may take: what is promised, or in tests on a busy machine twice
    /// that.
    #[must_use]
    pub fn recover_within(&self) -> Duration {
        Duration::from_secs(self.pick(30, 60))
    }
}

/// What a scenario needs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Servers that nobody else uses.
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
    game: Game,
    watch: Watch,
    begun: Instant,
    /// Since when nothing but "ready" may be answered.
    calm_since: Option<Instant>,
    struck: Instant,
    outcome: Outcome,
    extra: Vec<Sent>,
}

impl Trial {
    /// Sets everything up and waits until messages flow.
    ///
    /// # Errors
    /// When that fails.
    pub async fn begin(game: &Game, setup: &Setup) -> anyhow::Result<Self> {
        Self::on(Stage::set(setup.own_servers).await?, game, setup).await
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
        let watch = Watch::over(
            fleet
                .members
                .iter()
                .map(|member| member.http.clone())
                .collect(),
        );
        let mut flow = Flow::new(game.seed, setup.rate);
        flow.copies = setup.copies.unwrap_or(flow.copies);
        let load = Load::start(&stage.broker.url, flow).await?;
        let mut trial = Self {
            stage,
            fleet,
            load,
            broker_proxy,
            database_proxy,
            game: game.clone(),
            watch,
            begun,
            calm_since: None,
            struck: Instant::now(),
            outcome: Outcome::default(),
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
        self.outcome.injections += 1;
    }

    /// The fault happened so often.
    pub fn injected(&mut self, times: usize) {
        self.outcome.injections = times as u64;
    }

    /// Copies recognised so far beyond those sent on purpose: deliveries of the broker. At least
    /// so many.
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
            let log = std::fs::read(entry?.path())?;
            found += String::from_utf8_lossy(&log).matches(text).count();
        }
        Ok(found)
    }

    /// Since the last recovery nothing but "ready" may have been said.
    fn stays_calm(&mut self) {
        let Some(since) = self.calm_since.take() else {
            return;
        };
        let bad = self.watch.since(since).into_iter();
        if let Some(sample) = bad.into_iter().find(|sample| sample.status != 200) {
            self.outcome.failures.push(format!(
                "not ready although nothing was wrong: {} {:?}",
                sample.status, sample.reasons
            ));
        }
    }

    /// Waits until a worker says that a loop does not get on; returns the reason.
    ///
    /// # Errors
    /// When none says so in time.
    pub async fn tells(&mut self, names: &[&str]) -> anyhow::Result<String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            for sample in self.watch.since(self.struck) {
                let named = sample
                    .reasons
                    .iter()
                    .find(|(name, reason)| names.contains(&name.as_str()) && !reason.is_empty());
                if let (503, Some((name, reason))) = (sample.status, named) {
                    let words = format!("/readyz: 503, {name}: {reason}");
                    self.outcome.told(&words);
                    return Ok(reason.clone());
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("/readyz did not name {names:?} within a minute of the fault")
    }

    /// Waits until a worker gives no answer, as one that is stopped.
    ///
    /// # Errors
    /// When all go on to answer.
    pub async fn falls_silent(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let samples = self.watch.since(self.struck);
            if samples.iter().any(|sample| sample.status == 0) {
                self.outcome.told("/readyz: no answer");
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("the worker went on to answer")
    }

    /// Whether the workers have said "ready" all the time since the fault began.
    #[must_use]
    pub fn ready_all_along(&self) -> bool {
        let samples = self.watch.since(self.struck);
        samples.iter().all(|sample| sample.status == 200)
    }

    /// The fault is over now: waits until messages reach the core and workers are ready again,
    /// and takes the time.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn healed(&mut self) -> anyhow::Result<()> {
        let within = self.game.recover_within();
        let took = self.back(Instant::now(), within).await?;
        self.outcome.recovery.push(took.as_secs_f64());
        Ok(())
    }

    /// Waits until a new message has reached the core and every worker has been ready for a
    /// second; returns when that began.
    async fn back(&mut self, from: Instant, within: Duration) -> anyhow::Result<Duration> {
        let student = self.load.probe()?;
        let query = format!("select count(*) from academico.alumnos where id = {student}");
        let mut connection: Option<PgConnection> = None;
        let mut arrived = None;
        loop {
            if arrived.is_none() {
                let there = async {
                    if connection.is_none() {
                        connection = Some(self.stage.owner().await?);
                    }
                    let connection = connection.as_mut().context("a connection")?;
                    let count: i64 = sqlx::query_scalar(AssertSqlSafe(query.as_str()))
                        .fetch_one(connection)
                        .await?;
                    anyhow::Ok(count > 0)
                };
                match tokio::time::timeout(Duration::from_secs(5), there).await {
                    Ok(Ok(true)) => arrived = Some(Instant::now()),
                    Ok(Ok(false)) => {}
                    _ => connection = None,
                }
            }
            let since = self.watch.since(from);
            let last_bad = since.iter().filter(|sample| sample.status != 200);
            let last_bad = last_bad.map(|sample| sample.at).max();
            let ready = last_bad.unwrap_or(from);
            let all = self.watch.last(ready).is_some_and(|last| {
                last.iter()
                    .all(|sample| sample.status == 200 && sample.at > ready)
            });
            if let Some(arrived) = arrived
                && all
                && ready.elapsed() > Duration::from_secs(1)
            {
                let back = arrived.max(ready);
                self.calm_since = Some(back + Duration::from_millis(1));
                return Ok(back - from);
            }
            if from.elapsed() > within + Duration::from_secs(1) {
                let last = self.watch.last(from);
                bail!(
                    "not back within {} s: the new message {} the core, /readyz says {:?}",
                    within.as_secs(),
                    if arrived.is_some() {
                        "reached"
                    } else {
                        "did not reach"
                    },
                    last.map(|last| last
                        .into_iter()
                        .map(|sample| (sample.status, sample.reasons))
                        .collect::<Vec<_>>()),
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until at least so many more messages are staged than now: something is under way.
    ///
    /// # Errors
    /// When nothing flows.
    pub async fn flows(&self, messages: i64) -> anyhow::Result<()> {
        const RECEIVED: &str = "select coalesce(sum(received), 0)::bigint from core.conservation";
        let before = self.stage.number(RECEIVED).await?;
        let begun = Instant::now();
        while self.stage.number(RECEIVED).await? < before + messages {
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("no messages flow");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until everything that was sent is accounted for; does not complain, for the
    /// comparison will.
    async fn settle(&self, sent: &[Sent]) -> anyhow::Result<()> {
        let different: std::collections::HashSet<_> =
            sent.iter().map(|message| message.id).collect();
        let different = i64::try_from(different.len())?;
        let mut connection = self.stage.owner().await?;
        let begun = Instant::now();
        let mut before = (0, 0, 0);
        let mut changed = Instant::now();
        // It may take as long as it gets on.
        while changed.elapsed() < Duration::from_secs(60) && begun.elapsed().as_secs() < 600 {
            let now: (i64, i64, i64) = sqlx::query_as(
                "select coalesce(sum(received - duplicates), 0)::bigint, coalesce(sum(staged), 0)::bigint, \
                 (select count(*) from core.pending where ready) from core.conservation",
            )
            .fetch_one(&mut connection)
            .await?;
            if now == (different, 0, 0) {
                return Ok(());
            }
            if now != before {
                (before, changed) = (now, Instant::now());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Ends the load and waits until all is settled; returns what was sent.
    ///
    /// # Errors
    /// When the publisher or the database fails.
    pub async fn settle_all(&mut self) -> anyhow::Result<Vec<Sent>> {
        let (mut sent, copies, summary) = self.load.finish().await?;
        self.outcome.copies = copies;
        self.outcome.sent_again = summary.retried;
        sent.append(&mut self.extra);
        self.settle(&sent).await?;
        Ok(sent)
    }

    /// Ends the load, waits until all is settled, stops the workers, and compares.
    ///
    /// # Errors
    /// When one of these fails.
    pub async fn finish(mut self) -> anyhow::Result<Outcome> {
        let sent = self.settle_all().await?;
        self.stays_calm();
        self.fleet.stop().await?;
        let left = self.left_in_queues().await?;
        self.demand(left == 0, format!("{left} messages are left in the queues"));

        let findings = compare(&mut self.stage.owner().await?, &sent).await?;
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.take(findings);
        outcome.seconds = self.begun.elapsed().as_secs_f64();
        if !outcome.failures.is_empty() {
            std::fs::write(self.stage.folder.join("keep"), "")?;
            let folder = self.stage.folder.display();
            outcome.failures.push(format!("logs: {folder}"));
        }
        Ok(outcome)
    }

    /// Messages in the queues, once the broker knows that the workers are gone.
    async fn left_in_queues(&self) -> anyhow::Result<u64> {
        let mut left = 0;
        for queue in [format!("acequia.{DOMAIN}"), "acequia.dead".to_owned()] {
            left += queue_length(&self.stage.broker.url, &queue).await?;
        }
        Ok(left)
    }

    /// Keeps the logs and says where they are.
    #[must_use]
    pub fn failed(self, error: &anyhow::Error) -> Outcome {
        let _ = std::fs::write(self.stage.folder.join("keep"), "");
        let mut outcome = self.outcome;
        outcome.failures.push(format!("{error:#}"));
        outcome
            .failures
            .push(format!("logs: {}", self.stage.folder.display()));
        outcome.seconds = self.begun.elapsed().as_secs_f64();
        outcome
    }
}

/// Messages ready in a queue.
///
/// # Errors
/// When there is no such queue.
pub async fn queue_length(url: &str, queue: &str) -> anyhow::Result<u64> {
    use lapin::options::QueueDeclareOptions;
    let connection =
        lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(queue.into(), passive, lapin::types::FieldTable::default())
        .await?;
    let length = queue.message_count();
    connection.close(200, "done".into()).await?;
    Ok(length.into())
}
