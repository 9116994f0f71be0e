//! The publisher over TLS, and what it refuses.

use acequia_testkit::{Certificates, Services, VirtualHost};

use crate::command::{publisher, run, stderr};
use crate::support::domain;

/// The publisher's output when it cannot connect; no password is in it.
async fn refused(url: &str, settings: &[(&str, &str)]) -> String {
    let mut command = publisher(&["generate", domain().name]);
    command
        .env("AMQP_URL", url)
        .env("ACEQUIA_LOG", "trace")
        .envs(settings.iter().copied());
    let output = run(command).await;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let password = url.parse::<url::Url>().unwrap();
    let password = password.password().unwrap();
    let bytes = format!("{:?}", password.as_bytes());
    for secret in [password, bytes.trim_matches(['[', ']'])] {
        let leak = said.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "a password in the output");
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_checked_and_so_are_we() {
    let certificates = Certificates::new("localhost").unwrap();
    let dir = certificates.dir().display().to_string();
    let services = Services::start_with(&["--tls", &dir, "--client-certificates"])
        .await
        .unwrap();
    let host = VirtualHost::create(&services).await.unwrap();
    let by_address = host.url.as_str();
    let by_name = by_address.replace("@127.0.0.1:", "@localhost:");
    let (ca, cert, key) = (
        certificates.file("ca.pem"),
        certificates.file("client.pem"),
        certificates.file("client.key"),
    );
    let all = [
        ("AMQP_CA_FILE", ca.as_str()),
        ("AMQP_CERT_FILE", &cert),
        ("AMQP_KEY_FILE", &key),
    ];

    // The login succeeds. The broker has no queues yet, so every message is returned.
    let mut command = publisher(&["generate", domain().name, "--attempts", "1"]);
    command.env("AMQP_URL", &by_name).envs(all);
    let output = run(command).await;
    let report = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("no queue takes it"), "{report}");

    let said = refused(&by_name, &all[..1]).await;
    assert!(
        said.contains("set AMQP_CERT_FILE and AMQP_KEY_FILE"),
        "{said}"
    );
    let said = refused(by_address, &all).await;
    assert!(said.contains("certificate is for another host"), "{said}");
    let stranger = Certificates::new("localhost").unwrap();
    let wrong = stranger.file("ca.pem");
    let said = refused(&by_name, &[("AMQP_CA_FILE", &wrong)]).await;
    assert!(
        said.contains("set AMQP_CA_FILE to the one that did"),
        "{said}"
    );
    // Plain text to a port that wants TLS.
    let said = refused(&by_name.replace("amqps:", "amqp:"), &[]).await;
    assert!(said.contains("cannot connect"), "{said}");
}

#[tokio::test]
async fn plain_text_to_another_machine_is_refused() {
    let url = "amqp://app:s3cret@mq.invalid/%2f";
    let said = refused(url, &[]).await;
    assert!(
        said.contains("would reach mq.invalid in plain text"),
        "{said}"
    );
    assert!(said.contains("ALLOW_PLAINTEXT=true"), "{said}");
    let said = refused(url, &[("ALLOW_PLAINTEXT", "true")]).await;
    assert!(said.contains("cannot connect"), "{said}");
    let said = refused(url, &[("AMQP_CA_FILE", "/nowhere")]).await;
    assert!(said.contains("write amqps://"), "{said}");
    let said = refused(
        &url.replace("amqp:", "amqps:"),
        &[("AMQP_CA_FILE", "/nowhere")],
    )
    .await;
    assert!(
        said.contains("AMQP_CA_FILE: cannot read /nowhere"),
        "{said}"
    );
}
