//! The command as people use it: exit status, reports, signals.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Broker, all_keys, domain};

pub fn publisher(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publisher"));
    for variable in [
        "AMQP_URL",
        "AMQP_URL_FILE",
        "ALLOW_PLAINTEXT",
        "ACEQUIA_LOG",
        "LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn temporary(name: &str) -> PathBuf {
    let id = uuid::Uuid::now_v7().simple();
    std::env::temp_dir().join(format!("acequia-publisher-{id}-{name}"))
}

#[tokio::test]
async fn a_file_is_written_and_sent_and_counted() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let file = temporary("sample.ndjson");
    let path = file.to_str().unwrap();

    let written = run(publisher(&["generate", domain().name, "--output", path])).await;
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let body = std::fs::read(&file).unwrap();
    let lines = body.iter().filter(|byte| **byte == b'\n').count();
    assert!(stderr(&written).contains(&format!("wrote {lines} messages")));
    let piped = run(publisher(&["generate", domain().name, "--output", "-"])).await;
    assert!(piped.stdout == body, "stdout gets what a file gets");

    let mut sending = publisher(&["send", path, "--json"]);
    sending.env("AMQP_URL", broker.url());
    let sent = run(sending).await;
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    assert!(stderr(&sent).contains(&format!(
        "confirmed {lines} messages (returned 0, nacked 0, retried 0) in "
    )));
    let result: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(result["confirmed"], lines);
    assert_eq!(result["failed"], 0);
    let entities = result["entities"].as_object().unwrap();
    assert_eq!(entities.len(), domain().entities.len());
    assert_eq!(broker.drain("all").await.len(), lines);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn lines_that_cannot_be_sent_are_reported_and_end_in_1() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let entity = domain().entities[0].name;
    let send = |third: &str, extra: &[&str]| {
        let good = format!("{{\"entity\":\"{entity}\"}}");
        let input = format!("{good}\n\n{third}\n{good}\n");
        let mut command = publisher(&["send", "-"]);
        command.args(extra).env("AMQP_URL", broker.url());
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
    };
    let sent = send("secret", &[]).await.unwrap();
    let report = stderr(&sent);
    assert_eq!(sent.status.code(), Some(1), "{report}");
    assert!(
        report.contains("line 3: no JSON: stops at column 1"),
        "{report}"
    );
    assert!(report.contains("1 lines could not be sent"), "{report}");
    assert!(report.contains("confirmed 2 messages"), "{report}");
    assert!(!report.contains("secret"));
    assert_eq!(broker.drain("all").await.len(), 2);

    // An object of an unknown entity is for quarantine; a line that is no object is not sent.
    let with_domain = ["--quiet", "--domain", domain().name];
    let garbage = send("secret", &with_domain).await.unwrap();
    assert_eq!(garbage.status.code(), Some(1));
    assert_eq!(broker.drain("all").await.len(), 2);
    let quiet = send("{\"entity\":\"secret\"}", &with_domain).await.unwrap();
    assert_eq!(
        (quiet.status.code(), stderr(&quiet).as_str()),
        (Some(0), "")
    );
    assert_eq!(broker.drain("all").await.len(), 3);
}

/// Whoever collects logs reads every line of a program, its last words included.
#[tokio::test]
async fn as_json_every_line_is_an_object_that_names_its_event() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    let file = temporary("lines.ndjson");
    let path = file.to_str().unwrap();
    let mut writing = publisher(&["generate", domain().name, "--output", path]);
    writing.env("LOG_FORMAT", "json");
    let written = run(writing).await;
    assert_eq!(events(&written), ["publisher.wrote"]);

    let mut bad = std::fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap();
    writeln!(bad, "no JSON").unwrap();
    let mut sending = publisher(&["send", path, "--log-format", "json"]);
    sending.env("AMQP_URL", broker.url());
    let sent = run(sending).await;
    assert_eq!(sent.status.code(), Some(1), "{}", stderr(&sent));
    let told = events(&sent);
    for event in ["publisher.bad_line", "publisher.done"] {
        assert!(told.contains(&event.to_owned()), "{told:?}");
    }
    let last: serde_json::Value =
        serde_json::from_str(stderr(&sent).lines().last().unwrap()).unwrap();
    let lines = std::fs::read_to_string(&file).unwrap().lines().count();
    assert_eq!(last["confirmed"], lines - 1, "{last}");
    assert_eq!(last["bad_lines"], 1, "{last}");

    let nobody = acequia_testkit::free_port().unwrap();
    let mut command = publisher(&["send", path, "--retry-for", "1"]);
    command.env("LOG_FORMAT", "json").env(
        "AMQP_URL",
        format!("amqp://app:s3cret@127.0.0.1:{nobody}/%2f"),
    );
    let refused = run(command).await;
    assert_eq!(refused.status.code(), Some(2));
    let told = events(&refused);
    assert_eq!(
        (told[0].as_str(), told[told.len() - 1].as_str()),
        ("publisher.waiting", "program.failed")
    );
    assert!(!stderr(&refused).contains("s3cret"));
}

/// The events of a log whose lines are JSON objects.
fn events(output: &Output) -> Vec<String> {
    let event = |line: &str| {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{field} of {line}");
        }
        line["event"].as_str().unwrap().to_owned()
    };
    stderr(output).lines().map(event).collect()
}

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

/// What a person must mend is said at once, however long the patience.
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

