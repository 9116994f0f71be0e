//! A merge takes a bounded number of rows that waited; the others stay ready for the next promotion.

use super::bench::{feed, install};
use crate::support::Platform;

/// More rows than a merge takes at once.
const WAITING: i64 = 50_010;

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_waited_are_taken_in_bounded_numbers() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    install(&mut owner).await;
    // Movements of an article that is not there, as staging and promotion leave them.
    platform
        .execute(&format!(
            "insert into core.batches (batch_id, domain, queue, worker, state, promoted_at)
             values (900000, 'pruebas', 'acequia.pruebas', 'test', 'promoted', now());
             insert into core.batch_entities (batch_id, domain, entity, received, pending)
             values (900000, 'pruebas', 'movimiento', {WAITING}, {WAITING});
             insert into stg.pruebas_movimiento (message_id, day, batch_id, event_at, id_articulo, unidades)
             select md5(n::text)::uuid, '1970-01-01', 900000, now(), 7, n from generate_series(1, {WAITING}) n;
             insert into core.pending (entity, message_id, day, batch_id, parent, parent_key, ready)
             select 'pruebas.movimiento', s.message_id, s.day, s.batch_id, 'pruebas.articulo', '7', true
             from stg.pruebas_movimiento s;
             insert into pruebas.articulos (id_articulo, nombre, precio, estado, event_at, message_id, batch_id)
             values (7, 'siete', 1, 'new', now(), gen_random_uuid(), 900000)"
        ))
        .await;
    let mut listener = sqlx::postgres::PgListener::connect(&platform.database.owner)
        .await
        .unwrap();
    listener.listen("acequia").await.unwrap();

    let mut feed = feed(&platform).await;
    assert!(feed.promote(20_000).await.unwrap());
    let count = "select count(*)::bigint from pruebas.movimientos";
    assert_eq!(platform.number(count).await, 50_000);
    assert_eq!(
        platform
            .number("select count(*)::bigint from core.pending where ready")
            .await,
        WAITING - 50_000
    );
    // The loop is asked to run again.
    let told = async {
        loop {
            let told = listener.recv().await.unwrap();
            if told.payload() == "staged pruebas" {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), told)
        .await
        .expect("a word that there is more");

    feed.promote_all().await.unwrap();
    assert_eq!(platform.number(count).await, WAITING);
    assert_eq!(
        platform
            .number("select count(*)::bigint from core.pending")
            .await,
        0
    );
    assert_eq!(
        platform
            .number("select sum(abs(unaccounted))::bigint from core.conservation where domain = 'pruebas'")
            .await,
        0
    );
}
