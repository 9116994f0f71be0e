//! The API: a page of a mart beside a handler that does nothing, a message beside a bare publish, and what many streams and
//! idle connections cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use acequia_contracts::Domain;
use acequia_net::topology::connect;
use acequia_publisher::EXCHANGE;
use acequia_testkit::{free_port, wait_for};
use anyhow::{Context, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use tokio::process::Command;

use crate::environment::{BenchEnv, LedgerTotals, TestEnv};
use crate::http::{self, Connection, Load};
use crate::process::{Process, done, program};
use crate::sample::Sample;
use crate::{cpu, load};

/// Callers side by side.
const CALLERS: usize = 64;
/// Event streams.
const STREAMS: usize = 1_000;
/// Connections that nothing is asked on.
const IDLE: usize = 10_000;
/// Callers of large pages side by side: the connections that a login of the API has.
const READERS: usize = 8;
/// Messages behind the large pages: every tenth is a student, a row of the mart.
const MANY: usize = 110_000;
/// Media types of large pages.
const MEDIA: [(&str, &str); 3] = [
    ("JSON", "application/json"),
    ("CSV", "text/csv"),
    ("Parquet", "application/vnd.apache.parquet"),
];
/// A message.
const MESSAGE: &str = r#"{"id_alumno": 1, "nombre": "Ana", "edad": 20, "genero": "F"}"#;

/// An API on the environment of a scenario.
pub struct Api {
    /// Where it listens.
    pub address: String,
    /// A token of role admin.
    pub token: String,
    process: Process,
}

impl Api {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(environment: &TestEnv<'_>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let variables = BTreeMap::from([
            ("API_HTTP_ADDR", address.clone()),
            ("API_DATABASE_URL", environment.database.api.clone()),
            (
                "OPERATOR_DATABASE_URL",
                environment.database.operator.clone(),
            ),
            ("API_RATE", "100000".to_owned()),
            ("API_CONNECTIONS", (IDLE + CALLERS + STREAMS).to_string()),
        ]);
        let mut token = Command::new(program("api")?);
        token
            .args([
                "token",
                "create",
                "--name",
                &format!("bench-{port}"),
                "--role",
                "admin",
            ])
            .envs(&variables);
        let token = String::from_utf8(done(token, "api token create").await?.stdout)?;
        let token = token
            .split_whitespace()
            .find(|word| word.starts_with("acq_"))
            .context("a token")?
            .to_owned();
        let mut serve = Command::new(program("api")?);
        serve.arg("serve").envs(&variables);
        let mut process = Process::start(serve, environment, "api")?;
        let ready = http::call("GET", "/readyz", &token, "");
        wait_for("a ready API", async || {
            process.check()?;
            let Ok(mut connection) = Connection::open(&address).await else {
                return Ok(false);
            };
            Ok(connection.call(&ready).await?.0 == 200)
        })
        .await?;
        Ok(Self {
            address,
            token,
            process,
        })
    }

    /// Makes a call once.
    ///
    /// # Errors
    /// When it is not answered by 2xx.
    pub async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut connection = Connection::open(&self.address).await?;
        let call = http::call("GET", path, &self.token, "");
        let (status, body) = connection.call(&call).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!((200..300).contains(&status), "{path}: {status} {text}");
        Ok(body)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

pub(super) async fn play(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let environment = bench.environment().await?;
    fill(&environment, load::domain()?, load::LEAST).await?;
    let api = Api::start(&environment).await?;
    let lasts = Duration::from_secs(bench.size.seconds);
    let page = "/v1/marts/kpi_alumno?limit=100";
    let body = api.get(page).await?;
    let mut samples = Vec::new();

    let call = http::call("GET", page, &api.token, "");
    let measured = measure(bench, api.process.pid, || {
        http::load(&api.address, CALLERS, lasts, &call)
    });
    samples.push(measured.await?.named("mart page of 100 rows"));
    let bare = Bare::start(&environment, &body).await?;
    let measured = measure(bench, bare.process.pid, || {
        http::load(&bare.address, CALLERS, lasts, &call)
    });
    samples.push(measured.await?.named("bare axum handler, same bytes"));
    bare.process.stop().await?;

    let path = "/v1/messages/academico/alumno";
    let call = http::call("POST", path, &api.token, MESSAGE);
    let measured = measure(bench, api.process.pid, || {
        http::load(&api.address, CALLERS, lasts, &call)
    });
    samples.push(measured.await?.named("POST of one message"));
    let own = std::process::id();
    let measured = measure(bench, own, || publish(&environment, lasts));
    samples.push(measured.await?.named("bare publish, same side by side"));

    let (before, _) = cpu::memory(api.process.pid)?;
    let call = http::call("GET", "/v1/events", &api.token, "");
    let streams = open(&api, STREAMS, Some(&call)).await?;
    let (with, _) = cpu::memory(api.process.pid)?;
    samples.push(
        Sample::new(format!("{STREAMS} event streams"))
            .with("api_mb", with)
            .with("before_mb", before),
    );
    drop(streams);
    let idle = open(&api, IDLE, None).await?;
    let begun = Instant::now();
    api.get("/v1/freshness").await?;
    let took = begun.elapsed();
    let (with, _) = cpu::memory(api.process.pid)?;
    samples.push(
        Sample::new(format!("{IDLE} idle connections"))
            .with("api_mb", with)
            .with("before_mb", before)
            .with("call_p50_ms", took.as_secs_f64() * 1e3),
    );
    drop(idle);
    api.stop().await?;
    environment.clear().await?;
    samples.extend(large_pages(bench).await?);
    Ok(samples)
}

