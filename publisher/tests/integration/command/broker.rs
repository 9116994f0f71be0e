//! Brokers that are not there, come late, refuse, or lack a queue.

use std::process::Stdio;

use super::temporary;
use super::{publisher, run, stderr};
use crate::support::{Broker, all_keys, domain};

#[tokio::test]
async fn without_a_queue_it_says_what_to_do_and_ends_in_1() {
    let broker = Broker::start().await;
    let mut command = publisher(&["generate", domain().name]);
    command.env("AMQP_URL", broker.url());
    let output = run(command).await;
    let report = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("came back: no queue takes it"), "{report}");
    assert!(report.contains("start `worker run`"), "{report}");
    assert!(
        report.contains("not confirmed: no queue takes it"),
        "{report}"
    );
}

#[tokio::test]
async fn without_a_broker_it_ends_in_2_and_keeps_the_password() {
    let nobody = acequia_testkit::free_port().unwrap();
    let url = format!("amqp://someone:s3cret@127.0.0.1:{nobody}/%2f");
    let file = temporary("url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let mut by_file = publisher(&["generate", domain().name, "--retry-for", "1"]);
    by_file
        .env("AMQP_URL_FILE", &file)
        .env("AMQP_URL", "amqp://elsewhere");
    let mut by_option = publisher(&["generate", domain().name, "--amqp-url", &url]);
    by_option.args(["--retry-for", "1"]);
    by_option.env("AMQP_URL_FILE", "/nowhere");
    for command in [by_file, by_option] {
        let output = run(command).await;
        let report = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(
            report.contains(&format!("amqp://someone:***@127.0.0.1:{nobody}")),
            "{report}"
        );
        assert!(!report.contains("s3cret"), "{report}");
    }
    std::fs::remove_file(file).unwrap();

    let wrong = run(publisher(&[
        "generate",
        domain().name,
        "--amqp-url",
        "s3cret",
    ]))
    .await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!stderr(&wrong).contains("s3cret"));
}

/// Passes connections to an address on to the broker, from when it is called.
async fn door(listener: tokio::net::TcpListener, broker: String) {
    let url: url::Url = broker.parse().unwrap();
    let port = url.port().unwrap();
    loop {
        let (mut ours, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut theirs = tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .unwrap();
            let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
        });
    }
}

#[tokio::test]
async fn a_broker_that_comes_late_is_waited_for() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let port = acequia_testkit::free_port().unwrap();
    let mut url: url::Url = broker.url().parse().unwrap();
    url.set_port(Some(port)).unwrap();
    let mut command = publisher(&["generate", domain().name, "--amqp-url", url.as_str()]);
    command.stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).spawn().unwrap();
    // It has tried, and says so, before anybody listens.
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    while !said.contains("cannot connect") {
        let mut piece = [0; 1024];
        let length = tokio::io::AsyncReadExt::read(&mut stderr, &mut piece)
            .await
            .unwrap();
        assert!(length > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    tokio::spawn(door(listener, broker.url().to_owned()));
    tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let password = broker.url().split([':', '@']).nth(2).unwrap().to_owned();
    assert!(!said.contains(&password), "{said}");
}

/// Errors that a person must repair are reported at once, whatever `--retry-for` is.
#[tokio::test]
async fn a_broker_that_refuses_is_not_waited_for() {
    let broker = Broker::start().await;
    let mut wrong: url::Url = broker.url().parse().unwrap();
    wrong.set_password(Some("wr0ng")).unwrap();
    let mut nowhere: url::Url = broker.url().parse().unwrap();
    nowhere.set_path("no-such-vhost");
    for url in [wrong, nowhere] {
        let command = publisher(&[
            "generate",
            domain().name,
            "--retry-for",
            "0",
            "--amqp-url",
            url.as_str(),
        ]);
        let output = run(command).await;
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("cannot connect"),
            "{}",
            stderr(&output)
        );
    }
}

#[tokio::test]
async fn of_several_brokers_one_that_answers_is_enough_and_no_password_is_shown() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let nobody = acequia_testkit::free_port().unwrap();
    let dead = |password: &str| format!("amqp://one:{password}@127.0.0.1:{nobody}/v");
    let list = format!("{},{},{}", dead("s3cret"), broker.url(), dead("s3cret"));
    let output = run(publisher(&["generate", domain().name, "--amqp-url", &list])).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for list in [
        format!("{},{}", dead("s3cret"), dead("s3cret")),
        format!("{};{}", dead("p"), dead("s3cret")),
        format!("{},one:s3cret@127.0.0.1:{nobody}/v", dead("p")),
        format!("amqp://one:s3cret@127.0.0.1:{nobody},127.0.0.1:{nobody}/v"),
        "amqp://one:s3cret@a,b/v".to_owned(),
    ] {
        let arguments = [
            "generate",
            domain().name,
            "--retry-for",
            "1",
            "--amqp-url",
            &list,
        ];
        let output = run(publisher(&arguments)).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

/// An address that is no name is the address that is meant, or none: never this machine.
#[tokio::test]
async fn an_address_leads_to_itself_only() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let url: url::Url = broker.url().parse().unwrap();
    let (user, password) = (url.username(), url.password().unwrap());
    let vhost = url.path();
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(door(listener, broker.url().to_owned()));
    let here = format!("amqp://{user}:{password}@[::1]:{port}{vhost}");
    let output = run(publisher(&["generate", domain().name, "--amqp-url", &here])).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    // The broker answers at this port of this machine, whose name is never meant here.
    let port = url.port().unwrap();
    for host in [
        "[2001:db8::1]",
        "[::ffff:192.0.2.1]",
        "192.0.2.1",
        "",
        "%20",
        "[fe80::1%25eth0]",
    ] {
        let there = format!("amqp://{user}:{password}@{host}:{port}{vhost}");
        let mut command = publisher(&[
            "generate",
            domain().name,
            "--retry-for",
            "1",
            "--amqp-url",
            &there,
        ]);
        command.env("ALLOW_PLAINTEXT", "true");
        let output = run(command).await;
        assert_eq!(output.status.code(), Some(2), "{host}: {}", stderr(&output));
    }
    let mut command = publisher(&["generate", domain().name, "--amqp-url", "amqp:///vhost"]);
    command.env("ALLOW_PLAINTEXT", "true");
    let output = run(command).await;
    assert!(
        stderr(&output).contains("has no host"),
        "{}",
        stderr(&output)
    );
}
