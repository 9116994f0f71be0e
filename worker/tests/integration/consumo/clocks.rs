//! Days of 23 and 25 hours, hours of other zones, and a clock that is learned of late.

use serde_json::json;

use super::{Feed, Sent, generated};
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn both_hours_two_of_the_longest_day_are_kept() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let messages = generated("--clients 1 --days 3 --start 2024-10-26 --suspicious 0");
    feed.send(&messages).await;
    let days = platform
        .texts("select fecha || ' ' || horas || ' ' || n || ' ' || noche_n || ' ' || desacuerdos from consumo.dias order by fecha")
        .await;
    // The night of the longest day has eight hours.
    assert_eq!(
        days,
        [
            "2024-10-26 24 24 7 0",
            "2024-10-27 25 25 8 0",
            "2024-10-28 24 24 7 0"
        ]
    );
    let hours = platform
        .texts("select hora::text from consumo.lecturas where instante >= '2024-10-26T22:00Z' and instante < '2024-10-27T03:00Z' order by instante")
        .await;
    assert_eq!(hours, ["0", "1", "2", "2", "3"]);

    let messages = generated("--clients 1 --days 1 --start 2024-03-31 --suspicious 0");
    feed.send(&messages).await;
    let day = platform
        .texts("select horas || ' ' || n || ' ' || noche_n || ' ' || desacuerdos from consumo.dias where fecha = '2024-03-31'")
        .await;
    assert_eq!(day, ["23 23 6 0"]);
    let sums = "select count(*) from consumo.dias d join (
            select propietario_id, (instante at time zone 'Europe/Madrid')::date as fecha, sum(consumo_kwh) * 1000 as wh
            from consumo.lecturas group by 1, 2) l on l.propietario_id = d.propietario_id and l.fecha = d.fecha
        where l.wh = d.suma";
    assert_eq!(platform.number(sums).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_follow_a_zone_that_comes_late() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let readings: Vec<_> = (0..24)
        .map(|hour| {
            let at = format!("2024-02-01T{hour:02}:00:00Z");
            Sent::reading(
                "CLI_00001",
                &at,
                hour,
                100 + i64::from(hour),
                "2024-02-02T00:00:00Z",
            )
        })
        .collect();
    feed.send(&readings).await;
    let days = "select fecha || ' ' || n || ' ' || desacuerdos from consumo.dias order by fecha";
    // By Madrid's clock the last hour is of the next day, and every hour disagrees.
    assert_eq!(
        platform.texts(days).await,
        ["2024-02-01 23 23", "2024-02-02 1 1"]
    );
    let client = Sent::new(
        "cliente",
        &json!({"propietario_id": "CLI_00001", "nombre": "Ana", "zona": "Atlantic/Canary"}),
    );
    feed.send(&[client]).await;
    assert_eq!(platform.texts(days).await, ["2024-02-01 24 0"]);
    assert_eq!(
        platform
            .number("select sum(suma)::bigint from consumo.dias")
            .await,
        2400 + 276
    );
}

/// A clock gone mad does not make a partition per month of its fancy.
#[tokio::test(flavor = "multi_thread")]
async fn months_far_away_share_a_partition() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    let readings: Vec<_> = (1..=12)
        .flat_map(|month| [2001, 2002, 2024].map(|year| format!("{year}-{month:02}-10T10:00:00Z")))
        .map(|at| Sent::reading("CLI_00001", &at, 11, 500, "2024-12-20T00:00:00Z"))
        .collect();
    feed.send(&readings).await;
    assert_eq!(
        platform
            .number("select count(*) from consumo.lecturas_default")
            .await,
        24
    );
    let partitions =
        "select count(*) from pg_inherits where inhparent = 'consumo.lecturas'::regclass";
    assert_eq!(platform.number(partitions).await, 13);
}
