//! Connections that are refused before anything is sent.

use acequia_net::SecretUrl;
use acequia_store::db;
use acequia_testkit::Certificates;

use super::refused;
use crate::support::program::program;

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
