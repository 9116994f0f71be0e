//! docker-compose.yml: held against its own rules, the settings page, and the way without Docker.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;

use acequia_testkit::root;
use serde_json::Value;

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).expect(file)
}

fn compose() -> Value {
    serde_saphyr::from_str(&text("docker-compose.yml")).unwrap()
}

/// A key of a service, its own or one that it merges in.
fn of<'a>(service: &'a Value, key: &str) -> Option<&'a Value> {
    service.get(key).or_else(|| of(service.get("<<")?, key))
}

fn services(compose: &Value) -> Vec<(&String, &Value)> {
    let services: Vec<_> = compose["services"].as_object().unwrap().iter().collect();
    assert!(services.len() > 8);
    services
}

/// `${NAME` and `$$NAME` in the file.
fn variables(text: &str) -> BTreeSet<String> {
    let parts = text.split("${").skip(1);
    let names = parts.map(|part| part.split([':', '}']).next().unwrap().to_owned());
    names.collect()
}

/// The variables of .env.example, with their values; those that are commented out are examples.
fn example() -> Vec<(String, String)> {
    let text = text(".env.example");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn an_image_is_built_by_one_service() {
    let compose = compose();
    let mut built = BTreeSet::new();
    for (name, service) in services(&compose) {
        let image = of(service, "image").and_then(Value::as_str).expect(name);
        if of(service, "build").is_some() {
            assert!(built.insert(image.to_owned()), "{image} is built twice");
        }
    }
    for (name, service) in services(&compose) {
        let image = of(service, "image").and_then(Value::as_str).unwrap();
        if image.ends_with(":local") {
            assert!(built.contains(image), "{name}: nobody builds {image}");
            let never = of(service, "pull_policy").and_then(Value::as_str);
            assert_eq!(never, Some("never"), "{name}: it is in no registry");
        }
    }
}

/// A container reads the files of its image, whatever modes they have in a checkout.
#[test]
fn nothing_of_the_checkout_is_mounted() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for volume in of(service, "volumes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let volume = volume.as_str().unwrap();
            assert!(!volume.starts_with(['.', '/', '~']), "{name}: {volume}");
        }
    }
    let dockerfile = text("config/Dockerfile");
    let mut copies = 0;
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY")) {
        copies += 1;
        assert!(line.starts_with("COPY --chmod="), "{line}");
        let sources: Vec<_> = line.split_whitespace().skip(2).collect();
        for source in &sources[..sources.len() - 1] {
            assert!(root().join(source).exists(), "{line}");
        }
    }
    assert!(copies > 8);
}

/// PostgreSQL 17 has its checkpoints in a view of their own, which the exporter reads when asked to.
#[test]
fn checkpoints_are_collected_both_ways() {
    let flag = "--collector.stat_checkpointer";
    let command = &compose()["services"]["postgres-exporter"]["command"];
    assert!(
        command.as_array().unwrap().contains(&flag.into()),
        "{command}"
    );
    assert!(text("scripts/services/observability.sh").contains(flag));
}

#[test]
fn every_log_has_a_limit() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let options = &of(service, "logging").expect(name)["options"];
        for limit in ["max-size", "max-file"] {
            assert!(options[limit].is_string(), "{name}: {limit}");
        }
    }
}

/// A fixed port can be had once; and Prometheus asks every container of the service.
#[test]
fn there_may_be_several_workers() {
    let compose = compose();
    let worker = &compose["services"]["worker"];
    assert!(of(worker, "container_name").is_none());
    for port in worker["ports"].as_array().unwrap() {
        let port = port.as_str().unwrap();
        let (_, default) = port.split_once(":-").expect(port);
        let (range, _) = default.split_once('}').unwrap();
        let (first, last) = range.split_once('-').expect("a range of ports");
        assert!(first.parse::<u16>().unwrap() < last.parse::<u16>().unwrap());
    }
    let prometheus: Value = serde_saphyr::from_str(&text("prometheus/prometheus.yml")).unwrap();
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["job_name"] == "acequia-worker");
    assert_eq!(job.unwrap()["dns_sd_configs"][0]["names"][0], "worker");
}

/// One volume for PostgreSQL's images of every version: a folder for each major one in it.
#[test]
fn the_database_keeps_its_data_where_every_image_can() {
    let compose = compose();
    let postgres = &compose["services"]["postgres"];
    assert_eq!(postgres["volumes"][0], "postgres:/var/lib/postgresql");
    let data = postgres["environment"]["PGDATA"].as_str().unwrap();
    let dockerfile = text("config/Dockerfile");
    let (_, image) = dockerfile.split_once("FROM postgres:").unwrap();
    let major = image.split('.').next().unwrap();
    assert_eq!(data, format!("/var/lib/postgresql/{major}/docker"));
}

