//! The OpenAPI document describes every route truly: a new route is covered automatically.

use acequia_api::auth::{Right, Role};
use acequia_api::routes;
use acequia_contracts::catalog;
use serde_json::{Value, json};

use crate::quarantine::refused;
use crate::support::{Answer, Platform};

/// A route of the document.
struct Route {
    method: String,
    path: String,
    /// The right that it requires; none for routes without authentication.
    right: Option<String>,
    /// The domain that it belongs to, where it is of one.
    domain: Option<String>,
    parameters: Vec<String>,
    /// Required query parameters.
    required: Vec<String>,
    body: bool,
}

fn all() -> Vec<Route> {
    let document = serde_json::to_value(routes::document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["operationId"].is_null() {
                continue;
            }
            let parameters = || operation["parameters"].as_array().into_iter().flatten();
            let name = |parameter: &Value| Some(parameter["name"].as_str()?.to_owned());
            all.push(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                right: operation["x-acequia-right"].as_str().map(ToOwned::to_owned),
                domain: operation["tags"][0]
                    .as_str()
                    .filter(|tag| acequia_contracts::domain(tag).is_some())
                    .map(ToOwned::to_owned),
                parameters: parameters().filter_map(name).collect(),
                required: parameters()
                    .filter(|one| one["in"] == "query" && one["required"] == true)
                    .filter_map(name)
                    .collect(),
                body: operation["requestBody"].is_object(),
            });
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

fn guarded() -> impl Iterator<Item = Route> {
    all().into_iter().filter(|route| route.right.is_some())
}

impl Route {
    /// A call of it about domain `academico`, which exists, with a mart, an entity and a row of that domain; or about its own
    /// domain.
    async fn call(&self, platform: &Platform, token: Option<&str>) -> Answer {
        let mut path = self.path.clone();
        let values = [
            ("domain", "academico"),
            ("entity", "alumno"),
            ("mart", "marts.kpi_materia"),
            ("key", "1"),
            ("id", "1"),
            ("name", "nobody"),
            ("propietario_id", "CLI_00001"),
            ("fecha_inicio", "2024-06-10"),
            ("fecha_fin", "2024-06-10"),
        ];
        for (name, value) in values {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        assert!(
            !path.contains('{'),
            "{path}: give the parameter a value here"
        );
        if self.parameters.iter().any(|name| name == "domain") && !self.path.contains("{domain}") {
            path.push_str("?domain=academico");
        }
        for name in &self.required {
            let found = values.iter().find(|(known, _)| known == name);
            let (_, value) = found.unwrap_or_else(|| panic!("{path}: give {name} a value here"));
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&format!("{name}={value}"));
        }
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        let body = if self.body {
            self.example()
        } else {
            Value::Null
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        platform.call(&self.method, &path, &headers, &body).await
    }

    /// A body about domain `academico` that has no effect.
    fn example(&self) -> Value {
        match self.path.as_str() {
            path if path.starts_with("/v1/quarantine") => {
                json!({"filter": {"domain": ["academico"]}, "dry_run": true})
            }
            path if path.starts_with("/v1/gates") => {
                json!({"marts": ["marts.kpi_materia"], "reason": "test"})
            }
            path if path.starts_with("/v1/streams") => json!({"reason": "test"}),
            "/v1/archives/archive" => {
                json!({"table": "academico.calificaciones", "dry_run": true})
            }
            "/v1/archives/restore" => {
                json!({"table": "academico.calificaciones", "from": "2024-01", "to": "2024-12", "dry_run": true})
            }
            path if path.starts_with("/v1/operations") => json!({"reason": "test"}),
            path if path.starts_with("/v1/messages") => {
                json!({"id_alumno": 1, "nombre": "Ana", "edad": 20, "genero": "F"})
            }
            "/v1/tokens" => json!({"name": "x", "role": "viewer"}),
            "/v1/people" => {
                json!({"name": "x", "role": "viewer", "password": "long enough to be one"})
            }
            "/v1/people/{name}/password" => json!({"password": "long enough to be one"}),
            _ => {
                json!({"password": "long enough to be one", "new_password": "long enough to be one"})
            }
        }
    }
}

#[test]
fn the_document_names_a_right_of_every_guarded_route() {
    let open: Vec<_> = all()
        .into_iter()
        .filter(|route| route.right.is_none())
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let expected = [
        "GET /",
        "GET /health",
        "GET /livez",
        "GET /metrics",
        "GET /readyz",
        "POST /v1/session",
    ];
    let mut open = open;
    open.sort();
    assert_eq!(open, expected);
    for route in guarded() {
        let of_a_domain = route.domain.is_some();
        assert_ne!(
            route.path.starts_with("/v1/"),
            of_a_domain,
            "{}: routes of one domain say so, and are no routes of the platform",
            route.path
        );
    }
}

/// `UPDATE_OPENAPI=1` writes it.
#[test]
fn the_copy_of_the_document_is_what_the_code_says() {
    let file = acequia_testkit::root().join("api/openapi.json");
    let is = serde_json::to_string_pretty(&routes::document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&file, &is).unwrap();
    }
    let said = std::fs::read_to_string(&file).unwrap();
    assert!(
        is == said,
        "api/openapi.json differs: UPDATE_OPENAPI=1 writes it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_who_is_not_known_or_not_any_more() {
    let (platform, api) = Platform::new().await;
    let expired = platform.token(Role::Admin, None).await;
    platform
        .execute("update core.api_tokens set created_at = now() - interval '2 days', expires_at = now() - interval '1 second'")
        .await;
    let revoked = platform.token(Role::Admin, None).await;
    platform
        .execute("update core.api_tokens set revoked_at = now(), revoked_by = 'test' where expires_at > now()")
        .await;
    for route in guarded() {
        let name = format!("{} {}", route.method, route.path);
        let answer = route.call(&platform, None).await;
        assert_eq!(answer.status, 401, "{name} without a token: {answer:?}");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{name}"
        );
        answer.is_problem(401, "unauthenticated");
        route
            .call(&platform, Some("acq_made_up"))
            .await
            .is_problem(401, "unauthenticated");
        route
            .call(&platform, Some(&revoked))
            .await
            .is_problem(401, "unauthenticated");
        route
            .call(&platform, Some(&expired))
            .await
            .is_problem(401, "expired");
    }
    // Every one of them is in the record.
    acequia_testkit::wait_for("denied calls in the record", async || {
        let denied = platform
            .number("select count(*) from core.api_calls where status = 401 and code is not null and who is null")
            .await;
        Ok(denied == 4 * i64::try_from(guarded().count())?)
    })
    .await
    .unwrap();
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_a_role_without_its_right() {
    let (platform, api) = Platform::new().await;
    for role in Role::ALL {
        let token = platform.token(role, None).await;
        for route in guarded() {
            let rights = [
                Right::Look,
                Right::Rows,
                Right::Publish,
                Right::Operate,
                Right::Administer,
            ];
            let named = route.right.clone().unwrap();
            let right = rights
                .into_iter()
                .find(|right| right.as_str() == named)
                .expect(&named);
            if role.may(right) {
                continue;
            }
            let answer = route.call(&platform, Some(&token)).await;
            let problem = answer.is_problem(403, "role_insufficient");
            assert!(problem["detail"].as_str().unwrap().contains(role.as_str()));
        }
    }
    api.stop().await;
}

/// Something of domain `academico` for each list to show.
async fn fill(platform: &Platform) {
    refused(platform).await;
    let worker = platform.worker().await;
    let results = "select count(*) from core.dq_results where domain = 'academico'";
    acequia_testkit::wait_for("results of rules", async || {
        Ok(platform.number(results).await > 0)
    })
    .await
    .unwrap();
    worker.stop().await;
    platform
        .execute(
            "insert into core.operations (kind, who, domains, filters, matched, through_id) values ('discard', 'x', '{academico}', '{}', 0, 0);
             insert into core.archives (table_name, domain, partition_name, granularity, from_at, to_at, object_path, manifest_path, bytes_hot, key_columns, state, row_count, checksum, archived_at)
             values ('academico.calificaciones', 'academico', 'p', 'month', now() - interval '2 months', now() - interval '1 month', 'o', 'm', 1, '{id}', 'archived', 1, 'c', now())",
        )
        .await;
}

/// Lists that name no domain here: logins, decisions of people, and gates, since no rule fails.
const WITHOUT_DOMAINS: [&str; 5] = [
    "/v1/people",
    "/v1/session",
    "/v1/tokens",
    "/v1/audit",
    "/v1/gates",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_keeps_to_the_domains_of_its_caller() {
    let (platform, api) = Platform::new().await;
    fill(&platform).await;
    let token = platform.token(Role::Admin, Some(&["consumo"])).await;
    for route in guarded() {
        let name = format!("{} {}", route.method, route.path);
        if route.path.starts_with("/v1/session") || route.path == "/v1/events" {
            continue; // about the caller; for the scope of the stream see quarantine
        }
        let answer = route.call(&platform, Some(&token)).await;
        if matches!(answer.status, 403 | 404) {
            let code = answer.json()["code"].clone();
            assert!(
                code == "foreign_domain" || code == "not_found",
                "{name}: {answer:?}"
            );
            continue;
        }
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(!answer.text.contains("academico"), "{name}: {answer:?}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_a_domain_is_foreign_to_callers_of_another() {
    let (platform, api) = Platform::new().await;
    let mut found = 0;
    for route in guarded() {
        let Some(own) = &route.domain else { continue };
        let other = catalog().iter().find(|domain| domain.name != own).unwrap();
        let token = platform.token(Role::Admin, Some(&[other.name])).await;
        route
            .call(&platform, Some(&token))
            .await
            .is_problem(403, "foreign_domain");
        found += 1;
    }
    assert!(found > 10, "{found}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_within_the_scope_when_no_domain_is_named() {
    let (platform, api) = Platform::new().await;
    fill(&platform).await;
    let token = platform.token(Role::Admin, Some(&["consumo"])).await;
    let all = platform.token(Role::Admin, None).await;
    let call = "/v1/messages/academico/alumno?dry_run=true";
    let body = json!({"id_alumno": 1, "nombre": "Ana", "edad": 20, "genero": "F"});
    platform.post(&all, call, &body).await.is(200);
    acequia_testkit::wait_for("the call in the record", async || {
        let calls = "select count(*) from core.api_calls where domain = 'academico'";
        Ok(platform.number(calls).await > 0)
    })
    .await
    .unwrap();
    for route in guarded().filter(|route| route.method == "GET" && !route.path.contains('{')) {
        if route.path == "/v1/events" || route.domain.is_some() {
            continue;
        }
        let seen = platform.get(&all, &route.path).await;
        assert!(
            seen.text.contains("academico") || WITHOUT_DOMAINS.contains(&route.path.as_str()),
            "{} shows nothing of the domain to a caller who may see it: {seen:?}",
            route.path
        );
        let answer = platform.get(&token, &route.path).await;
        assert!(
            matches!(answer.status, 200 | 403),
            "{}: {answer:?}",
            route.path
        );
        assert!(
            !answer.text.contains("academico"),
            "{}: {answer:?}",
            route.path
        );
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_and_what_is_not_in_it_is_refused() {
    let (platform, api) = Platform::new().await;
    let served = platform.call("GET", "/openapi.json", &[], "").await.is(200);
    assert_eq!(served, serde_json::to_value(routes::document()).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let token = platform.token(Role::Admin, None).await;
    platform
        .get(&token, "/v1/nothing")
        .await
        .is_problem(404, "not_found");
    platform
        .post(&token, "/v1/domains", &json!({}))
        .await
        .is_problem(405, "method_not_allowed");
    let problem = platform
        .get(&token, "/v1/domains?domian=academico")
        .await
        .is_problem(400, "invalid_parameter");
    assert_eq!(problem["errors"][0]["field"], "domian");
    api.stop().await;
}