/// Pages of 10,000 rows by media type, and the memory that an API takes for them.
async fn large_pages(bench: &BenchEnv<'_>) -> anyhow::Result<Vec<Sample>> {
    let environment = bench.environment().await?;
    fill(&environment, load::domain()?, MANY).await?;
    let lasts = Duration::from_secs(bench.size.seconds);
    let mut samples = Vec::new();
    for (name, media) in MEDIA {
        let api = Api::start(&environment).await?;
        let pid = api.process.pid;
        let path = "/v1/marts/kpi_alumno?limit=10000";
        let call = http::call_for(media, "GET", path, &api.token, "");
        let (before, _) = cpu::memory(pid)?;
        cpu::forget_peak(pid)?;
        let measured = measure(bench, pid, || {
            http::load(&api.address, READERS, lasts, &call)
        });
        let case = format!("page of 10,000 rows as {name}, {READERS} callers");
        let sample = measured.await?.named(&case).with("before_mb", before);
        samples.push(sample.with("api_mb", cpu::memory(pid)?.1));
        api.stop().await?;
    }
    environment.clear().await?;
    Ok(samples)
}

/// Messages, merged by a worker that ends then: marts have rows.
async fn fill(environment: &TestEnv<'_>, domain: &Domain, count: usize) -> anyhow::Result<()> {
    let messages = load::messages(count, environment.bench.size.seed, &[])?;
    let count = i64::try_from(messages.len())?;
    environment.fill(Arc::new(messages)).await?;
    let mut worker = Process::worker::<&str>(environment, &[])?;
    let mut owner = environment.owner().await?;
    wait_for("merged messages", async || {
        worker.check()?;
        let totals = LedgerTotals::read(&mut owner, domain).await?;
        Ok(totals.received == count && totals.staged == 0)
    })
    .await?;
    worker.stop().await
}

/// A load with what the process under test used.
struct Measured {
    load: Load,
    cpu: f64,
}

impl Measured {
    fn named(self, case: &str) -> Sample {
        let calls = self.load.took.len() as f64;
        Sample::new(case)
            .with("calls_s", calls / self.load.elapsed.as_secs_f64())
            .with("call_p50_ms", self.load.quantile(0.5))
            .with("call_p99_ms", self.load.quantile(0.99))
            .with("api_us", self.cpu * 1e6 / calls)
    }
}

async fn measure<F: Future<Output = anyhow::Result<Load>>>(
    bench: &BenchEnv<'_>,
    pid: u32,
    work: impl FnOnce() -> F,
) -> anyhow::Result<Measured> {
    let before = cpu::read(bench.services, &[pid])?;
    let load = work().await?;
    let used = cpu::read(bench.services, &[pid])? - before;
    Ok(Measured {
        load,
        cpu: used.workers,
    })
}

/// A process that answers every call with the same bytes.
struct Bare {
    address: String,
    process: Process,
}

impl Bare {
    async fn start(environment: &TestEnv<'_>, body: &[u8]) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let file = environment.bench.folder.join("answer.json");
        std::fs::write(&file, body)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(&address).arg(&file);
        let mut process = Process::start(command, environment, "bare")?;
        wait_for("the bare handler", async || {
            process.check()?;
            Ok(Connection::open(&address).await.is_ok())
        })
        .await?;
        Ok(Self { address, process })
    }
}

/// Publishes the same message, each of the callers as soon as its last one was confirmed.
async fn publish(environment: &TestEnv<'_>, lasts: Duration) -> anyhow::Result<Load> {
    let connection = connect(&environment.amqp()?, "bench").await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into());
    let load = http::side_by_side(CALLERS, lasts, async |stop| {
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let confirm = channel
                .basic_publish(
                    EXCHANGE.into(),
                    "academico.alumno".into(),
                    options,
                    MESSAGE.as_bytes(),
                    properties.clone(),
                )
                .await?
                .await?;
            ensure!(confirm.is_ack(), "a message was not taken");
            took.push(begun.elapsed());
        }
        Ok(took)
    })
    .await?;
    connection.close(200, "done".into()).await?;
    Ok(load)
}

/// Opens many connections; on each a call is begun, when there is one.
async fn open(
    api: &Api,
    count: usize,
    call: Option<&Arc<[u8]>>,
) -> anyhow::Result<Vec<Connection>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = Connection::open(&api.address).await?;
        if let Some(call) = call {
            let (status, _) = connection.begin(call).await?;
            ensure!(status == 200, "status {status}");
        }
        all.push(connection);
    }
    let there = format!(
        "acequia_api_{} ",
        if call.is_some() {
            "event_listeners"
        } else {
            "connections"
        }
    );
    wait_for("the connections", async || {
        let page = String::from_utf8(api.get("/metrics").await?)?;
        let value = page.lines().find_map(|line| line.strip_prefix(&there));
        let value: usize = value.context("the gauge")?.parse()?;
        Ok(value >= count)
    })
    .await?;
    Ok(all)
}
