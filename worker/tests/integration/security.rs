//! TLS to broker and database with real certificates, and connections that are refused.

use std::path::Path;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_publisher::{Ids, Publisher, Settings, broker_url, messages};
use acequia_store::db;
use acequia_testkit::{Certificates, Services, TestDatabase, VirtualHost, free_port, wait_for};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

use crate::support::program::{Finished, finish, program};
use crate::support::{get, ready};

/// Servers that let nobody in without TLS, a database, a virtual host. The servers' certificate
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

/// What a command says that must fail, without any password in it.
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

/// The findings of `doctor --json`: check, verdict, what was found.
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

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_over_tls_and_nothing_without() {
    let guarded = Guarded::start(Certificates::new("localhost").unwrap(), &[]).await;
    let owner = &guarded.database.owner;

    // The server logs every statement while the password is set.
    guarded
        .admin("alter system set log_statement = 'all'")
        .await;
    guarded.admin("select pg_reload_conf()").await;
    let password = Secret::new("s3cret-of-the-worker");
    let mut migrate = guarded.command(&["migrate"], owner);
    migrate.env("ACEQUIA_WORKER_PASSWORD_FILE", &password.0);
    let migrated = finish(migrate).await;
    assert!(migrated.status.success(), "{}", migrated.stderr);
    let data = guarded.services.var("POSTGRES_DATA_DIR").unwrap();
    let log = Path::new(data).with_file_name("server.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("alter role acequia_worker password 'SCRAM-SHA-256$"));
    assert!(
        !log.contains("s3cret"),
        "the password is in the server's log"
    );

    // The password works, and messages get from one end to the other.
    let worker_url = with_password(&guarded.database.worker, "s3cret-of-the-worker");
    let findings = doctor(guarded.command(&["doctor"], &worker_url)).await;
    for check in ["database encryption", "broker encryption"] {
        let (verdict, how) = found(&findings, check);
        assert_eq!(verdict, "ok", "{findings:?}");
        assert!(
            how.starts_with("TLSv1.3") && how.ends_with("certificate checked"),
            "{how}"
        );
    }
    let http = format!("127.0.0.1:{}", free_port().unwrap());
    let mut run = guarded.command(&["run", "--http-addr", &http], &worker_url);
    let mut worker = run.spawn().unwrap();
    ready(&http).await;
    let domain = catalog()
        .iter()
        .find(|domain| domain.generator.is_some())
        .unwrap();
    let files = acequia_net::tls::TlsFiles {
        ca: Some(guarded.certificates.file("ca.pem").into()),
        ..Default::default()
    };
    let broker = broker_url(&by_name(&guarded.broker.url)).unwrap();
    let mut publisher =
        Publisher::connect_with(broker.with_tls(files.clone()), Settings::default())
            .await
            .unwrap();
    let some = messages(domain.name, &["--seed", "1"], Ids::Fresh).unwrap();
    let sent = i64::try_from(some.len()).unwrap();
    let summary = publisher.send_all(some).await;
    assert!(summary.is_complete(), "{summary}");
    publisher.close().await;
    let mut connection = PgConnection::connect(owner).await.unwrap();
    wait_for("every message in the core", async || {
        let promoted: i64 = sqlx::query_scalar(
            "select coalesce(sum(received - staged), 0)::bigint from core.conservation",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok(promoted == sent)
    })
    .await
    .unwrap();
    let (encrypted, plain): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where ssl), count(*) filter (where not ssl) \
         from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'acequia_worker'",
    )
    .fetch_one(
        &mut PgConnection::connect(&guarded.database.admin)
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    assert!(encrypted > 0);
    assert_eq!(plain, 0);
    worker.kill().await.unwrap();

    // A certificate of an authority that we do not trust.
    let stranger = Certificates::new("localhost").unwrap();
    let mut wrong_ca = guarded.command(&["doctor"], &worker_url);
    wrong_ca
        .env("DATABASE_CA_FILE", stranger.file("ca.pem"))
        .env("AMQP_CA_FILE", stranger.file("ca.pem"));
    let findings = doctor(wrong_ca).await;
    let (verdict, why) = found(&findings, "database");
    assert!(verdict == "fail" && why.contains("set DATABASE_CA_FILE to the one that did"));
    let (verdict, why) = found(&findings, "broker");
    assert!(verdict == "fail" && why.contains("set AMQP_CA_FILE to the one that did"));
    for arguments in [&["migrate"][..], &["run", "--http-addr", "127.0.0.1:0"]] {
        let mut wrong_ca = guarded.command(arguments, owner);
        wrong_ca.env("DATABASE_CA_FILE", stranger.file("ca.pem"));
        let said = refused(wrong_ca, 2).await;
        assert!(said.contains("set DATABASE_CA_FILE"), "{said}");
    }

    // The certificate of another host.
    let mut wrong_host = guarded.command(&["doctor"], owner);
    wrong_host
        .env("DATABASE_URL", owner)
        .env("AMQP_URL", &guarded.broker.url);
    let findings = doctor(wrong_host).await;
    for check in ["database", "broker"] {
        let (verdict, why) = found(&findings, check);
        assert_eq!(verdict, "fail");
        assert!(why.contains("certificate is for another host"), "{why}");
    }

    // Plain text to servers that want TLS.
    let mut plain = guarded.command(&["doctor"], &format!("{owner}?sslmode=disable"));
    plain
        .env_remove("DATABASE_CA_FILE")
        .env_remove("AMQP_CA_FILE")
        .env("AMQP_URL", guarded.broker.url.replace("amqps:", "amqp:"));
    let findings = doctor(plain).await;
    let (verdict, why) = found(&findings, "database");
    assert_eq!(verdict, "fail");
    assert!(
        why.contains("the server wants TLS: use sslmode=verify-full"),
        "{why}"
    );
    assert_eq!(found(&findings, "broker").0, "fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_and_new_passwords_without_a_restart() {
    let certificates = Certificates::new("localhost").unwrap();
    let guarded = Guarded::start(certificates, &["--client-certificates"]).await;
    let owner = &guarded.database.owner;
    let mut migrate = guarded.command(&["migrate"], owner);
    migrate.env("ACEQUIA_WORKER_PASSWORD", "s3cret-one");
    let migrated = finish(migrate).await;
    assert!(migrated.status.success(), "{}", migrated.stderr);
    let worker_url = by_name(&guarded.database.worker);
    let first = with_password(&worker_url, "s3cret-one");

    // Without a certificate of our own.
    let findings = doctor(guarded.command(&["doctor"], &first)).await;
    let (verdict, why) = found(&findings, "database");
    assert_eq!(verdict, "fail");
    assert!(why.contains("set PGSSLCERT and PGSSLKEY"), "{why}");
    let (verdict, why) = found(&findings, "broker");
    assert_eq!(verdict, "fail");
    assert!(
        why.contains("set AMQP_CERT_FILE and AMQP_KEY_FILE"),
        "{why}"
    );
    let mut half = guarded.command(&["doctor"], &first);
    half.env("AMQP_CERT_FILE", guarded.certificates.file("client.pem"));
    let said = refused(half, 2).await;
    assert!(said.contains("must be given together"), "{said}");

    // With one; and the password changes while the worker runs.
    let file = Secret::new(&first);
    let http = format!("127.0.0.1:{}", free_port().unwrap());
    let mut run = guarded.command(&["run", "--http-addr", &http], &first);
    run.env_remove("DATABASE_URL")
        .env("DATABASE_URL_FILE", &file.0);
    for (name, file) in [
        ("AMQP_CERT_FILE", "client.pem"),
        ("AMQP_KEY_FILE", "client.key"),
    ] {
        run.env(name, guarded.certificates.file(file));
    }
    for (name, file) in [("PGSSLCERT", "client.pem"), ("PGSSLKEY", "client.key")] {
        run.env(name, guarded.certificates.file(file));
    }
    let mut worker = run.spawn().unwrap();
    ready(&http).await;
    guarded
        .admin("alter role acequia_worker password 's3cret-two'")
        .await;
    guarded
        .admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'acequia_worker'")
        .await;
    wait_for("a worker whose password is wrong", async || {
        let (status, body) = get(&http, "/readyz").await;
        assert!(!body.contains("s3cret"), "{body}");
        Ok(status == 503 && body.contains("password authentication failed"))
    })
    .await
    .unwrap();
    file.write(&with_password(&worker_url, "s3cret-two"));
    ready(&http).await;
    worker.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused() {
    let guarded = Guarded::start(Certificates::expired("localhost").unwrap(), &[]).await;
    let findings = doctor(guarded.command(&["doctor"], &guarded.database.owner)).await;
    for check in ["database", "broker"] {
        let (verdict, why) = found(&findings, check);
        assert_eq!(verdict, "fail");
        assert!(why.contains("certificate has expired: renew it"), "{why}");
    }
}

#[tokio::test]
async fn plain_text_to_another_machine_is_refused_before_anything_is_sent() {
    const DATABASE: &str = "postgres://app:s3cret@db.invalid/x";
    const BROKER: &str = "amqp://app:s3cret@mq.invalid/%2f";
    let command = |arguments: &[&str], database: &str, broker: &str| {
        let mut command = program(arguments);
        command
            .env("DATABASE_URL", database)
            .env("AMQP_URL", broker);
        command
    };
    let weak = format!("{DATABASE}?sslmode=disable");
    let unchecked = format!("{DATABASE}?sslmode=require");
    let here = "amqp://app:s3cret@127.0.0.1:1/%2f";
    for (arguments, database, broker, host) in [
        (&["migrate"][..], weak.as_str(), here, "db.invalid"),
        (&["check"], &weak, here, "db.invalid"),
        (&["run"], &unchecked, here, "db.invalid"),
        (&["doctor"], DATABASE, BROKER, "mq.invalid"),
        (&["run"], DATABASE, BROKER, "mq.invalid"),
    ] {
        let said = refused(command(arguments, database, broker), 2).await;
        assert!(
            said.contains(&format!("would reach {host} in plain text")),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("ALLOW_PLAINTEXT=true"), "{said}");
    }
    // Allowed, it is tried: such hosts do not exist.
    let mut option = command(&["doctor", "--allow-plaintext", "--json"], &weak, BROKER);
    let mut variable = command(&["doctor", "--json"], &weak, BROKER);
    variable.env("ALLOW_PLAINTEXT", "true");
    for command in [&mut option, &mut variable] {
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("in plain text"), "{said}");
    }
    let mut no = command(&["doctor"], &weak, BROKER);
    no.env("ALLOW_PLAINTEXT", "false");
    refused(no, 2).await;
}

/// The options of sqlx come from the environment too: they cannot weaken a connection unseen.
#[tokio::test]
async fn a_ca_without_tls_is_a_contradiction() {
    let certificates = Certificates::new("localhost").unwrap();
    let mut command = program(&["doctor"]);
    command
        .env(
            "DATABASE_URL",
            "postgres://app:s3cret@127.0.0.1/x?sslmode=disable",
        )
        .env("DATABASE_CA_FILE", certificates.file("ca.pem"))
        .env("AMQP_URL", "amqp://app:s3cret@127.0.0.1/%2f");
    let said = refused(command, 2).await;
    assert!(said.contains("use sslmode=verify-full"), "{said}");
    let mut command = program(&["doctor"]);
    command
        .env("DATABASE_URL", "postgres://app:s3cret@127.0.0.1/x")
        .env("AMQP_URL", "amqp://app:s3cret@127.0.0.1/%2f")
        .env("AMQP_CA_FILE", certificates.file("ca.pem"));
    let said = refused(command, 2).await;
    assert!(said.contains("write amqps://"), "{said}");
    // No certificate in the file.
    let mut command = program(&["doctor"]);
    command
        .env("DATABASE_URL", "postgres://app:s3cret@127.0.0.1/x")
        .env("AMQP_URL", "amqps://app:s3cret@127.0.0.1/%2f")
        .env("AMQP_CA_FILE", certificates.file("server.key"));
    let said = refused(command, 2).await;
    assert!(
        said.contains("AMQP_CA_FILE: there is no certificate in"),
        "{said}"
    );
    let url = SecretUrl::parse("postgres://app:s3cret@127.0.0.1:1/x", &["postgres"]).unwrap();
    let error = db::connect(&url, "test").await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}
