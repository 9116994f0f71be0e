//! Every setting has a range, which the page shows; a value outside of it ends the program at its
//! start.

use acequia_args::{Limits, duration, size};
use acequia_worker::config::LoopArgs;
use acequia_worker::settings::LIMITS;
use clap::{Args as _, Command, Parser};

use crate::support::program::{finish, program};

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    _loops: LoopArgs,
}

/// Settings of `worker run` that are no number, time or size, each with what it may not be.
const OTHERS: &[(&str, &[&str])] = &[
    (
        "HTTP_ADDR",
        &["", "nowhere", "127.0.0.1", "127.0.0.1:70000", "9464"],
    ),
    ("DOMAINS", &[]),
    ("ARCHIVE_URL", &[]),
    ("ARCHIVE_DATABASE_URL", &[]),
    ("ARCHIVE_DATABASE_URL_FILE", &[]),
    (
        "ARCHIVE_SCHEDULE",
        &[
            "never",
            "61 * * * *",
            "* * *",
            "30 3 * * * * * *",
            "@midnightly",
        ],
    ),
];

/// Read from the environment before there is a command line.
const OF_THE_RUNTIME: &str = "TOKIO_WORKER_THREADS";

/// Just below and just above the range; nothing below 0.
fn outside(limits: &Limits) -> Vec<String> {
    let by = |read: &dyn Fn(&str) -> Option<u128>, unit: &str| {
        let (least, most) = (read(limits.least).unwrap(), read(limits.most).unwrap());
        let below = least.checked_sub(1).map(|below| format!("{below}{unit}"));
        let above = Some(format!("{}{unit}", most + 1));
        below.into_iter().chain(above).collect()
    };
    let time = |text: &str| duration(text).ok().map(|time| time.as_millis());
    let bytes = |text: &str| size(text).ok().map(|bytes| bytes as u128);
    if time(limits.least).is_some() {
        by(&time, "ms")
    } else {
        by(&bytes, "")
    }
}

const GARBAGE: &[&str] = &[
    "",
    " ",
    "-1",
    "-1s",
    "much",
    "NaN",
    "1e3",
    "0x10",
    "1.5",
    "1.5s",
    "7 weeks",
    "999999999999999d",
    "99999999999999999999999999",
    "18446744073709551615d",
    "9223372036854775808",
    "1;2",
    "\u{661}",
];

fn option(name: &str) -> String {
    format!("--{}", name.to_lowercase().replace('_', "-"))
}

fn refused(name: &str, value: &str) -> String {
    let arguments = ["worker".to_owned(), format!("{}={value}", option(name))];
    let outcome = Settings::try_parse_from(arguments);
    let said = outcome.map_or_else(
        |error| error.to_string(),
        |taken| panic!("{name}={value:?}: {taken:?}"),
    );
    assert!(said.contains(&option(name)), "{name}={value}: {said}");
    assert!(said.contains(value), "{name}={value}: {said}");
    said
}

#[test]
fn below_above_and_garbage_are_refused_with_the_range() {
    for limits in LIMITS.iter().filter(|limits| limits.name != OF_THE_RUNTIME) {
        let Limits { name, least, most } = limits;
        let around = outside(limits);
        assert!(!around.is_empty(), "{name}");
        for value in around
            .iter()
            .map(String::as_str)
            .chain(GARBAGE.iter().copied())
        {
            let said = refused(name, value);
            // Clap has its own words for nothing at all.
            let range = format!("{name} is from {least} to {most}");
            assert!(
                value.is_empty() || said.contains(&range),
                "{name}={value}: {said}"
            );
        }
        for value in [least, most] {
            let arguments = ["worker".to_owned(), format!("{}={value}", option(name))];
            assert!(
                Settings::try_parse_from(arguments).is_ok(),
                "{name}={value}"
            );
        }
    }
    for (name, wrong) in OTHERS {
        for value in *wrong {
            refused(name, value);
        }
    }
}

