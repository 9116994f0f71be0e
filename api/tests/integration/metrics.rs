//! The page at /metrics against its specification, `prometheus/metrics.yml`.

use std::collections::BTreeSet;

use acequia_api::auth::Role;
use acequia_api::problem::Code;
use acequia_api::routes::{document, routes_of};
use acequia_contracts::catalog;
use acequia_testkit::metrics::{Page, Sources, Spec};
use acequia_testkit::wait_for;
use serde_json::json;

use crate::quarantine::refused;
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_what_the_specification_says_whatever_is_called() {
    let (platform, api) = Platform::new().await;
    let spec = Spec::read().unwrap();
    let mut last = Vec::new();
    let same = wait_for("the page of the specification", async || {
        last = spec.differences("api", &page(&platform).await, &sources());
        Ok(last.is_empty())
    });
    let same = same.await.is_ok();
    assert!(same, "{}", last.join("\n"));

    // Nothing that a caller chooses becomes a label.
    let before = names(&platform).await;
    for (method, path) in [
        ("GET", "/planted7c1f"),
        ("PLANTED7C1F", "/v1/marts"),
        ("PUT", "/v1/marts"),
        ("HEAD", "/livez"),
        ("GET", "/v1/marts/planted7c1f?planted7c1f=1"),
        ("OPTIONS", "/v1/messages/planted7c1f/planted7c1f"),
    ] {
        platform.call(method, path, &[], "").await;
    }
    assert_eq!(names(&platform).await, before);
    let live = [("method", "GET"), ("route", "/livez"), ("status", "2xx")];
    let page = page(&platform).await;
    assert_eq!(page.value("acequia_api_calls_total", &live), Some(1.0));
    let denied = [("code", "unauthenticated")];
    let denied = page.value("acequia_api_problems_total", &denied);
    assert_eq!(denied, Some(1.0), "one call without a token");
    api.stop().await;
}

/// An operation that no process can carry out shows, and one that has ended shows no more.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_actions_that_wait_are_counted() {
    let (platform, api) = Platform::new().await;
    refused(&platform).await;
    let operator = platform.token(Role::Operator, None).await;
    let slow = json!({"all": true, "reason": "slowly", "rate": 1});
    let asked = platform
        .post(&operator, "/v1/quarantine/replay", &slow)
        .await
        .is(202);
    let running = async || {
        let page = page(&platform).await;
        page.value("acequia_api_operations", &[("state", "running")])
    };
    wait_for("an operation on the page", async || {
        Ok(running().await == Some(1.0))
    })
    .await
    .unwrap();
    let cancel = format!("/v1/operations/{}/cancel", asked["operation_id"]);
    platform
        .post(&operator, &cancel, &json!(null))
        .await
        .is(200);
    wait_for("no operation on the page", async || {
        Ok(running().await == Some(0.0))
    })
    .await
    .unwrap();
    let silence = page(&platform)
        .await
        .value("acequia_api_operations_silence_seconds", &[]);
    assert!(silence < Some(1.0), "{silence:?}");
    api.stop().await;
}

async fn page(platform: &Platform) -> Page {
    let answer = platform.call("GET", "/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    Page::parse(&answer.text).unwrap()
}

/// Every series of the page, without values.
async fn names(platform: &Platform) -> BTreeSet<String> {
    let page = page(platform).await;
    let series = page.families.into_values().flat_map(|family| family.series);
    series
        .map(|series| format!("{} {:?}", series.name, series.labels))
        .collect()
}

/// Allowed values of the labels.
fn sources() -> Sources {
    let document = document();
    let routes: Vec<_> = routes_of(&document).collect();
    let unique = |names: Vec<String>| -> Vec<String> {
        let names: BTreeSet<_> = names.into_iter().collect();
        names.into_iter().collect()
    };
    let methods = routes.iter().map(|(method, _)| method.clone());
    let paths = routes.iter().map(|(_, path)| path.clone());
    Sources::from([
        (
            "api_method",
            unique(methods.chain(["(other)".to_owned()]).collect()),
        ),
        (
            "api_route",
            unique(
                paths
                    .chain(["/openapi.json".to_owned(), "(none)".to_owned()])
                    .collect(),
            ),
        ),
        (
            "problem_code",
            Code::ALL
                .iter()
                .map(|code| code.as_str().to_owned())
                .collect(),
        ),
        (
            "domain",
            catalog().iter().map(|one| one.name.to_owned()).collect(),
        ),
        ("program", vec!["api".to_owned()]),
        ("version", vec![env!("CARGO_PKG_VERSION").to_owned()]),
    ])
}