/// A look that starts an Erlang machine costs seconds of CPU, every time.
#[test]
fn looking_whether_the_broker_works_is_cheap() {
    let compose = compose();
    let test = compose["services"]["rabbitmq"]["healthcheck"]["test"].to_string();
    assert!(
        !test.contains("rabbitmq") && test.contains("5672"),
        "{test}"
    );
}

/// Every setting without Docker exists with Docker too, and the page of settings has all of them.
#[test]
fn both_ways_have_the_same_settings() {
    const OTHERWISE: [&str; 5] = [
        "DATABASE_URL",
        "AMQP_URL",
        "HTTP_ADDR",
        "ALLOW_PLAINTEXT",
        "LOG_FORMAT",
    ];
    let compose = compose();
    let worker = of(&compose["services"]["worker"], "environment").unwrap();
    let page = text("docs/operations.md");
    let (_, table) = page.split_once("## Settings of `worker run`").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let mut settings = 0;
    for row in table.lines().filter(|row| row.starts_with("| `")) {
        let names = row.split('|').nth(1).unwrap();
        for name in names.split('`').skip(1).step_by(2) {
            // Files are not in the container; its own addresses are given.
            if name.ends_with("_FILE") || OTHERWISE.contains(&name) {
                continue;
            }
            settings += 1;
            assert!(
                of(worker, name).is_some(),
                "{name} does not reach the worker's container"
            );
        }
    }
    assert!(settings > 20, "{settings}");
    let passed = worker.as_object().unwrap().iter();
    for (name, _) in passed.filter(|(_, value)| value.is_null()) {
        assert!(
            table.contains(&format!("`{name}`")),
            "{name} is no setting of the worker"
        );
    }

    let written = text("docker-compose.yml");
    let named: BTreeSet<String> = example().into_iter().map(|(name, _)| name).collect();
    let own = ["ARCHIVE_URL", "ARCHIVE_SCHEDULE"];
    for name in variables(&written) {
        let known =
            named.contains(&name) || own.contains(&name.as_str()) || name.starts_with("AWS_");
        assert!(known, ".env.example lacks {name}");
    }
    let scripts = [
        "services.sh",
        "services/packages.sh",
        "services/folder.sh",
        "services/postgresql.sh",
        "services/rabbitmq.sh",
        "services/observability.sh",
        "bootstrap.sh",
        "bootstrap/native.sh",
        "lib.sh",
    ]
    .map(|file| text(&format!("scripts/{file}")));
    let (with_docker, without) = (variables(&written), scripts.concat());
    let (_, natively_only) = text(".env.example")
        .split_once("# Without Docker only")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    for (name, _) in example() {
        let native_only = natively_only.contains(&format!("\n{name}="));
        assert!(
            native_only || with_docker.contains(&name),
            "docker-compose.yml ignores {name}"
        );
        let docker_only = ["ACEQUIA_DEMO", "WORKER_PORTS"].contains(&name.as_str());
        assert!(
            docker_only || without.contains(&name),
            "the scripts ignore {name}"
        );
    }
}

/// The defaults of the file are those that .env.example shows.
#[test]
fn defaults_are_those_of_the_example() {
    let written = text("docker-compose.yml");
    for (name, value) in example() {
        for (at, _) in written.match_indices(&format!("${{{name}:-")) {
            let default = &written[at + name.len() + 4..];
            let default = default.split('}').next().unwrap();
            assert_eq!(default, value, "{name}");
        }
    }
}

/// The demo shows every domain that has one, with the same data in both ways: the first lines of sql/demo. Other data can be
/// asked for.
#[test]
fn the_demo_is_of_every_domain() {
    const FOLDER: &str = "/usr/local/share/acequia/demo";
    let image = text("Dockerfile");
    assert!(image.contains(&format!(" sql/demo {FOLDER}\n")));
    let command = &compose()["services"]["demo"]["command"][0];
    let command = command.as_str().unwrap().replace("$$", "$");
    assert!(command.contains(FOLDER), "{command}");
    let demos = |asked: &str| -> BTreeSet<String> {
        let demo = root().join("sql/demo");
        let command = command.replace(FOLDER, demo.to_str().unwrap());
        let script = format!("publisher() {{ shift; echo \"$*\"; }}\n{command}");
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-ec", &script]).env("ACEQUIA_DEMO", asked);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().map(str::to_owned).collect()
    };
    let mut native = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("sql/demo")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let first = text.lines().next().unwrap();
        native.insert(first.strip_prefix("-- demo: ").unwrap().to_owned());
    }
    assert_eq!(demos(""), native);
    let asked = ["one --a 1", "two"].map(str::to_owned);
    assert_eq!(demos("one --a 1; two"), BTreeSet::from(asked));
}
