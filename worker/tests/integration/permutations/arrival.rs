//! The demo in several orders, and messages without any time.

use lapin::message::Delivery;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;

use super::ledger::{BATCHES, CONSERVATION, expected_ledger, ledger};
use super::{Feed, Sent, compare, demo, outcome_of, publish};
use crate::oracle::Oracle;
use crate::support::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn of_messages_without_any_time_the_later_arrival_wins() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    // As the reference system's publisher sends them: neither id nor time, one batch and several.
    let deliveries: Vec<Delivery> = (1..=60)
        .map(|tag| {
            let body = json!({"entity": "alumno", "id_alumno": 1, "nombre": "Ana", "edad": tag, "genero": "F"});
            let body = body.to_string().into_bytes();
            Delivery::mock(tag, "".into(), "etl".into(), false, body)
        })
        .collect();
    for batch in deliveries.chunks(20) {
        feed.stage_deliveries(batch).await;
        feed.promote_all().await;
        let outcome = outcome_of(&mut feed.connection).await;
        let last = i32::try_from(batch[19].delivery_tag).unwrap();
        assert_eq!(outcome.core.alumnos[0].edad, last);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_in_three_orders_with_repetitions_gives_the_core_of_the_oracle() {
    let messages = demo();
    let mut oracle = Oracle::default();
    messages.iter().for_each(|sent| sent.tell(&mut oracle));
    assert!(oracle.outcome().pending.is_empty());

    for seed in 1..=3 {
        let platform = Platform::new().await;
        // The third order is shared out by two workers.
        let mut workers = vec![platform.worker(&["--batch-max", "700"])];
        if seed == 3 {
            workers.push(platform.worker(&["--batch-max", "300", "--promote-max", "1000"]));
        }
        for worker in &workers {
            worker.ready().await;
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut deliveries: Vec<&Sent> = messages.iter().collect();
        deliveries.shuffle(&mut rng);
        deliveries.extend_from_within(..messages.len() / 10);
        deliveries.shuffle(&mut rng);
        publish(&platform, &deliveries).await;
        platform
            .settled(i64::try_from(deliveries.len()).unwrap())
            .await;
        for worker in workers {
            worker.stop().await;
        }

        let mut connection = platform.connect().await;
        compare(&outcome_of(&mut connection).await, &oracle).unwrap();
        let expected = expected_ledger(&deliveries, &[], &oracle);
        assert_eq!(ledger(&mut connection, BATCHES).await, expected);
        assert_eq!(ledger(&mut connection, CONSERVATION).await, expected);
    }
}
