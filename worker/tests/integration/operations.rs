//! What an operator does: migrate, look, start, stop.

use std::collections::HashSet;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_ops::doctor::{Finding, Places, Verdict, examine};
use acequia_schema::migrate;
use acequia_testkit::{Services, TestDatabase};
use acequia_worker::cli::doctor::schema;
use sqlx::{Connection, PgConnection};

use crate::support::program::{finish, program};
use crate::support::school::alumnos;
use crate::support::{Platform, ready};

fn postgres(url: &str) -> SecretUrl {
    SecretUrl::parse(url, &["postgres"]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_migrations_at_once_migrate_once() {
    let services = Services::shared().await.unwrap();
    let database = TestDatabase::empty(services).await.unwrap();
    let url = postgres(&database.owner);
    let (a, b, c, d) = tokio::join!(
        migrate(&url, &[]),
        migrate(&url, &[]),
        migrate(&url, &[]),
        migrate(&url, &[])
    );
    let reports = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    let latest = usize::try_from(acequia_schema::latest()).unwrap();
    assert_eq!(
        reports
            .iter()
            .map(|report| report.migrations.len())
            .sum::<usize>(),
        latest
    );
    assert_eq!(
        reports
            .iter()
            .filter(|report| !report.routines.is_empty())
            .count(),
        1
    );

    let mut connection = PgConnection::connect(&database.owner).await.unwrap();
    let history: Vec<i32> =
        sqlx::query_scalar("select version from core.refinery_schema_history order by version")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(history, (1..=acequia_schema::latest()).collect::<Vec<_>>());
    acequia_schema::check(&mut connection).await.unwrap();

    // The worker's role may start on it: the grants are there.
    let mut worker = PgConnection::connect(&database.worker).await.unwrap();
    acequia_schema::check(&mut worker).await.unwrap();

    let again = migrate(&url, &[]).await.unwrap();
    assert!(
        again.migrations.is_empty() && again.routines.is_empty(),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routine_that_was_changed_by_hand_is_applied_again() {
    let platform = Platform::new().await;
    let url = postgres(&platform.database.owner);
    let mut worker = PgConnection::connect(&platform.database.worker)
        .await
        .unwrap();
    platform
        .execute("update core.routines set checksum = 'other' where path like 'routines/%'; delete from core.routine_history")
        .await;
    let error = acequia_schema::check(&mut worker)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("worker migrate"), "{error}");
    assert!(!migrate(&url, &[]).await.unwrap().routines.is_empty());
    acequia_schema::check(&mut worker).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_refuses_a_schema_that_is_not_its_own() {
    let platform = Platform::new().await;
    let (latest, history) = (acequia_schema::latest(), "core.refinery_schema_history");
    let copy = format!("create table core.history_copy as table {history}");
    platform.execute(&copy).await;
    let refusal = async || format!("{:#}", platform.worker(&[]).ended().await.unwrap_err());

    platform
        .execute(&format!("delete from {history} where version = {latest}"))
        .await;
    let expected = format!(
        "the schema has version {}, this program needs {latest}: run `worker migrate`",
        latest - 1
    );
    assert_eq!(refusal().await, expected);

    platform
        .execute(&format!(
            "insert into {history} table core.history_copy on conflict do nothing"
        ))
        .await;
    platform.execute(&format!("insert into {history} (version, name, applied_on, checksum) values ({}, 'later', 'later', '0')", latest + 7)).await;
    let serves = async |oldest: i32| {
        let set = format!("update core.served set oldest_program = {oldest}");
        platform.execute(&set).await;
    };
    serves(latest + 1).await;
    let expected = format!(
        "the schema has version {} and serves programs from version {} on, this program has {latest}: use the newer program",
        latest + 7,
        latest + 1
    );
    assert_eq!(refusal().await, expected);
    // A newer schema that says that it serves this program does.
    serves(latest).await;
    platform
        .execute("update core.routines set checksum = 'of a later program'")
        .await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    worker.stop().await;
    // Nobody migrates backwards.
    let error = migrate(&postgres(&platform.database.owner), &[])
        .await
        .unwrap_err();
    let expected = format!(
        "the schema has version {}, this program knows {latest} only: use the newer program",
        latest + 7
    );
    assert_eq!(format!("{error:#}"), expected);

    platform
        .execute(&format!("delete from {history} where version > {latest}"))
        .await;
    // A later program of the same version: what this one has was applied before.
    let worker = platform.worker(&[]);
    worker.ready().await;
    worker.stop().await;

    let empty = TestDatabase::empty(platform.services).await.unwrap();
    let nowhere = platform.worker_by(&empty.worker, &platform.broker.url, &[]);
    let error = nowhere.ended().await.unwrap_err().to_string();
    assert!(error.contains("run `worker migrate`"), "{error}");
}

/// What the doctor finds.
pub async fn doctor(platform: &Platform, database: &SecretUrl, broker: &SecretUrl) -> Vec<Finding> {
    let domains: Vec<_> = catalog().iter().collect();
    let management = platform.services.var("RABBITMQ_MANAGEMENT_URL").unwrap();
    let login = format!(
        "http://{}:{}@",
        platform.services.var("RABBITMQ_USER").unwrap(),
        platform.services.var("RABBITMQ_PASSWORD").unwrap()
    );
    let management = management.replace("http://", &login);
    let places = Places {
        database,
        broker,
        management: Some(&SecretUrl::parse(&management, &["http"]).unwrap()),
        archive: None,
    };
    let findings = examine(places, &domains, schema(database)).await;
    // Whatever is wrong: no password, and never a complaint without a remedy.
    let text = serde_json::to_string(&findings).unwrap();
    for secret in secrets(platform) {
        assert!(!text.contains(&secret), "a password in {text}");
    }
    for finding in &findings {
        assert_eq!(
            finding.remedy.is_none(),
            finding.verdict == Verdict::Ok,
            "{finding:?}"
        );
    }
    findings
}

/// The checks that failed.
pub fn failed(findings: &[Finding]) -> Vec<&str> {
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Fail);
    failed.map(|finding| finding.check.as_str()).collect()
}

fn secrets(platform: &Platform) -> HashSet<String> {
    let urls = [
        &platform.database.owner,
        &platform.database.worker,
        &platform.database.analyst,
        &platform.database.admin,
        &platform.broker.url,
    ];
    let passwords = urls
        .iter()
        .filter_map(|url| Some(url.parse::<url::Url>().unwrap().password()?.to_owned()));
    // Also as a list of bytes, which is how a client library may log it.
    passwords
        .chain(["wrong-secret".to_owned()])
        .flat_map(|password| {
            let bytes = format!("{:?}", password.as_bytes());
            [password, bytes.trim_matches(['[', ']']).to_owned()]
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let platform = Platform::new().await;
    let (database, broker) = (platform.database_url(), platform.broker_url());
    // Without a worker there are no queues yet: a warning, no failure.
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), Vec::<&str>::new());
    let worker = platform.worker(&[]);
    worker.ready().await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), Vec::<&str>::new());
    let warned = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Warn);
    // Old brokers work, but are warned of.
    assert!(
        warned
            .into_iter()
            .all(|finding| finding.check == "broker version"),
        "{findings:?}"
    );
    worker.stop().await;

    let wrong = |url: &str| {
        let mut url: url::Url = url.parse().unwrap();
        url.set_password(Some("wrong-secret")).unwrap();
        SecretUrl::parse(url.as_str(), &["postgres", "amqp"]).unwrap()
    };
    let nowhere = |url: &str| {
        let mut url: url::Url = url.parse().unwrap();
        url.set_port(Some(1)).unwrap();
        SecretUrl::parse(url.as_str(), &["postgres", "amqp"]).unwrap()
    };
    for bad in [
        wrong(&platform.database.worker),
        nowhere(&platform.database.worker),
    ] {
        assert_eq!(
            failed(&doctor(&platform, &bad, &broker).await),
            ["database"]
        );
    }
    for bad in [wrong(&platform.broker.url), nowhere(&platform.broker.url)] {
        assert_eq!(
            failed(&doctor(&platform, &database, &bad).await),
            ["broker"]
        );
    }

    let staging = catalog()[0].entities[0].staging;
    platform
        .execute(&format!("revoke insert on {staging} from acequia_worker"))
        .await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), ["rights"]);
    assert!(
        findings
            .iter()
            .any(|finding| finding.found.contains(staging))
    );
    // What it says to do helps.
    platform
        .execute("update core.routines set checksum = 'other'; delete from core.routine_history")
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["schema"]
    );
    migrate(&postgres(&platform.database.owner), &[])
        .await
        .unwrap();
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        Vec::<&str>::new()
    );

    platform
        .execute("revoke select on core.conservation from acequia_worker")
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["rights", "database"]
    );
    platform
        .execute("grant select on core.conservation to acequia_worker; drop view marts.alumnos_en_riesgo")
        .await;
    let findings = doctor(&platform, &database, &broker).await;
    assert_eq!(failed(&findings), ["schema"]);
    let lacks = findings
        .iter()
        .find(|finding| finding.check == "schema")
        .unwrap();
    assert!(
        lacks.found.contains("view marts.alumnos_en_riesgo"),
        "{lacks:?}"
    );
    let error = format!("{:#}", platform.worker(&[]).ended().await.unwrap_err());
    assert!(error.contains("marts.alumnos_en_riesgo"), "{error}");
    let report = migrate(&postgres(&platform.database.owner), &[])
        .await
        .unwrap();
    assert_eq!(report.routines, ["routines/academico/7_marts.sql"]);
    platform
        .execute("revoke usage on schema core from acequia_worker")
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["schema"]
    );

    let today =
        format!("select to_regclass('{staging}' || to_char(current_date, '\"_p\"YYYYMMDD'))::text");
    let partition = &platform.texts(&today).await[0];
    platform
        .execute(&format!(
            "grant usage on schema core to acequia_worker; drop table {partition}"
        ))
        .await;
    assert_eq!(
        failed(&doctor(&platform, &database, &broker).await),
        ["partitions"]
    );
}

