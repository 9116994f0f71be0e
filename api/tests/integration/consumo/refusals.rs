//! Refusals, and the answers of an empty database.

use acequia_api::auth::Role;
use serde_json::{Value, json};

use crate::support::Platform;

/// Routes with a wrong parameter, and its name.
const WRONG: [(&str, &str, &str); 33] = [
    (
        "GET",
        "/api/consumos/ultimas24h/CLI_00001?modo=otro",
        "modo",
    ),
    ("GET", "/api/consumos/ultimas24h/CLI_00001?limit=5", "limit"),
    ("GET", "/api/consumos/rango", "propietario_id"),
    (
        "GET",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_fin=2024-01-01",
        "fecha_inicio",
    ),
    (
        "GET",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=2024-01-01",
        "fecha_fin",
    ),
    (
        "GET",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=ayer&fecha_fin=2024-01-01",
        "fecha_inicio",
    ),
    (
        "GET",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=2024-01-01&fecha_fin=2024-02-30",
        "fecha_fin",
    ),
    (
        "GET",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=0001-01-01&fecha_fin=2024-01-01",
        "fecha_inicio",
    ),
    (
        "GET",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=2024-01-01&fecha_fin=2262-01-01",
        "fecha_fin",
    ),
    (
        "GET",
        "/api/consumos/rango?propietario_id=a%00b&fecha_inicio=2024-01-01&fecha_fin=2024-01-01",
        "propietario_id",
    ),
    ("GET", "/api/anomalias/ultimas?limit=0", "limit"),
    ("GET", "/api/anomalias/ultimas?limit=1001", "limit"),
    ("GET", "/api/anomalias/ultimas?limit=1&limit=2", "limit"),
    ("GET", "/api/anomalias/ultimas?severidad=baja", "severidad"),
    ("GET", "/api/anomalias/cliente/CLI_00001?dias=0", "dias"),
    ("GET", "/api/anomalias/cliente/CLI_00001?dias=91", "dias"),
    ("GET", "/api/anomalias/cr%C3%ADticas?horas=24", "horas"),
    ("GET", "/api/estadisticas/resumen?horas=0", "horas"),
    ("GET", "/api/estadisticas/resumen?horas=721", "horas"),
    ("GET", "/api/estadisticas/resumen?horas=un", "horas"),
    ("GET", "/api/dashboard/top-anomalias?limit=101", "limit"),
    (
        "GET",
        "/api/consumos/mensuales/CLI_00001?a%C3%B1o=26",
        "año",
    ),
    (
        "GET",
        "/api/consumos/mensuales/CLI_00001?anio=2024&a%C3%B1o=2024",
        "anio",
    ),
    (
        "GET",
        "/api/estadisticas/mensual/CLI_00001?mes=2024-13",
        "mes",
    ),
    (
        "GET",
        "/api/estadisticas/mensual/CLI_00001?mes=enero",
        "mes",
    ),
    (
        "GET",
        "/api/dashboard/comparativa-mensual?mes=2024-1",
        "mes",
    ),
    ("GET", "/generar/cliente/CLI_1", "propietario_id"),
    (
        "GET",
        "/generar/cliente/CLI_00001?es_sospechoso=si",
        "es_sospechoso",
    ),
    ("GET", "/generar/todos?fecha=10/06/2024", "fecha"),
    ("GET", "/generar/todos?fecha=2099-01-01", "fecha"),
    ("POST", "/generar/batch?num_clientes=400", "num_clientes"),
    (
        "POST",
        "/generar/batch?num_clientes=2&num_sospechosos=3",
        "num_sospechosos",
    ),
    ("POST", "/generar/batch?fecha=2024-06-31", "fecha"),
];

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let (platform, api) = Platform::new().await;
    let bearer = format!(
        "Bearer {}",
        platform.token(Role::Operator, Some(&["consumo"])).await
    );
    for (method, path, field) in WRONG {
        let answer = platform
            .call(method, path, &[("authorization", &bearer)], "")
            .await;
        let problem = answer.is_problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["field"], field, "{path}: {problem}");
    }
    // The client must be known before its clock is: it is, and the range is wrong.
    platform
        .execute("insert into consumo.clientes values ('CLI_00001', 'x', null, null, 'UTC', now(), gen_random_uuid(), 1)")
        .await;
    let backwards = "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=2024-06-10T08:00:00Z&fecha_fin=2024-06-10T07:59:59";
    let long =
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=2023-01-01&fecha_fin=2024-01-02";
    for path in [backwards, long] {
        let answer = platform
            .call("GET", path, &[("authorization", &bearer)], "")
            .await;
        let problem = answer.is_problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["field"], "fecha_fin", "{path}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_has_empty_answers_and_no_clients() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Analyst, Some(&["consumo"])).await;
    for path in ["ultimas", "%C3%BAltimas", "criticas", "cr%C3%ADticas"] {
        let answer = platform
            .get(&token, &format!("/api/anomalias/{path}"))
            .await;
        assert_eq!(answer.is(200), json!([]), "{path}");
    }
    let summary = platform
        .get(&token, "/api/estadisticas/resumen")
        .await
        .is(200);
    assert_eq!(
        summary,
        json!({"total_anomalias": 0, "anomalias_criticas": 0, "anomalias_altas": 0, "anomalias_medias": 0,
            "clientes_afectados": 0, "tipos_mas_frecuentes": [], "conteo_por_tipo": []})
    );
    let top = platform.get(&token, "/api/dashboard/top-anomalias").await;
    assert_eq!(top.is(200), json!({"clientes": []}));
    let compared = platform
        .get(&token, "/api/dashboard/comparativa-mensual?mes=2024-06")
        .await;
    let nothing = json!({"mes": "2024-06", "total_clientes": 0, "consumo_total_mes": 0.0, "consumo_promedio": null, "clientes": []});
    assert_eq!(compared.is(200), nothing);
    for path in [
        "/api/consumos/ultimas24h/CLI_00001",
        "/api/consumos/%C3%BAltimas24h/CLI_00001",
        "/api/consumos/rango?propietario_id=CLI_00001&fecha_inicio=2024-01-01&fecha_fin=2024-01-02",
        "/api/anomalias/cliente/CLI_00001",
        "/api/estadisticas/cliente/CLI_00001",
        "/api/consumos/mensuales/CLI_00001",
        "/api/estadisticas/mensual/CLI_00001",
        // No client can have such a code.
        "/api/estadisticas/cliente/nobody",
        "/api/consumos/ultimas24h/CLI_00001'--",
    ] {
        let problem = platform
            .get(&token, path)
            .await
            .is_problem(404, "not_found");
        assert_eq!(problem["errors"], json!([]), "{path}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_said_and_browsers_get_the_console() {
    let (platform, api) = Platform::new().await;
    let root = platform
        .call("GET", "/", &[("accept", "application/json")], "")
        .await;
    assert_eq!(root.is(200)["version"], env!("CARGO_PKG_VERSION"));
    let page = platform
        .call("GET", "/", &[("accept", "text/html")], "")
        .await;
    assert_eq!((page.status, page.header("vary")), (200, "accept"));
    assert!(
        page.text.starts_with("<!doctype html>") || page.text.starts_with("<!DOCTYPE html>"),
        "{page:?}"
    );
    let health = platform.call("GET", "/health", &[], "").await.is(200);
    assert_eq!(
        (&health["status"], &health["service"]),
        (&json!("healthy"), &json!("acequia-api"))
    );
    let said: chrono::DateTime<chrono::Utc> =
        serde_json::from_value(health["timestamp"].clone()).unwrap();
    assert!((chrono::Utc::now() - said).abs() < chrono::TimeDelta::minutes(1));
    // A schema that does not fit is as bad as no database.
    platform
        .execute("update core.served set oldest_program = 9999")
        .await;
    let health = platform.call("GET", "/health", &[], "").await.is(503);
    assert_eq!(health["status"], Value::from("unhealthy"));
    api.stop().await;
}
