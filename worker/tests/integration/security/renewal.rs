//! Client certificates, and passwords that change while the worker runs.

use acequia_testkit::{Certificates, free_port, wait_for};

use super::{Guarded, Secret, by_name, doctor, found, refused, with_password};
use crate::support::program::finish;
use crate::support::{get, ready};

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