#[tokio::test]
async fn wrong_usage_ends_in_2() {
    for arguments in [
        &["generate"][..],
        &["generate", "nowhere"],
        &["generate", domain().name, "--seed", "x"],
        &["send"],
        &["send", "/nowhere/file.ndjson"],
        &["generate", domain().name, "--output", "x", "--rate", "1"],
    ] {
        let output = run(publisher(arguments)).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_signal_ends_it_in_order() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut command = publisher(&["generate", domain().name, "--rate", "200", "--json"]);
        command.env("AMQP_URL", broker.url());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let killed = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["stopped"], "interrupted");
        assert_eq!(result["failed"], 0);
        let confirmed = result["confirmed"].as_u64().unwrap();
        assert!(confirmed > 10, "{result}");
        assert_eq!(broker.drain("all").await.len() as u64, confirmed);
    }
}

#[tokio::test]
async fn messages_are_sent_though_nobody_can_read_the_report() {
    let broker = Broker::start().await;
    broker.bind("all", &[&all_keys()]).await;
    for format in ["text", "json"] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = publisher(&["generate", domain().name, "--json"]);
        command
            .env("AMQP_URL", broker.url())
            .env("LOG_FORMAT", format);
        command.stdout(Stdio::piped()).stderr(full);
        let child = command.spawn().unwrap();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let confirmed = usize::try_from(result["confirmed"].as_u64().unwrap()).unwrap();
        assert!(confirmed > 0);
        assert_eq!(broker.drain("all").await.len(), confirmed);
    }
}

/// A file that was sent in part: the unsent lines are in a file of their own, unchanged.
#[tokio::test]
async fn what_the_broker_does_not_have_is_kept_and_can_be_sent() {
    let broker = Broker::start().await;
    let entities = &domain().entities;
    let key = |place: usize| format!("{}.{}", domain().name, entities[place].name);
    broker.bind("all", &[&key(0)]).await;
    let line = |place: usize| format!("{{ \"entity\": \"{}\" }}", entities[place].name);
    let (file, rejects) = (temporary("whole.ndjson"), temporary("rejects.ndjson"));
    std::fs::write(&file, format!("{}\nno json\n{}\n", line(0), line(1))).unwrap();
    let send = |path: &std::path::Path, extra: &[&str]| {
        let mut command = publisher(&["send", path.to_str().unwrap(), "--attempts", "1", "--json"]);
        command.args(extra).env("AMQP_URL", broker.url());
        command
    };

    let keep = ["--rejects", rejects.to_str().unwrap()];
    let sent = run(send(&file, &keep)).await;
    assert_eq!(sent.status.code(), Some(1), "{}", stderr(&sent));
    let result: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(
        (&result["confirmed"], &result["failed"]),
        (&1.into(), &1.into()),
        "{result}"
    );
    assert_eq!(result["failures"][0]["line"], 3, "{result}");
    assert_eq!(
        (&result["bad_lines"], &result["last_line"]),
        (&1.into(), &3.into()),
        "{result}"
    );
    assert_eq!(result["first_bad_lines"][0]["line"], 2, "{result}");
    let reason = result["first_bad_lines"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("no JSON"), "{reason}");
    let kept = std::fs::read_to_string(&rejects).unwrap();
    let mut lines: Vec<_> = kept.lines().collect();
    lines.sort_unstable();
    let mut expected = ["no json".to_owned(), line(1)];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&rejects).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "messages may hold personal data");

    // Neither the file itself nor the rejects of an earlier run are emptied by a run that cannot begin.
    let before = std::fs::read(&file).unwrap();
    let linked = temporary("linked.ndjson");
    std::fs::hard_link(&file, &linked).unwrap();
    for same in [&file, &linked] {
        let sent = run(send(&file, &["--rejects", same.to_str().unwrap()])).await;
        assert_eq!(sent.status.code(), Some(2));
        assert!(
            stderr(&sent).contains("name another one"),
            "{}",
            stderr(&sent)
        );
    }
    std::fs::remove_file(linked).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let mut nowhere = send(&file, &keep);
    nowhere
        .args(["--retry-for", "1"])
        .env("AMQP_URL", "amqp://x:y@127.0.0.1:1");
    let sent = run(nowhere).await;
    assert_eq!(sent.status.code(), Some(2), "{}", stderr(&sent));
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), kept);

    // Mended: the line that was none goes, the rest has a queue now.
    broker.bind("all", &[&key(1)]).await;
    std::fs::write(&rejects, kept.replace("no json\n", "")).unwrap();
    let sent = run(send(&rejects, &[])).await;
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    let sent = run(send(&file, &["--from-line", "3"])).await;
    assert_eq!(sent.status.code(), Some(0), "{}", stderr(&sent));
    assert_eq!(broker.drain("all").await.len(), 3);
    std::fs::remove_file(file).unwrap();
    std::fs::remove_file(rejects).unwrap();
}

#[tokio::test]
async fn the_schema_of_an_entity_is_printed() {
    let entity = &domain().entities[0];
    let name = format!("{}.{}", entity.domain, entity.name);
    let one = run(publisher(&["schema", &name])).await;
    assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
    let one: serde_json::Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one, acequia_contracts::schema(entity));
    let all = run(publisher(&["schema"])).await;
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    let entities = acequia_contracts::catalog()
        .iter()
        .flat_map(|domain| &domain.entities);
    assert_eq!(all.as_object().unwrap().len(), entities.count());
    assert_eq!(all[&name], one);
    let unknown = run(publisher(&["schema", "nothing.such"])).await;
    assert_eq!(unknown.status.code(), Some(2));
}
