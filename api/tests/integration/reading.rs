//! Reads: state, traces, rows of marts page by page, exact numbers.

use acequia_api::auth::Role;
use acequia_contracts::{catalog, fixtures};
use serde_json::{Value, json};

use crate::support::Platform;

/// Sends bodies of academico by the API and waits until all of them are merged.
pub async fn school(platform: &Platform, token: &str) {
    for (entity, body) in [
        ("maestro", json!({"id_maestro": 1, "nombre": "Ana Ruiz"})),
        (
            "materia",
            json!({"id_materia": 1, "nombre": "Historia, \"antigua\"", "creditos": 8}),
        ),
        (
            "materia",
            json!({"id_materia": 2, "nombre": "Física", "creditos": 8}),
        ),
        (
            "materia",
            json!({"id_materia": 3, "nombre": "Álgebra", "creditos": 8}),
        ),
        (
            "grupo",
            json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"}),
        ),
        (
            "alumno",
            json!({"id_alumno": 1, "nombre": "Eva", "edad": 20, "genero": "F"}),
        ),
        ("inscripcion", json!({"id_alumno": 1, "id_grupo": 1})),
        (
            "calificacion",
            json!({"id_alumno": 1, "id_grupo": 1, "calificacion": 8.7}),
        ),
    ] {
        let path = format!("/v1/messages/academico/{entity}?wait=20s");
        let answer = platform.post(token, &path, &body).await.is(200);
        assert_eq!(answer["outcome"], "current", "{answer}");
        assert!(answer["row"].is_object(), "{answer}");
    }
    acequia_testkit::wait_for("a refreshed mart", async || {
        let rows = platform
            .number("select count(*) from marts.kpi_materia")
            .await;
        Ok(rows == 3)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_what_the_database_says() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Operator, None).await;
    school(&platform, &token).await;

    let domains = platform.get(&token, "/v1/domains").await.is(200);
    let names: Vec<_> = domains["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["domain"].clone())
        .collect();
    let known: Vec<_> = catalog().iter().map(|domain| json!(domain.name)).collect();
    assert_eq!(names, known);
    let accounts = platform
        .get(&token, "/v1/reconciliation?domain=academico")
        .await
        .is(200);
    let accounts = accounts["items"].as_array().unwrap().clone();
    let sum = |column: &str| {
        accounts
            .iter()
            .map(|account| account[column].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(
        (sum("received"), sum("promoted"), sum("unaccounted")),
        (8, 8, 0)
    );
    let streams = platform.get(&token, "/v1/streams").await.is(200);
    let academico = streams["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|stream| stream["domain"] == "academico");
    assert_eq!(academico.unwrap()["staged"], 0);
    assert!(academico.unwrap()["last_batch_at"].is_string());
    let marts = platform.get(&token, "/v1/marts").await.is(200)["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(
        i64::try_from(marts).unwrap(),
        platform.number("select count(*) from core.marts").await
    );
    let fresh = platform.get(&token, "/v1/freshness").await.is(200);
    assert_eq!(fresh["items"].as_array().unwrap().len(), marts);
    let lineage = platform
        .get(&token, "/v1/lineage?domain=academico")
        .await
        .is(200);
    assert!(
        lineage["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["mart"] == "marts.kpi_materia")
    );
    let rules = platform.get(&token, "/v1/dq/rules").await.is(200)["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(
        i64::try_from(rules).unwrap(),
        platform.number("select count(*) from core.dq_rules").await
    );
    assert_eq!(
        platform.get(&token, "/v1/archives").await.is(200)["items"],
        json!([])
    );
    assert!(platform.get(&token, "/v1/gates").await.is(200)["items"].is_array());
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_and_a_key_can_be_traced() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let operator = platform.token(Role::Operator, None).await;
    let viewer = platform.token(Role::Viewer, None).await;
    let body =
        json!({"id_alumno": 7, "nombre": "Noé", "edad": 30, "genero": "M", "event_id": "alta-7"});
    let sent = platform
        .post(&operator, "/v1/messages/academico/alumno?wait=20s", &body)
        .await
        .is(200);
    assert_eq!(
        (&sent["message_id"], &sent["trace"]),
        (&json!("alta-7"), &json!("/v1/messages/alta-7"))
    );
    let trace = platform.get(&viewer, "/v1/messages/alta-7").await.is(200);
    assert_eq!(
        (&trace["outcome"], &trace["rows"][0]["key"]["id_alumno"]),
        (&json!("current"), &json!(7))
    );
    assert!(!trace.to_string().contains("Noé"));
    platform
        .get(&viewer, "/v1/messages/alta-7?values=true")
        .await
        .is_problem(403, "role_insufficient");
    let full = platform
        .get(&operator, "/v1/messages/alta-7?values=true")
        .await
        .is(200);
    assert_eq!(full["rows"][0]["core"]["values"]["nombre"], "Noé");
    let key = platform
        .get(&viewer, "/v1/entities/academico/alumno/7")
        .await
        .is(200);
    assert_eq!(key["versions"].as_array().unwrap().len(), 1);
    platform
        .get(&viewer, "/v1/entities/academico/alumno/8")
        .await
        .is_problem(404, "not_found");
    platform
        .get(&viewer, "/v1/entities/academico/alumno/x")
        .await
        .is_problem(400, "invalid_parameter");
    platform
        .get(&viewer, "/v1/entities/academico/inscripcion/7")
        .await
        .is_problem(400, "invalid_parameter");
    platform
        .get(&viewer, "/v1/entities/academico/inscripcion/7%2F1")
        .await
        .is_problem(404, "not_found");
    platform
        .get(&viewer, "/v1/messages/nothing")
        .await
        .is_problem(404, "not_found");
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_mart_keep_all_their_digits_in_every_form() {
    let (platform, api) = Platform::new().await;
    // More digits than a float has, and a text that a table has to quote.
    platform
        .execute(
            "create view marts.digits as select 1 as id, 12345678901234567890.1234567890::numeric as amount, 8.70::numeric as mark,
                 'a,\"b\"'::text as name, null::text as nothing, ''::text as empty, '2024-06-14T19:30:00Z'::timestamptz as at
             union all select 2, 0.1000, null, 'x', 'y', 'z', null;
             grant select on marts.digits to acequia_api;
             insert into core.marts (mart, domain, kind, position, depends_on, objective) values ('marts.digits', 'academico', 'view', 99, '{}', '1 hour')",
        )
        .await;
    let token = platform.token(Role::Analyst, Some(&["academico"])).await;
    let page = platform.get(&token, "/v1/marts/digits").await;
    page.is(200);
    assert!(
        page.text
            .contains("\"amount\":12345678901234567890.1234567890,\"mark\":8.70"),
        "{}",
        page.text
    );
    assert_eq!(
        page.header("acequia-trusted"),
        page.json()["trusted"].to_string()
    );
    let bearer = format!("Bearer {token}");
    let of = async |accept: &str, path: &str| {
        let headers = [("authorization", bearer.as_str()), ("accept", accept)];
        platform.call("GET", path, &headers, "").await
    };
    let csv = of(
        "text/csv",
        "/v1/marts/digits?columns=id,amount,mark,name,nothing,empty,at",
    )
    .await;
    assert_eq!(
        csv.text,
        "id,amount,mark,name,nothing,empty,at\r\n\
         1,12345678901234567890.1234567890,8.70,\"a,\"\"b\"\"\",,\"\",2024-06-14T19:30:00+00:00\r\n\
         2,0.1000,,x,y,z,\r\n"
    );
    let lines = of("application/x-ndjson", "/v1/marts/digits?columns=amount").await;
    assert_eq!(
        lines.text,
        "{\"amount\":12345678901234567890.1234567890}\n{\"amount\":0.1000}\n"
    );
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    of("image/png", "/v1/marts/digits")
        .await
        .is_problem(406, "not_acceptable");
    let schema = platform
        .get(&token, "/v1/marts/digits/schema")
        .await
        .is(200);
    assert_eq!(schema["columns"][1]["sql_type"], "numeric");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_mart_have_every_row_once_in_any_order() {
    let (platform, api) = Platform::new().await;
    platform
        .execute(
            "create view marts.many as
                 select i as id, nullif(i % 7, 3) as kind, (i % 5)::numeric / 10 as share, 'name ' || i as name from generate_series(1, 250) i;
             grant select on marts.many to acequia_api;
             insert into core.marts (mart, domain, kind, position, depends_on, objective) values ('marts.many', 'academico', 'view', 99, '{}', '1 hour')",
        )
        .await;
    let token = platform.token(Role::Analyst, None).await;
    for order in [
        "",
        "order=kind",
        "order=kind.desc,share",
        "order=share.desc,name.desc",
    ] {
        let mut seen: Vec<Value> = Vec::new();
        let mut path = format!("/v1/marts/many?limit=37&{order}");
        loop {
            let page = platform.get(&token, &path).await;
            let json = page.is(200);
            seen.extend(json["rows"].as_array().unwrap().iter().cloned());
            let Some(next) = json["next"].as_str() else {
                break;
            };
            path = format!("/v1/marts/many?limit=37&{order}&cursor={next}");
            assert!(page.header("link").contains(next), "{page:?}");
        }
        let mut ids: Vec<_> = seen.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        let kinds: Vec<_> = seen.iter().map(|row| row["kind"].as_i64()).collect();
        if order == "order=kind" {
            let mut sorted = kinds.clone();
            // Nothing comes last.
            sorted.sort_by_key(|kind| (kind.is_none(), *kind));
            assert_eq!(kinds, sorted);
        }
        ids.sort_unstable();
        assert_eq!(ids, (1..=250).collect::<Vec<_>>(), "{order}");
    }
    let ask = async |query: &str| {
        platform
            .get(&token, &format!("/v1/marts/many?{query}"))
            .await
    };
    let count = async |query: &str| {
        ask(&format!("{query}&limit=1&count=true")).await.is(200)["count"]
            .as_i64()
            .unwrap()
    };
    assert_eq!(count("id=gte.11&id=lt.21").await, 10);
    assert_eq!(count("kind=is.null").await, 36);
    assert_eq!(count("kind=in.(1,2)").await, 72);
    assert_eq!(count("name=contains.NAME%2024").await, 11);
    assert_eq!(count("share=eq.0.1").await, 50);
    for (query, field) in [
        ("id=eq.x", "id"),
        ("nothing=eq.1", "nothing"),
        ("id=1", "id"),
        ("order=nothing", "nothing"),
        ("columns=nothing", "nothing"),
        ("limit=0", "limit"),
    ] {
        let problem = ask(query).await.is_problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["field"], field, "{query}");
    }
    let next = ask("limit=10").await.is(200)["next"]
        .as_str()
        .unwrap()
        .to_owned();
    ask(&format!("limit=10&id=gt.5&cursor={next}"))
        .await
        .is_problem(400, "invalid_cursor");
    ask("cursor=x").await.is_problem(400, "invalid_cursor");
    // A name is no way into SQL.
    ask("id%22%20or%20true%20--=eq.1")
        .await
        .is_problem(400, "invalid_parameter");
    platform
        .get(&token, "/v1/marts/core.api_tokens")
        .await
        .is_problem(404, "not_found");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_agree_with_the_decoder() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Publisher, None).await;
    for entity in catalog().iter().flat_map(|domain| &domain.entities) {
        let path = format!("/v1/contracts/{}/{}", entity.domain, entity.name);
        let answer = platform.get(&token, &path).await;
        assert_eq!(answer.header("content-type"), "application/schema+json");
        assert_eq!(answer.is(200), acequia_contracts::schema(entity));
        let send = format!(
            "/v1/messages/{}/{}?dry_run=true",
            entity.domain, entity.name
        );
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        for fixture in fixtures::valid(entity.domain, entity.name) {
            let body = std::str::from_utf8(fixture.body).unwrap();
            let answer = platform.call("POST", &send, &headers, body).await;
            assert_eq!(
                answer.is(200)["status"],
                "valid",
                "{}: {answer:?}",
                fixture.name
            );
        }
        for fixture in fixtures::invalid(entity.domain, entity.name) {
            let Ok(body) = std::str::from_utf8(fixture.body) else {
                continue;
            };
            let answer = platform.call("POST", &send, &headers, body).await;
            let problem = answer.is_problem(422, "invalid_message");
            assert!(
                !problem["errors"].as_array().unwrap().is_empty(),
                "{}",
                fixture.name
            );
        }
    }
    assert_eq!(
        platform.number("select count(*) from core.batches").await,
        0
    );
    api.stop().await;
}
