//! The generator: the same day at each call, sent by the POST alone.

use std::collections::BTreeSet;

use acequia_api::auth::Role;
use serde_json::{Value, json};

use super::wh;
use crate::support::Platform;

/// The figures of a day, beside its hours.
fn report_is(day: &Value) {
    let (hours, report) = (
        day["consumos_horarios"].as_array().unwrap(),
        &day["reporte_diario"],
    );
    let sum = |of: fn(i64) -> bool| -> i64 {
        let chosen = hours
            .iter()
            .filter(|hour| of(hour["hora"].as_i64().unwrap()));
        chosen.map(|hour| wh(&hour["consumo_kwh"])).sum()
    };
    let (total, night) = (sum(|_| true), sum(|hour| hour < 6 || hour == 23));
    assert_eq!(wh(&report["consumo_total_24h"]), total, "{report}");
    assert_eq!(wh(&report["consumo_noche"]), night, "{report}");
    assert_eq!(
        wh(&report["consumo_punta"]),
        sum(|hour| (18..23).contains(&hour)),
        "{report}"
    );
    let mean = total as f64 / hours.len() as f64 / 1000.0;
    assert!(
        (report["consumo_promedio_horario"].as_f64().unwrap() - mean).abs() < 0.00051,
        "{report}"
    );
    let share = night as f64 / total as f64 * 100.0;
    assert!(
        (report["pct_noche"].as_f64().unwrap() - share).abs() < 0.00051,
        "{report}"
    );
    let kinds: Vec<_> = hours
        .iter()
        .filter(|hour| hour["anomalia_esperada"] == true)
        .map(|hour| &hour["tipo_anomalia"])
        .collect();
    assert_eq!(
        report["anomalia_detectada"],
        json!(!kinds.is_empty()),
        "{report}"
    );
    assert_eq!(
        &report["tipo_anomalia"],
        kinds.first().copied().unwrap_or(&Value::Null),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_makes_the_same_day_and_sends_nothing() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Publisher, Some(&["consumo"])).await;
    let get = async |path: &str| platform.get(&token, path).await.is(200);
    let calm = get("/generar/cliente/CLI_00042").await;
    assert_eq!(
        calm,
        get("/generar/cliente/CLI_00042?es_sospechoso=false").await
    );
    let secret = get("/generar/cliente/CLI_00042?es_sospechoso=true").await;
    assert_ne!(calm, secret);
    assert_ne!(
        calm["consumos_horarios"],
        get("/generar/cliente/CLI_00043").await["consumos_horarios"]
    );
    for (day, suspicious) in [(&calm, false), (&secret, true)] {
        report_is(day);
        assert_eq!(day["reporte_diario"]["propietario_id"], "CLI_00042");
        assert_eq!(day["reporte_diario"]["anomalia_detectada"], suspicious);
        for hour in day["consumos_horarios"].as_array().unwrap() {
            assert_eq!(
                (&hour["propietario_id"], &hour["es_sospechoso"]),
                (&json!("CLI_00042"), &json!(suspicious))
            );
        }
    }
    let all = get("/generar/todos?fecha=2024-10-27").await;
    assert_eq!(
        (&all["fecha"], &all["publicados"]),
        (&json!("2024-10-27"), &json!(0))
    );
    assert_eq!(
        (&all["total_clientes"], &all["clientes_sospechosos"]),
        (&json!(50), &json!(5))
    );
    let days = all["resultados"].as_array().unwrap();
    days.iter().for_each(report_is);
    assert!(
        days.iter()
            .all(|day| day["consumos_horarios"].as_array().unwrap().len() == 25)
    );
    assert_eq!(
        get("/generar/todos?fecha=2024-10-26").await["resultados"][0]["consumos_horarios"]
            .as_array()
            .unwrap()
            .len(),
        24
    );
    // Only the messages of the batch sent below ever arrive.
    let sent = platform
        .post(
            &token,
            "/generar/batch?num_clientes=1&num_sospechosos=0&fecha=2024-06-10",
            &Value::Null,
        )
        .await
        .is(200);
    assert_eq!(sent["publicados"], 24);
    acequia_testkit::wait_for("readings", async || {
        Ok(platform
            .number("select count(*) from consumo.lecturas")
            .await
            == 24)
    })
    .await
    .unwrap();
    let received = "select sum(received)::bigint from core.conservation where domain = 'consumo'";
    assert_eq!(platform.number(received).await, 24);
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_arrives_and_a_repetition_changes_nothing() {
    let (platform, api) = Platform::new().await;
    let worker = platform.worker().await;
    let token = platform.token(Role::Operator, Some(&["consumo"])).await;
    let path = "/generar/batch?num_clientes=12&num_sospechosos=3&fecha=2024-10-27";
    let sent = platform.post(&token, path, &Value::Null).await.is(200);
    assert_eq!(sent["publicados"], 12 * 25);
    assert_eq!(
        (&sent["total_clientes"], &sent["clientes_sospechosos"]),
        (&json!(12), &json!(3))
    );
    acequia_testkit::wait_for("readings", async || {
        Ok(platform
            .number("select count(*) from consumo.lecturas")
            .await
            == 12 * 25)
    })
    .await
    .unwrap();
    for day in sent["resultados"].as_array().unwrap() {
        report_is(day);
        let client = day["reporte_diario"]["propietario_id"].as_str().unwrap();
        let path = format!(
            "/api/consumos/rango?propietario_id={client}&fecha_inicio=2024-10-27&fecha_fin=2024-10-27"
        );
        let rows = platform.get(&token, &path).await.is(200);
        let pairs = |list: &Value| -> BTreeSet<(String, i64)> {
            let pair = |hour: &Value| {
                (
                    hour["timestamp"].as_str().unwrap().to_owned(),
                    wh(&hour["consumo_kwh"]),
                )
            };
            list.as_array().unwrap().iter().map(pair).collect()
        };
        assert_eq!(pairs(&rows), pairs(&day["consumos_horarios"]), "{client}");
        let suspicious = client > "CLI_00009";
        assert_eq!(
            day["reporte_diario"]["es_sospechoso"], suspicious,
            "{client}"
        );
    }
    assert_eq!(
        platform.post(&token, path, &Value::Null).await.is(200),
        sent
    );
    acequia_testkit::wait_for("the repetition", async || {
        let unchanged = "select coalesce(sum(promoted + stale), 0)::bigint from core.conservation where domain = 'consumo'";
        Ok(platform.number(unchanged).await == 2 * 12 * 25)
    })
    .await
    .unwrap();
    assert_eq!(
        platform
            .number("select count(*) from consumo.lecturas")
            .await,
        12 * 25
    );
    let call =
        "select detail from core.api_calls where route = '/generar/batch' and status = 200 limit 1";
    assert_eq!(
        platform
            .text(&format!("select detail->>'sent' from ({call}) c"))
            .await,
        "300"
    );
    let viewer = platform.token(Role::Analyst, Some(&["consumo"])).await;
    platform
        .post(&viewer, path, &Value::Null)
        .await
        .is_problem(403, "role_insufficient");
    worker.stop().await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_a_batch_is_refused() {
    let (platform, api) = Platform::new().await;
    let token = platform.token(Role::Publisher, None).await;
    platform
        .post(&token, "/generar/batch", &Value::Null)
        .await
        .is_problem(503, "broker_unavailable");
    api.stop().await;
}
