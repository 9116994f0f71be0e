//! Every subcommand, and the page of settings.

use crate::support::Platform;
use crate::support::program::{finish, program};

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
    let page = include_str!("../../../../docs/operations.md");
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
