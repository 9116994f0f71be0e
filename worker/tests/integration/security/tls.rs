//! Servers that refuse connections without TLS, and a certificate that has expired.

use std::path::Path;

use acequia_contracts::catalog;
use acequia_publisher::{Ids, Publisher, Settings, broker_url, messages};
use acequia_testkit::{Certificates, free_port, wait_for};
use sqlx::Connection;
use sqlx::PgConnection;

use super::refused;
use super::{Guarded, Secret, by_name, doctor, found, with_password};
use crate::support::program::finish;
use crate::support::ready;

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
async fn an_expired_certificate_is_refused() {
    let guarded = Guarded::start(Certificates::expired("localhost").unwrap(), &[]).await;
    let findings = doctor(guarded.command(&["doctor"], &guarded.database.owner)).await;
    for check in ["database", "broker"] {
        let (verdict, why) = found(&findings, check);
        assert_eq!(verdict, "fail");
        assert!(why.contains("certificate has expired: renew it"), "{why}");
    }
}
