//! TLS to broker and database with real certificates, and connections that are refused.

mod plaintext;
mod renewal;
mod tls;

use acequia_testkit::{Certificates, Services, TestDatabase, VirtualHost};
use serde_json::Value;
use sqlx::Connection;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::process::Command;

use crate::support::program::{Finished, finish, program};

/// Servers that refuse connections without TLS, a database, a virtual host. The servers' certificate
/// is for `localhost` only.
struct Guarded {
    certificates: Certificates,
    services: Services,
    database: TestDatabase,
    broker: VirtualHost,
}

impl Guarded {
    async fn start(certificates: Certificates, options: &[&str]) -> Self {
        let dir = certificates.dir().display().to_string();
        let options = [&["--tls", &dir], options].concat();
        let services = Services::start_with(&options).await.unwrap();
        Self {
            database: TestDatabase::empty(&services).await.unwrap(),
            broker: VirtualHost::create(&services).await.unwrap(),
            certificates,
            services,
        }
    }

    /// A command with the addresses of both servers, by the name in their certificate.
    fn command(&self, arguments: &[&str], database: &str) -> Command {
        let mut command = program(arguments);
        command
            .env("DATABASE_URL", by_name(database))
            .env("AMQP_URL", by_name(&self.broker.url))
            .env("DATABASE_CA_FILE", self.certificates.file("ca.pem"))
            .env("AMQP_CA_FILE", self.certificates.file("ca.pem"));
        command
    }

    async fn admin(&self, statement: &str) {
        let mut admin = PgConnection::connect(&self.database.admin).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut admin)
            .await
            .unwrap();
    }
}

fn by_name(url: &str) -> String {
    url.replace("@127.0.0.1:", "@localhost:")
}

fn with_password(url: &str, password: &str) -> String {
    let mut url: url::Url = url.parse().unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

/// Output of a command that must fail; no password is in it.
async fn refused(command: Command, code: i32) -> String {
    let Finished {
        status,
        stdout,
        stderr,
    } = finish(command).await;
    let said = stdout + &stderr;
    assert_eq!(status.code(), Some(code), "{said}");
    for secret in ["_password@", "app_password", "s3cret"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    said
}

/// The findings of `doctor --json`: check, verdict, result.
async fn doctor(mut command: Command) -> Vec<(String, String, String)> {
    let finished = finish({
        command.arg("--json");
        command
    })
    .await;
    let findings: Vec<Value> = serde_json::from_str(&finished.stdout).expect(&finished.stderr);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings
        .iter()
        .map(|finding| {
            (
                text(finding, "check"),
                text(finding, "verdict"),
                text(finding, "found"),
            )
        })
        .collect()
}

fn found<'a>(findings: &'a [(String, String, String)], check: &str) -> (&'a str, &'a str) {
    let (_, verdict, found) = findings
        .iter()
        .find(|finding| finding.0 == check)
        .unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    (verdict, found)
}

/// A file that goes with the value.
struct Secret(std::path::PathBuf);

impl Secret {
    fn new(text: &str) -> Self {
        let name = format!("acequia-secret-{}", uuid::Uuid::now_v7().simple());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, format!("{text}\n")).unwrap();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
