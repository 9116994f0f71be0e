//! Access: sessions of people, limits, the command line.

use acequia_api::auth::Role;
use acequia_api::cli::{token, user};
use acequia_api::config::ServeArgs;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::support::{Answer, Platform};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Token {
        #[command(subcommand)]
        command: token::Command,
    },
    User {
        #[command(subcommand)]
        command: user::Command,
    },
}

#[derive(Debug, Parser)]
struct Serve {
    #[command(flatten)]
    settings: ServeArgs,
}

/// Runs a command; whether it ended well, or its error.
async fn run(platform: &Platform, words: &[&str]) -> Result<bool, String> {
    let mut all = vec!["api"];
    all.extend(words);
    all.extend(["--database-url", &platform.database.api]);
    let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
    let code = match cli.command {
        Command::Token { command } => token::execute(command).await,
        Command::User { command } => user::execute(command).await,
    };
    let code = code.map_err(|error| format!("{error:#}"))?;
    Ok(format!("{code:?}") == format!("{:?}", std::process::ExitCode::SUCCESS))
}

async fn person(platform: &Platform, name: &str, password: &str, role: &str) {
    let file = std::env::temp_dir().join(format!("acequia-{}", uuid::Uuid::now_v7()));
    std::fs::write(&file, password).unwrap();
    let words = [
        "user",
        "add",
        name,
        "--role",
        role,
        "--password-file",
        file.to_str().unwrap(),
    ];
    assert_eq!(run(platform, &words).await, Ok(true));
    std::fs::remove_file(file).unwrap();
}

