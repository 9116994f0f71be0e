//! What is to be found is found, and little else: 500 clients, 60 days, one in ten with something to hide.

use super::{Feed, generated};
use crate::support::Platform;

/// A row of `marts.consumo_deteccion`.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    tipo: String,
    esperados: i64,
    recall: Option<f64>,
    precision: Option<f64>,
    tasa_falsas: Option<f64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seasonal_mode_meets_its_targets() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform).await;
    // Another seed than the one the limits were found with.
    let messages = generated("--clients 500 --days 60 --suspicious 10% --seed 42");
    for batch in messages.chunks(60_000) {
        feed.stage(batch).await;
        feed.promote(60_000).await;
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select tipo, esperados, recall::float8, precision::float8, tasa_falsas::float8
         from marts.consumo_deteccion where modo = 'estacional'",
    )
    .fetch_all(&mut platform.connect().await)
    .await
    .unwrap();
    let of = |tipo: &str| rows.iter().find(|row| row.tipo == tipo).unwrap();
    for (tipo, least, recall) in [
        ("plantacion_cannabis", 10, 0.95),
        ("consumo_constante_anomalo", 10, 0.95),
        ("consumo_caida_anomalo", 10, 0.90),
        ("pico_anomalo", 100, 0.90),
    ] {
        let row = of(tipo);
        assert!(row.esperados >= least, "{row:?}");
        assert!(row.recall.unwrap() >= recall, "{row:?}");
    }
    let all = of("todos");
    assert!(all.precision.unwrap() >= 0.95, "{rows:#?}");
    assert!(all.tasa_falsas.unwrap() < 0.005, "{rows:#?}");
    assert_eq!(platform.difference().await, 0);
}
