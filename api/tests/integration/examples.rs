//! The programs of `examples/` do what their page says.

use std::process::{Command, Output};

use acequia_api::auth::Role;
use acequia_testkit::root;

use crate::support::Platform;

/// A program's output for the sample, as the page has it.
fn expected() -> String {
    let page = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    let block = page
        .split("```\n")
        .find(|block| block.starts_with("line 2"));
    block.unwrap().to_owned()
}

async fn run(
    program: &str,
    script: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(program);
    command.current_dir(root().join("examples"));
    command.arg(script).args(arguments);
    command.envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// A program sends the sample twice; then it shows the faults of an invalid message.
async fn walk(program: &str, script: &str) {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, Some(&["consumo"])).await;
    let base = format!("http://{}", platform.api);
    let by = |token: &str| {
        [
            ("ACEQUIA_URL", base.clone()),
            ("ACEQUIA_TOKEN", token.to_owned()),
        ]
    };
    let sample = ["consumo", "cliente", "clientes.ndjson"];
    let run = async |arguments: &[&str], token: &str| {
        let variables = by(token);
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        run(program, script, arguments, &variables).await
    };
    for _ in 0..2 {
        let output = run(&sample, &token).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected(),
            "{output:?}"
        );
    }
    assert_eq!(
        platform
            .number("select count(*) from consumo.clientes")
            .await,
        2
    );
    let stranger = run(&sample, "acq_nothing").await;
    assert_eq!(stranger.status.code(), Some(2), "{stranger:?}");
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert!(said.starts_with("unauthenticated: "), "{said}");
    let nothing = run(&["consumo", "cliente", "nothing.ndjson"], &token).await;
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    let usage = run(&[], &token).await;
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    worker.stop().await;
    api.stop().await;
    let away = run(&sample, &token).await;
    assert_eq!(away.status.code(), Some(2), "{away:?}");
    assert!(!away.stderr.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_sends_and_follows() {
    walk("python3", "send.py").await;
}

/// Where there is no Node of that age there is nothing to run.
#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_example_sends_and_follows() {
    let version = Command::new("node").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let major = version.ok().and_then(|text| {
        let major = text.trim_start_matches('v').split('.').next()?;
        major.parse::<u32>().ok()
    });
    if major.is_some_and(|major| major >= 20) {
        walk("node", "send.mjs").await;
    }
}