/// The program itself, in a process of its own, with everything in its log.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_stops_on_sigterm_and_the_next_one_finishes() {
    const LOAD: i64 = 5_000;
    let platform = Platform::new().await;
    platform.declare().await;
    platform.publish_all(&alumnos(1..5_001)).await;
    let first = platform.program(&["--batch-max", "20", "--log", "trace"]);
    platform.received(200).await;
    let first = first.terminate().await;
    assert_eq!(
        first.status.code(),
        Some(0),
        "{}",
        last_lines(&first.stderr)
    );
    let between = platform.total().await;
    assert!(
        between.received < LOAD,
        "the load was too small to be stopped in it"
    );
    assert_eq!((between.duplicates, between.unaccounted), (0, 0));

    let second = platform.program(&["--log", "trace", "--log-format", "json"]);
    ready(&second.http).await;
    platform.settled(LOAD).await;
    let second = second.terminate().await;
    assert_eq!(
        second.status.code(),
        Some(0),
        "{}",
        last_lines(&second.stderr)
    );
    let total = platform.total().await;
    assert_eq!(
        (
            total.inserted,
            total.duplicates,
            total.quarantined,
            total.unaccounted
        ),
        (LOAD, 0, 0, 0)
    );
    platform.nothing_is_left_in_the_queues().await;

    for secret in secrets(&platform) {
        for log in [&first.stderr, &second.stderr] {
            let leak = log.lines().find(|line| line.contains(&secret));
            assert_eq!(leak, None, "a password in the log");
        }
    }
    // Names of students are nobody's business either.
    assert!(!first.stderr.contains("Alumno 1") && !second.stderr.contains("Alumno 1"));
    for line in second.stderr.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "not JSON: {line}"
        );
    }
    // A file gets no colours.
    assert!(
        !first.stderr.contains('\u{1b}'),
        "{}",
        last_lines(&first.stderr)
    );
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_names_its_mistakes_without_passwords() {
    let platform = Platform::new().await;
    let wrong = |url: &str| {
        url.replace(
            "postgresql://acequia_worker:",
            "postgresql://acequia_worker:wrong-secret",
        )
        .replace("amqp://", "amqp://x:wrong-secret-")
    };
    let good = (
        platform.database.worker.as_str(),
        platform.broker.url.as_str(),
    );
    let cases = [
        // Arguments, database, broker, exit code, text.
        (
            vec!["run", "--http-addr", "127.0.0.1:0"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["doctor"],
            wrong(good.0),
            good.1.to_owned(),
            1,
            "correct DATABASE_URL",
        ),
        (
            vec!["doctor"],
            good.0.to_owned(),
            wrong(good.1),
            1,
            "correct AMQP_URL",
        ),
        (
            vec!["check"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["refresh"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["migrate"],
            wrong(good.0),
            good.1.to_owned(),
            2,
            "password authentication failed",
        ),
        (
            vec!["run"],
            "http://app:wrong-secret@nowhere".to_owned(),
            good.1.to_owned(),
            2,
            "DATABASE_URL",
        ),
        (
            vec!["run"],
            good.0.to_owned(),
            "wrong-secret".to_owned(),
            2,
            "AMQP_URL",
        ),
        (
            vec!["run", "--domains", "nobody"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "there is no domain nobody",
        ),
        (
            vec!["run", "--batch-max", "0"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "--batch-max",
        ),
        (
            vec!["run", "--orphan-ttl", "soon"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "--orphan-ttl",
        ),
        // Nobody but the owner migrates.
        (
            vec!["migrate"],
            good.0.to_owned(),
            good.1.to_owned(),
            2,
            "must own the database",
        ),
        (
            vec!["health", "--addr", "127.0.0.1:1"],
            good.0.to_owned(),
            good.1.to_owned(),
            1,
            "not ready",
        ),
    ];
    for (arguments, database, broker, code, said) in cases {
        let mut command = program(&arguments);
        command
            .env("DATABASE_URL", &database)
            .env("AMQP_URL", &broker)
            .env("ACEQUIA_LOG", "trace");
        let finished = finish(command).await;
        assert_eq!(
            finished.status.code(),
            Some(code),
            "{arguments:?}: {finished:?}"
        );
        let output = finished.stdout + &finished.stderr;
        assert!(output.contains(said), "{arguments:?}: {output}");
        for secret in secrets(&platform) {
            let leak = output.lines().find(|line| line.contains(&secret));
            assert_eq!(leak, None, "{arguments:?}: a password in the output");
        }
    }
    let finished = finish(program(&["run"])).await;
    assert_eq!(finished.status.code(), Some(2));
    assert!(
        finished.stderr.contains("DATABASE_URL is not set"),
        "{finished:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subcommand_does_what_its_help_says() {
    let help = finish(program(&["--help"])).await;
    assert!(help.status.success());
    let commands: Vec<_> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    for expected in ["migrate", "run", "doctor", "check", "refresh", "health"] {
        assert!(commands.contains(&expected), "{commands:?}");
    }
    for command in commands {
        let help = finish(program(&[command, "--help"])).await;
        assert!(help.status.success(), "{command}: {help:?}");
        assert!(help.stdout.contains("Usage:"), "{command}: {help:?}");
    }

    let platform = Platform::new().await;
    let run = async |arguments: &[&str], database: &str| {
        let mut command = program(arguments);
        command
            .env("DATABASE_URL", database)
            .env("AMQP_URL", &platform.broker.url);
        finish(command).await
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let migrated = run(&["migrate", "--json"], &platform.database.owner).await;
    assert_eq!(migrated.status.code(), Some(0), "{migrated:?}");
    assert_eq!(json(&migrated.stdout)["version"], acequia_schema::latest());
    for command in ["check", "refresh", "doctor"] {
        let finished = run(&[command], &platform.database.worker).await;
        assert_eq!(finished.status.code(), Some(0), "{command}: {finished:?}");
    }
    let checked = json(
        &run(&["check", "--json"], &platform.database.worker)
            .await
            .stdout,
    );
    let rules = platform
        .number("select count(*) from core.dq_rules where enabled")
        .await;
    assert_eq!(
        checked.as_array().map(Vec::len),
        usize::try_from(rules).ok()
    );
    assert!(
        json(
            &run(&["doctor", "--json"], &platform.database.worker)
                .await
                .stdout
        )
        .is_array()
    );

    let worker = platform.worker(&[]);
    let health = run(&["health", "--addr", &worker.http, "--wait", "60s"], "").await;
    assert_eq!(
        (health.status.code(), health.stdout.as_str()),
        (Some(0), "ready\n")
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_settings_names_the_defaults_of_the_program() {
    let help = finish(program(&["run", "--help"])).await.stdout;
    let defaults: Vec<_> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| {
            let (name, rest) = rest.split_once(']')?;
            let default = rest.trim_start().strip_prefix("[default: ")?;
            Some((name.trim_end_matches('='), default.split(']').next()?))
        })
        .filter(|(_, default)| *default != "\"\"")
        .collect();
    assert!(defaults.len() > 12, "{defaults:?}");
    let page = include_str!("../../../docs/operations.md");
    for (name, default) in defaults {
        let row = page
            .lines()
            .find(|line| line.starts_with("| ") && line.contains(&format!("`{name}`")))
            .unwrap_or_else(|| panic!("{name} is not among the settings"));
        let said = row.split('|').nth(2).unwrap().trim();
        assert!(
            said.split(", ")
                .any(|said| said.trim_matches('`') == default),
            "{name} is {default}, the page says {said}"
        );
    }
}
