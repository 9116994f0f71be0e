//! Days without any reading, and readings that are ahead of the clock.

use chrono::{DurationRound as _, NaiveDate, SecondsFormat, TimeDelta, Utc};

use super::{DOMAIN, Feed, Sent};
use crate::support::Platform;

async fn rule(platform: &Platform, name: &str) -> (String, f64, i64) {
    let mut connection = platform.connect().await;
    acequia_store::quality::check(&mut connection, DOMAIN, std::time::Duration::from_secs(60))
        .await
        .unwrap();
    sqlx::query_as(
        "select outcome, coalesce(measured, 0)::float8, failing_count::bigint from core.dq_results
         where check_name = $1 order by id desc limit 1",
    )
    .bind(name)
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

/// Readings of whole days on the clock of Madrid, in summer.
fn days(client: &str, days: impl Iterator<Item = u32>) -> Vec<Sent> {
    days.flat_map(|day| (0..24).map(move |hour| (day, hour)))
        .map(|(day, hour)| {
            let at = format!("2024-09-{day:02}T{hour:02}:00:00+02:00");
            Sent::reading(client, &at, hour, 300, "2024-10-01T00:00:00Z")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_without_any_reading_are_missing() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    // One client of whom everything is known, and three of whom the first week is.
    feed.send(&days("CLI_00001", 1..=27)).await;
    for client in ["CLI_00002", "CLI_00003", "CLI_00004"] {
        feed.send(&days(client, 1..=7)).await;
    }
    // Of 4 times 25 days, the first and the last apart, 3 times 19 are missing.
    let (outcome, measured, failing) = rule(&platform, "lecturas_complete").await;
    assert_eq!((outcome.as_str(), measured, failing), ("warn", 57.0, 57));

    let missing = "select coalesce(sum(horas_sin_lectura), 0)::bigint from marts.consumo_diario where propietario_id = ";
    assert_eq!(platform.number(&format!("{missing}'CLI_00001'")).await, 0);
    assert_eq!(
        platform.number(&format!("{missing}'CLI_00002'")).await,
        19 * 24
    );
    let empty = "select count(*) from marts.consumo_diario where lecturas = 0 and consumo_total is null and horas = 24 and anomalias = 0";
    assert_eq!(platform.number(empty).await, 3 * 19);
    let months = "select dias || ' ' || dias_sin_lectura from marts.consumo_mensual order by propietario_id limit 2";
    assert_eq!(platform.texts(months).await, ["27 0", "7 19"]);

    // They are taken whenever they come.
    for client in ["CLI_00002", "CLI_00003", "CLI_00004"] {
        feed.send(&days(client, 8..=26)).await;
    }
    let (outcome, measured, failing) = rule(&platform, "lecturas_complete").await;
    assert_eq!((outcome.as_str(), measured, failing), ("pass", 0.0, 0));
    assert_eq!(platform.number(empty).await, 0);
}

/// Empty days are as long as the client's clock makes them, and begin with the client.
#[tokio::test(flavor = "multi_thread")]
async fn empty_days_have_their_length() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let reading =
        |client: &str, at: &str| Sent::reading(client, at, 12, 300, "2024-11-01T00:00:00Z");
    feed.send(&[
        reading("CLI_00001", "2024-10-25T12:00:00+02:00"),
        reading("CLI_00001", "2024-10-29T12:00:00+01:00"),
        reading("CLI_00002", "2024-10-28T12:00:00+01:00"),
    ])
    .await;
    let found = "select propietario_id || ' ' || fecha || ' ' || horas || ' ' || lecturas || ' ' || horas_sin_lectura
                 from marts.consumo_diario order by propietario_id, fecha";
    assert_eq!(
        platform.texts(found).await,
        [
            "CLI_00001 2024-10-25 24 1 23",
            "CLI_00001 2024-10-26 24 0 24",
            "CLI_00001 2024-10-27 25 0 25",
            "CLI_00001 2024-10-28 24 0 24",
            "CLI_00001 2024-10-29 24 1 23",
            "CLI_00002 2024-10-28 24 1 23",
        ]
    );
}

/// Clients, kWh, last hour and readings ahead, as the summary has them.
async fn summary(platform: &Platform) -> (i64, f64, Option<chrono::DateTime<Utc>>, i64) {
    sqlx::query_as(
        "select clientes::bigint, coalesce(consumo_total, 0)::float8, hasta, lecturas_futuras::bigint from marts.consumo_resumen",
    )
    .fetch_one(&mut platform.connect().await)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_ahead_of_the_clock_is_apart() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    assert_eq!(summary(&platform).await, (0, 0.0, None, 0));
    let now = Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap();
    let reading = |client: &str, hours: i64| {
        let at = now + TimeDelta::hours(hours);
        let text = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let hour = text[11..13].parse().unwrap();
        Sent::reading(client, &text, hour, 1000, &text)
    };
    let clients = ["CLI_00001", "CLI_00002", "CLI_00003", "CLI_00004"];
    let past: Vec<_> = clients
        .iter()
        .flat_map(|client| (-220..0).map(|hours| reading(client, hours)))
        .collect();
    feed.send(&past).await;
    let last = now - TimeDelta::hours(1);
    assert_eq!(summary(&platform).await, (4, 96.0, Some(last), 0));
    let whole = rule(&platform, "lecturas_complete").await;
    let volume = rule(&platform, "lecturas_volume").await;

    feed.send(&[reading("CLI_00002", 20)]).await;
    assert_eq!(summary(&platform).await, (4, 96.0, Some(last), 1));
    assert_eq!(rule(&platform, "lecturas_complete").await, whole);
    assert_eq!(rule(&platform, "lecturas_volume").await, volume);
    let empty = "select count(*) from marts.consumo_diario where lecturas = 0";
    assert_eq!(platform.number(empty).await, 0);
}

/// Nor does one client decide who is days ahead of the others, in the past.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_hours_are_those_of_most_clients() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let clients = [
        "CLI_00001",
        "CLI_00002",
        "CLI_00003",
        "CLI_00004",
        "CLI_00005",
    ];
    for client in clients {
        feed.send(&days(client, 1..=10)).await;
    }
    feed.send(&days("CLI_00006", 10..=13)).await;
    let midnight = NaiveDate::from_ymd_opt(2024, 9, 10)
        .unwrap()
        .and_hms_opt(21, 0, 0);
    let last = midnight.unwrap().and_utc();
    let (clients, kwh, until, ahead) = summary(&platform).await;
    assert_eq!((clients, until, ahead), (6, Some(last), 0));
    assert!((kwh - 6.0 * 24.0 * 0.3).abs() < 1e-9, "{kwh}");
}
