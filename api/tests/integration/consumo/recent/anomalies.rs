//! The lists of anomalies, and their counts.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Hour, instant};
use crate::consumo::texts;
use crate::support::Platform;

/// Client, instant and severity of anomalies.
fn shown(list: &Value) -> Vec<(String, DateTime<Utc>, String)> {
    let text = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                text(item, "propietario_id"),
                instant(&item["timestamp_consumo"]),
                text(item, "severidad"),
            )
        })
        .collect()
}

/// Each of them is what the hours say.
pub async fn anomalies_are(
    platform: &Platform,
    token: &str,
    days: &BTreeMap<&'static str, Vec<Hour>>,
) {
    let get = async |path: &str| platform.get(token, path).await.is(200);
    let mut all: Vec<_> = days
        .iter()
        .flat_map(|(client, hours)| hours.iter().map(|hour| ((*client).to_owned(), hour)))
        .filter_map(|(client, hour)| Some((client, hour.at, hour.found.as_ref()?)))
        .collect();
    all.sort_by_key(|(client, at, _)| (std::cmp::Reverse(*at), client.clone()));
    let of = |severity: Option<&str>| -> Vec<_> {
        let chosen = all
            .iter()
            .filter(|(.., found)| severity.is_none_or(|one| one == found.severity));
        chosen
            .map(|(client, at, found)| (client.clone(), *at, found.severity.to_owned()))
            .collect()
    };
    for severity in ["crítica", "alta", "media"] {
        assert!(
            of(Some(severity)).len() > 1,
            "the messages hold too little: {severity}"
        );
    }
    let accented = "/api/anomalias/%C3%BAltimas?modo=original&limit=1000";
    for path in [
        accented,
        &accented.replace("%C3%BA", "u"),
        &accented.replace("%C3%BA", "ú"),
    ] {
        assert_eq!(shown(&get(path).await), of(None), "{path}");
    }
    assert_eq!(
        shown(&get("/api/anomalias/ultimas?modo=original").await),
        of(None)[..50.min(all.len())]
    );
    assert_eq!(
        shown(&get("/api/anomalias/ultimas?modo=original&limit=2").await),
        of(None)[..2]
    );
    for (asked, severity) in [
        ("cr%C3%ADtica", "crítica"),
        ("critica", "crítica"),
        ("alta", "alta"),
        ("media", "media"),
    ] {
        let path = format!("/api/anomalias/ultimas?modo=original&limit=1000&severidad={asked}");
        assert_eq!(shown(&get(&path).await), of(Some(severity)), "{path}");
    }
    let client = "CLI_00002";
    let of_client: Vec<_> = of(None)
        .into_iter()
        .filter(|(name, ..)| name == client)
        .collect();
    let path = format!("/api/anomalias/cliente/{client}?modo=original");
    assert_eq!(shown(&get(&format!("{path}&dias=90")).await), of_client);
    let day = shown(&get(&format!("{path}&dias=1")).await);
    assert_eq!(day, of_client[..day.len()]);
    assert!(
        day.iter()
            .all(|(_, at, _)| *at > Utc::now() - TimeDelta::hours(25))
            && !day.is_empty()
    );

    let recent = |hours: i64| {
        let after = Utc::now() - TimeDelta::hours(hours);
        all.iter().filter(move |(_, at, _)| *at > after)
    };
    for path in ["criticas", "cr%C3%ADticas", "cr%c3%adticas", "críticas"] {
        let critical = get(&format!("/api/anomalias/{path}?modo=original")).await;
        let mut said = shown(&critical);
        let mut expected: Vec<_> = recent(24)
            .filter(|(.., found)| found.severity == "crítica")
            .map(|(client, at, found)| (client.clone(), *at, found.severity.to_owned()))
            .collect();
        said.sort();
        expected.sort();
        assert_eq!(said, expected, "{path}");
        let scores: Vec<_> = critical
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["score_anomalia"].as_f64().unwrap())
            .collect();
        assert!(scores.is_sorted_by(|one, other| one >= other) && !scores.is_empty());
    }
    for hours in [24, 72] {
        let said = get(&format!(
            "/api/estadisticas/resumen?horas={hours}&modo=original"
        ))
        .await;
        let count = |severity: &str| {
            recent(hours)
                .filter(|(.., found)| found.severity == severity)
                .count()
        };
        assert_eq!(said["total_anomalias"], recent(hours).count(), "{hours}");
        assert_eq!(
            (
                &said["anomalias_criticas"],
                &said["anomalias_altas"],
                &said["anomalias_medias"]
            ),
            (
                &json!(count("crítica")),
                &json!(count("alta")),
                &json!(count("media"))
            )
        );
        assert_eq!(said["clientes_afectados"], 4);
        let mut kinds: BTreeMap<&str, i64> = BTreeMap::new();
        for kind in recent(hours).flat_map(|(.., found)| &found.kinds) {
            *kinds.entry(kind).or_default() += 1;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(kind, count)| (-count, *kind));
        let names: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(said["tipos_mas_frecuentes"], json!(names));
        assert_eq!(texts(&said["conteo_por_tipo"], "tipo"), names);
        assert_eq!(said["conteo_por_tipo"][0]["anomalias"], kinds[0].1);
    }
    let top = get("/api/dashboard/top-anomalias?modo=original&limit=3").await;
    let mut expected: Vec<_> = days
        .keys()
        .map(|client| {
            let own = || all.iter().filter(|(name, ..)| name == client);
            let critical = own()
                .filter(|(.., found)| found.severity == "crítica")
                .count();
            let last = own().map(|(_, at, _)| *at).max().unwrap();
            (std::cmp::Reverse((critical, own().count())), *client, last)
        })
        .collect();
    expected.sort();
    let said = top["clientes"].as_array().unwrap();
    assert_eq!(said.len(), 3);
    for (said, (std::cmp::Reverse((critical, total)), client, last)) in said.iter().zip(expected) {
        assert_eq!(
            (
                &said["_id"],
                &said["total_anomalias"],
                &said["anomalias_criticas"]
            ),
            (&json!(client), &json!(total), &json!(critical))
        );
        assert_eq!(instant(&said["ultima_anomalia"]), last);
    }
}