#[test]
fn no_setting_is_without_a_range() {
    let command = LoopArgs::augment_args(Command::new("worker"));
    let known: Vec<_> = (LIMITS.iter().map(|limits| limits.name))
        .chain(OTHERS.iter().map(|(name, _)| *name))
        .collect();
    let mut found = vec![OF_THE_RUNTIME.to_owned()];
    for argument in command.get_arguments() {
        let variable = argument.get_env().and_then(|name| name.to_str());
        let name = variable.unwrap_or_else(|| panic!("{} has no variable", argument.get_id()));
        assert!(known.contains(&name), "{name} has no range");
        found.push(name.to_owned());
    }
    found.sort();
    let mut known = known;
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn the_page_shows_the_ranges() {
    let page = include_str!("../../../docs/operations.md");
    for Limits { name, least, most } in LIMITS {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not among the settings"));
        let range = row.split('|').nth(3).unwrap_or_default().trim();
        assert_eq!(range, format!("{least} to {most}"), "{name}");
    }
}

/// The program itself, as it is set by its environment: status 2, one reason, no panic.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_does_not_start() {
    let run: &[&str] = &["run"];
    let cases: &[(&[&str], &str, &str, &str)] = &[
        (run, "PROMOTE_MAX", "0", "PROMOTE_MAX is from 1 to 10000000"),
        (
            run,
            "STAGED_MAX",
            "-1",
            "STAGED_MAX is from 1 to 1000000000",
        ),
        (run, "POLL_EVERY", "0s", "POLL_EVERY is from 10ms to 1h"),
        (run, "HOLD_MAX", "3h", "HOLD_MAX is from 1s to 25m"),
        (
            run,
            "HOLD_MAX",
            "999999999999999d",
            "HOLD_MAX is from 1s to 25m",
        ),
        (run, "BATCH_MAX", "21846", "BATCH_MAX is from 1 to 20000"),
        (
            run,
            "BATCH_BYTES",
            "0",
            "BATCH_BYTES is from 64KiB to 256MiB",
        ),
        (
            run,
            "QUARANTINE_KEEP",
            "36501d",
            "QUARANTINE_KEEP is from 0s to 36500d",
        ),
        (run, "DOMAINS", "", "DOMAINS has an empty name"),
        (run, "DOMAINS", ",", "DOMAINS has an empty name"),
        (
            run,
            "DOMAINS",
            "consumo,,academico",
            "DOMAINS has an empty name",
        ),
        (
            run,
            "DOMAINS",
            "consumo,academico,consumo",
            "DOMAINS names consumo twice",
        ),
        (
            run,
            "DOMAINS",
            "consumo, consumo",
            "DOMAINS names consumo twice",
        ),
        (run, "DOMAINS", "nobody", "there is no domain nobody"),
        (run, "HTTP_ADDR", "nowhere", "--http-addr"),
        (
            run,
            "ARCHIVE_SCHEDULE",
            "never",
            "must be a cron expression",
        ),
        (
            run,
            "TOKIO_WORKER_THREADS",
            "0",
            "TOKIO_WORKER_THREADS is from 1 to 1024",
        ),
        (
            run,
            "TOKIO_WORKER_THREADS",
            "-1",
            "TOKIO_WORKER_THREADS is from 1 to 1024",
        ),
        (
            run,
            "TOKIO_WORKER_THREADS",
            "many",
            "TOKIO_WORKER_THREADS is from 1 to 1024",
        ),
        (run, "LOG_FORMAT", "xml", "--log-format"),
        (run, "ACEQUIA_LOG", "worker=loud", "ACEQUIA_LOG"),
        (
            &["health", "--wait", "999999999999999d"],
            "NOTHING",
            "",
            "--wait is from 0s to 1d",
        ),
        (
            &["trace", "17", "--timeout", "0s"],
            "NOTHING",
            "",
            "--timeout is from 1ms to 1d",
        ),
        (
            &["trace", "17", "--timeout", "30d"],
            "NOTHING",
            "",
            "--timeout is from 1ms to 1d",
        ),
        (
            &["gate", "open", "--for", "999999999999999d", "--reason", "x"],
            "NOTHING",
            "",
            "--for is from 1s to 365d",
        ),
        (
            &["archive", "--older-than", "999999999999999d"],
            "NOTHING",
            "",
            "must be at most 36500d",
        ),
        (
            &["quarantine", "list", "--since", "999999999999999d"],
            "NOTHING",
            "",
            "--since",
        ),
    ];
    for (arguments, name, value, said) in cases {
        let mut command = program(arguments);
        // No server listens there: a program that gets this far has accepted its arguments.
        command
            .env("DATABASE_URL", "postgres://u@127.0.0.1:1/x")
            .env("AMQP_URL", "amqp://u:p@127.0.0.1:1/%2f")
            .env(name, value);
        let finished = finish(command).await;
        let stderr = &finished.stderr;
        assert_eq!(finished.status.code(), Some(2), "{name}={value}: {stderr}");
        assert!(stderr.contains(said), "{name}={value}: {stderr}");
        assert!(!stderr.contains("panic"), "{name}={value}: {stderr}");
    }
}
