//! A platform for one test: database, virtual host, worker, API, and tokens of every role.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use acequia_api::auth::Role;
use acequia_api::auth::secret::Secret;
use acequia_api::config::ServeArgs;
use acequia_api::data::tokens::{self, New};
use acequia_api::run::{self, Servers};
use acequia_net::SecretUrl;
use acequia_ops::archives::Depot;
use acequia_testkit::{Services, TestDatabase, TestEnv, free_port, wait_for};
use acequia_worker::config::LoopArgs;
use clap::Parser;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Environment of a test.
pub struct Platform {
    env: TestEnv,
    pub api: String,
    /// Object store of archives, gone with the test.
    pub store: PathBuf,
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.store);
    }
}

impl Deref for Platform {
    type Target = TestEnv;

    fn deref(&self) -> &TestEnv {
        &self.env
    }
}

/// A process inside the test process, which ends with [`Running::stop`].
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Stops it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body as far as it is text.
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Asserts a status and returns the body.
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Asserts a problem and returns it.
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.is(status);
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["instance"], self.header("x-request-id"));
        problem
    }
}

#[derive(Parser)]
struct Loops {
    #[command(flatten)]
    loops: LoopArgs,
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    settings: ServeArgs,
}

/// A URL of a server.
pub fn url(text: &str) -> SecretUrl {
    SecretUrl::parse(text, &["postgres", "postgresql", "amqp"]).unwrap()
}

impl Platform {
    /// A migrated database, an empty virtual host, and an API on both.
    pub async fn new() -> (Self, Running) {
        Self::with(&[]).await
    }

    /// The same with options of `api serve`.
    pub async fn with(options: &[&str]) -> (Self, Running) {
        let store = format!("acequia-store-{}", uuid::Uuid::now_v7().simple());
        let platform = Self {
            env: TestEnv::shared(migrate).await.unwrap(),
            api: format!("127.0.0.1:{}", free_port().unwrap()),
            store: std::env::temp_dir().join(store),
        };
        let running = platform.serve(options).await;
        (platform, running)
    }

    /// The servers as an API is given them.
    pub fn servers(&self) -> Servers {
        Servers {
            database: url(&self.database.api),
            operator: Some(url(&self.database.operator)),
            broker: Some(url(&self.broker.url)),
            archives: Some(Depot::open(&self.store_url(), url(&self.database.archive)).unwrap()),
        }
    }

    /// The object store of archives.
    pub fn store_url(&self) -> String {
        format!("file://{}", self.store.display())
    }

    /// Starts an API and waits until it is ready, the broker included.
    pub async fn serve(&self, options: &[&str]) -> Running {
        self.serve_on(self.servers(), options).await
    }

    /// The same on other ways to the servers.
    pub async fn serve_on(&self, servers: Servers, options: &[&str]) -> Running {
        let mut arguments = vec!["api", "--http-addr", &self.api];
        if !options.contains(&"--rate") {
            arguments.extend(["--rate", "10000"]);
        }
        arguments.extend(options);
        let settings = Serve::try_parse_from(arguments).unwrap().settings;
        let stop = CancellationToken::new();
        let task = tokio::spawn(run::run(servers, settings, stop.clone()));
        let running = Running { stop, task };
        wait_for("a ready API", async || {
            let answer = self.call("GET", "/readyz", &[], "").await;
            // A part that this API was not given is not waited for.
            let there = |part: &Value| {
                let why = part["why"].as_str().unwrap_or_default();
                part["ready"] == true || why.contains("is not set")
            };
            let ready = answer.status == 200
                && answer.json()["parts"].as_array().unwrap().iter().all(there);
            anyhow::ensure!(!running.task.is_finished(), "the API ended");
            Ok(ready)
        })
        .await
        .unwrap();
        running
    }

    /// Starts a worker with short pauses and waits until it is ready.
    pub async fn worker(&self) -> Running {
        let http = format!("127.0.0.1:{}", free_port().unwrap());
        let archive = &self.database.archive;
        let arguments = [
            "worker",
            "--http-addr",
            &http,
            "--archive-database-url",
            archive,
            "--refresh-every",
            "100ms",
            "--check-every",
            "1s",
        ];
        let settings = Loops::try_parse_from(arguments).unwrap().loops;
        let stop = CancellationToken::new();
        let task = tokio::spawn(acequia_worker::run::run(
            url(&self.database.worker),
            url(&self.broker.url),
            settings,
            stop.clone(),
        ));
        wait_for("a ready worker", async || {
            Ok(request(&http, "GET", "/readyz", &[], "").await.status == 200)
        })
        .await
        .unwrap();
        Running { stop, task }
    }

    /// A connection to the broker.
    pub async fn broker_connection(&self) -> lapin::Connection {
        acequia_net::topology::connect(&url(&self.broker.url), "test")
            .await
            .unwrap()
    }

    /// A new token.
    pub async fn token(&self, role: Role, domains: Option<&[&str]>) -> String {
        let secret = Secret::token();
        let domains: Option<Vec<String>> =
            domains.map(|names| names.iter().map(ToString::to_string).collect());
        let new = New {
            name: &format!("t{}", uuid::Uuid::now_v7().simple()),
            role,
            domains: domains.as_deref(),
            rate: None,
            days: 1,
            by: "test",
        };
        tokens::create(&mut self.connect().await, &new, &secret)
            .await
            .unwrap();
        secret.text
    }

    /// Calls the API.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        request(&self.api, method, path, headers, body).await
    }

    /// Reads by a token.
    pub async fn get(&self, token: &str, path: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.call("GET", path, &[("authorization", &bearer)], "")
            .await
    }

    /// Sends JSON by a token.
    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.call("POST", path, &headers, &body.to_string()).await
    }

    /// Sends JSON by a token, if a row is still in a state.
    pub async fn post_if(&self, token: &str, path: &str, tag: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("if-match", tag),
        ];
        self.call("POST", path, &headers, &body.to_string()).await
    }

    /// Sends lines by a token.
    pub async fn post_lines(&self, token: &str, path: &str, lines: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/x-ndjson"),
        ];
        self.call("POST", path, &headers, lines).await
    }

    /// Waits until an operation has ended.
    pub async fn ended(&self, token: &str, id: &Value) -> Value {
        let mut operation = Value::Null;
        wait_for("an operation that has ended", async || {
            operation = self
                .get(token, &format!("/v1/operations/{id}"))
                .await
                .is(200);
            Ok(!operation["finished_at"].is_null())
        })
        .await
        .unwrap();
        operation
    }
}

/// An HTTP call.
pub async fn request(
    http: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    request_bytes(http, method, path, headers, body.as_bytes()).await
}

/// An HTTP call with a body that may be no text.
pub async fn request_bytes(
    http: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{http}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.to_owned()).unwrap();
    let ask = move || {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let mut response = agent.run(request).ok()?;
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.to_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        let body = response.body_mut().read_to_vec().ok()?;
        Some(Answer {
            status: response.status().as_u16(),
            headers,
            text: String::from_utf8_lossy(&body).into_owned(),
            body,
        })
    };
    let answer = tokio::task::spawn_blocking(ask).await.unwrap();
    answer.unwrap_or(Answer {
        status: 0,
        headers: Vec::new(),
        body: Vec::new(),
        text: String::new(),
    })
}

/// Fills the database that the tests have copies of.
async fn migrate(services: &Services, template: TestDatabase) -> anyhow::Result<()> {
    let owner = SecretUrl::parse(&template.owner, &["postgres", "postgresql"])?;
    acequia_schema::migrate(&owner, &services.role_passwords()?).await?;
    Ok(())
}
