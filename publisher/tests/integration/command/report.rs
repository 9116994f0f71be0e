//! Reports about messages that were sent, and about messages that were not.

use std::io::Write as _;
use std::process::Output;
use std::process::Stdio;

use super::temporary;
use super::{publisher, run, stderr};
use crate::support::{Broker, all_keys, domain};

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

    // Repaired: the line that was not JSON is removed, and the other messages now have a queue.
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
