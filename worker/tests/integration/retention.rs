//! What has served its time goes, and the accounts still hold.

use std::time::Duration;

use acequia_worker::config::LoopArgs;
use acequia_worker::maintain::{ensure_partitions, retain};
use clap::Parser;
use lapin::BasicProperties;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::Platform;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    loops: LoopArgs,
}

async fn number(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(connection)
        .await
        .unwrap()
}

const STAGED_ROWS: &str = "select count(*) from stg.alumnos_upsert";

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_and_the_accounts_stay() {
    let platform = Platform::new().await;
    let mut owner = platform.connect().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    // Two students with a day in their id, one without; one mark whose student never comes.
    for id in 1..=3 {
        let message_id = if id < 3 {
            Uuid::now_v7().to_string()
        } else {
            "no-day".to_owned()
        };
        let body = format!(r#"{{"id_alumno":{id},"nombre":"A","edad":20,"genero":"F"}}"#);
        let properties = BasicProperties::default().with_message_id(message_id.into());
        platform
            .publish("acequia", "academico.alumno", properties, body.as_bytes())
            .await;
    }
    let orphan = br#"{"id_alumno":99,"id_grupo":99,"calificacion":5}"#;
    platform
        .publish(
            "acequia",
            "academico.calificacion",
            BasicProperties::default(),
            orphan,
        )
        .await;
    platform
        .publish(
            "acequia",
            "academico.alumno",
            BasicProperties::default(),
            b"{}",
        )
        .await;
    platform.settled(5).await;
    worker.stop().await;
    assert_eq!(number(&mut owner, STAGED_ROWS).await, 3);

    // Nothing is old yet.
    let settings = Settings::try_parse_from(["worker"]).unwrap().loops;
    assert_eq!(retain(&mut owner, &settings).await.unwrap(), Vec::new());
    assert_eq!(number(&mut owner, STAGED_ROWS).await, 3);

    // With no time to live everything is old, but for the mark that waits for its student.
    let before: Vec<(String, i64, i64, i64)> = conservation(&mut owner).await;
    let none = LoopArgs {
        staging_keep: Duration::ZERO,
        quarantine_keep: Duration::ZERO,
        log_keep: Duration::ZERO,
        ..settings
    };
    // Days before today go as partitions: today's stays until tomorrow.
    sqlx::query("update core.batches set received_at = received_at - interval '2 days', promoted_at = promoted_at - interval '2 days'")
        .execute(&mut owner)
        .await
        .unwrap();
    let removed = retain(&mut owner, &none).await.unwrap();
    assert!(
        removed.iter().any(|(what, _)| what == "core.batches"),
        "{removed:?}"
    );
    assert_eq!(
        number(&mut owner, STAGED_ROWS).await,
        2,
        "the one without a day went by row"
    );
    assert_eq!(
        number(&mut owner, "select count(*) from core.pending").await,
        1
    );
    assert_eq!(
        number(&mut owner, "select count(*) from stg.calificaciones_event").await,
        1
    );
    assert_eq!(
        number(&mut owner, "select count(*) from raw.quarantine").await,
        0
    );
    assert_eq!(
        number(&mut owner, "select count(*) from core.batches").await,
        1,
        "the batch of the mark"
    );
    assert_eq!(conservation(&mut owner).await, before);
    assert_eq!(platform.difference().await, 0);

    // Yesterday's partition is dropped once it is older than the time to live, and made again.
    let yesterday = "select (to_regclass('stg.alumnos_upsert' || to_char(current_date - 1, '\"_p\"YYYYMMDD')) is not null)::int::bigint";
    assert_eq!(number(&mut owner, yesterday).await, 0);
    assert!(ensure_partitions(&mut owner).await.unwrap() > 0);
    assert_eq!(number(&mut owner, yesterday).await, 1);

    // The student comes at last: the mark was not forgotten.
    let worker = platform.worker(&[]);
    worker.ready().await;
    let student = br#"{"id_alumno":99,"nombre":"A","edad":20,"genero":"F"}"#;
    platform
        .publish(
            "acequia",
            "academico.alumno",
            BasicProperties::default(),
            student,
        )
        .await;
    platform.settled(6).await;
    assert_eq!(platform.difference().await, 0);
    worker.stop().await;
}

async fn conservation(connection: &mut PgConnection) -> Vec<(String, i64, i64, i64)> {
    sqlx::query_as(
        "select entity, received::bigint, (promoted + stale + duplicates)::bigint, (pending + quarantined)::bigint from core.conservation",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}
