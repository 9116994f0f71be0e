//! Actions of an operator: migrate, inspect, start, stop.

mod checks;
mod commands;
mod programs;
mod schema;

use std::collections::HashSet;

use acequia_contracts::catalog;
use acequia_net::SecretUrl;
use acequia_ops::doctor::{Finding, Places, Verdict, examine};
use acequia_worker::cli::doctor::schema;

use crate::support::Platform;

fn postgres(url: &str) -> SecretUrl {
    SecretUrl::parse(url, &["postgres"]).unwrap()
}

/// The doctor's findings.
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