async fn login(platform: &Platform, name: &str, password: &str) -> Answer {
    let body = json!({"name": name, "password": password}).to_string();
    platform
        .call(
            "POST",
            "/v1/session",
            &[("content-type", "application/json")],
            &body,
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_acts_from_the_console_only_and_logs_out() {
    let (platform, api) = Platform::new().await;
    person(&platform, "ana", "correct horse battery", "operator").await;
    login(&platform, "ana", "wrong")
        .await
        .is_problem(401, "wrong_password");
    login(&platform, "nobody", "correct horse battery")
        .await
        .is_problem(401, "wrong_password");
    let answer = login(&platform, "ana", "correct horse battery").await;
    assert_eq!(answer.is(200)["role"], "operator");
    let set = answer.header("set-cookie").to_owned();
    assert!(
        set.contains("HttpOnly; SameSite=Lax") && set.starts_with("acequia_session="),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap();
    let call = async |method: &str, path: &str, site: Option<&str>, body: &Value| {
        let mut headers = vec![("cookie", cookie), ("content-type", "application/json")];
        headers.extend(site.map(|site| ("sec-fetch-site", site)));
        platform
            .call(method, path, &headers, &body.to_string())
            .await
    };
    let me = call("GET", "/v1/session", None, &Value::Null).await.is(200);
    assert_eq!((&me["name"], &me["kind"]), (&json!("ana"), &json!("user")));
    let dry = json!({"all": true, "dry_run": true});
    for other in [None, Some("cross-site"), Some("same-site")] {
        call("POST", "/v1/quarantine/discard", other, &dry)
            .await
            .is_problem(403, "cross_site");
    }
    call("POST", "/v1/quarantine/discard", Some("same-origin"), &dry)
        .await
        .is(200);
    // The hash of a password and of a cookie is all that is kept.
    let kept = "select count(*) from core.api_people p join core.api_sessions s using (name)
        where p.password_hash like '$argon2id$%' and octet_length(s.session_hash) = 32";
    assert_eq!(platform.number(kept).await, 1);
    call("DELETE", "/v1/session", Some("same-origin"), &Value::Null)
        .await
        .is(204);
    call("GET", "/v1/session", None, &Value::Null)
        .await
        .is_problem(401, "unauthenticated");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_idle_or_its_time_is_over() {
    let (platform, api) = Platform::with(&["--session-hours", "4"]).await;
    person(&platform, "ana", "correct horse battery", "viewer").await;
    for end in [
        "update core.api_sessions set last_seen_at = now() - interval '61 minutes'",
        "update core.api_sessions set expires_at = now()",
    ] {
        let answer = login(&platform, "ana", "correct horse battery").await;
        let cookie = answer
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        platform.execute(end).await;
        let me = platform
            .call("GET", "/v1/session", &[("cookie", &cookie)], "")
            .await;
        me.is_problem(401, "expired");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_are_told_when_to_come_back() {
    let (platform, api) = Platform::with(&["--rate", "5"]).await;
    let token = platform.token(Role::Viewer, None).await;
    // Side by side: one after the other they may take longer than the bucket needs to fill.
    let calls = (0..40).map(|_| platform.get(&token, "/v1/domains"));
    let answers = futures_util::future::join_all(calls).await;
    let refused = answers.iter().find(|answer| answer.status == 429);
    let refused = refused.expect("a refusal");
    refused.is_problem(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    // Others are not concerned.
    let other = platform.token(Role::Viewer, None).await;
    platform.get(&other, "/v1/domains").await.is(200);
    let logins = (0..10).map(|_| login(&platform, "nobody", "wrong"));
    let answers = futures_util::future::join_all(logins).await;
    let codes: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert!(codes.contains(&401) && codes.contains(&429), "{codes:?}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_and_revoked_by_command_and_by_route() {
    let (platform, api) = Platform::new().await;
    assert_eq!(
        run(
            &platform,
            &[
                "token",
                "create",
                "--name",
                "crm",
                "--role",
                "publisher",
                "--domain",
                "consumo"
            ]
        )
        .await,
        Ok(true)
    );
    let twice = run(
        &platform,
        &["token", "create", "--name", "crm", "--role", "viewer"],
    )
    .await;
    assert!(twice.unwrap_err().contains("revoke it first"));
    for wrong in [["--domain", "nowhere"], ["--days", "0"], ["--rate", "0"]] {
        let mut words = vec!["token", "create", "--name", "x", "--role", "viewer"];
        words.extend(wrong);
        assert!(run(&platform, &words).await.is_err(), "{wrong:?}");
    }
    assert_eq!(run(&platform, &["token", "list", "--json"]).await, Ok(true));
    assert_eq!(run(&platform, &["token", "revoke", "crm"]).await, Ok(true));
    assert_eq!(run(&platform, &["token", "revoke", "crm"]).await, Ok(false));

    let admin = platform.token(Role::Admin, None).await;
    let made = platform
        .post(
            &admin,
            "/v1/tokens",
            &json!({"name": "van", "role": "viewer", "days": 1}),
        )
        .await
        .is(201);
    let secret = made["secret"].as_str().unwrap();
    platform.get(secret, "/v1/domains").await.is(200);
    platform
        .post(
            &admin,
            "/v1/tokens",
            &json!({"name": "van", "role": "viewer"}),
        )
        .await
        .is_problem(409, "conflict");
    let listed = platform.get(&admin, "/v1/tokens").await;
    assert!(listed.text.contains("\"van\"") && !listed.text.contains(secret));
    let bearer = format!("Bearer {admin}");
    let path = format!("/v1/tokens/{}", made["token"]["token_id"]);
    platform
        .call("DELETE", &path, &[("authorization", &bearer)], "")
        .await
        .is(200);
    platform
        .get(secret, "/v1/domains")
        .await
        .is_problem(401, "unauthenticated");
    platform
        .call("DELETE", &path, &[("authorization", &bearer)], "")
        .await
        .is_problem(404, "not_found");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_read_strictly() {
    let (platform, api) = Platform::with(&["--body-max-mib", "1"]).await;
    let token = platform.token(Role::Admin, None).await;
    let large = json!({"reason": "x".repeat(2 << 20)});
    platform
        .post(&token, "/v1/quarantine/discard", &large)
        .await
        .is_problem(413, "too_large");
    let unknown = json!({"reason": "x", "al": true});
    let problem = platform
        .post(&token, "/v1/quarantine/discard", &unknown)
        .await
        .is_problem(400, "invalid_body");
    assert!(
        problem["detail"].as_str().unwrap().contains("`al`"),
        "{problem}"
    );
    api.stop().await;
}

#[test]
fn other_machines_are_served_by_tls_only() {
    let check = |words: &[&str]| {
        let words = ["api"].iter().chain(words);
        Serve::try_parse_from(words)
            .unwrap()
            .settings
            .check()
            .map_err(|error| error.to_string())
    };
    assert_eq!(check(&[]), Ok(()));
    assert!(
        check(&["--http-addr", "0.0.0.0:8080"])
            .unwrap_err()
            .contains("--behind-tls")
    );
    assert_eq!(
        check(&["--http-addr", "0.0.0.0:8080", "--behind-tls"]),
        Ok(())
    );
    assert_eq!(check(&["--http-addr", "[::1]:8080"]), Ok(()));
}
