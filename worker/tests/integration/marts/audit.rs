//! The audit trail of marks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx_macros::FromRow;
use uuid::Uuid;

use super::{catalogues, fetch, mark, sent, student};
use crate::permutations::{Feed, Sent, demo};
use crate::support::Platform;

/// A row of the audit trail.
#[derive(Debug, Clone, PartialEq, FromRow)]
struct Change {
    id_alumno: i32,
    id_grupo: i32,
    calificacion_anterior: Decimal,
    calificacion_nueva: Decimal,
    message_id_anterior: Uuid,
    message_id: Uuid,
    event_at: DateTime<Utc>,
}

const TRAIL: &str = "select * from academico.calificaciones_audit order by audit_id";

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_has_one_row_for_each_change_of_a_mark() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let parents = catalogues(1).into_iter().chain([student(1), student(2)]);
    feed.send(&sent(1_000, parents), 10).await;
    let minute = |minute: u32| -> DateTime<Utc> {
        format!("2024-06-01T10:{minute:02}:00Z").parse().unwrap()
    };
    let version = |id: u128, at: u32, mark: f64, day: &str| {
        let body = json!({"id_alumno": 1, "id_grupo": 1, "calificacion": mark, "fecha_registro": day, "ts": minute(at)});
        Sent::new(id, "calificacion", &body)
    };
    let day = "2024-05-01";
    // Each line is a batch of its own, promoted at once.
    let batches = [
        vec![version(1, 10, 5.0, day)],
        vec![version(2, 20, 7.5, day)],          // 5.0 -> 7.5
        vec![version(2, 20, 7.5, day)],          // the same message again
        vec![version(3, 5, 9.9, day)],           // too old
        vec![version(4, 30, 7.50, day)],         // newer, the same mark
        vec![version(5, 40, 7.5, "2024-05-02")], // another day, the same mark
        vec![version(6, 50, 9.0, day)],          // 7.5 -> 9.0
        vec![version(7, 52, 1.0, day), version(8, 51, 2.0, day)], // 9.0 -> 1.0, never 2.0
        vec![mark_of(2, 9), version(10, 1, 3.0, day)], // another student's first mark
    ];
    for batch in &batches {
        feed.send(batch, 10).await;
    }
    let change = |old: &str, new: &str, old_id: u128, id: u128, at: u32| Change {
        id_alumno: 1,
        id_grupo: 1,
        calificacion_anterior: old.parse().unwrap(),
        calificacion_nueva: new.parse().unwrap(),
        message_id_anterior: Uuid::from_u128(old_id),
        message_id: Uuid::from_u128(id),
        event_at: minute(at),
    };
    let expected = [
        change("5.00", "7.50", 1, 2, 20),
        // The message that vouched for the old mark last.
        change("7.50", "9.00", 5, 6, 50),
        change("9.00", "1.00", 6, 7, 52),
    ];
    let mut owner = platform.connect().await;
    let trail: Vec<Change> = fetch(&mut owner, TRAIL).await;
    assert_eq!(trail, expected);
}

fn mark_of(student: i32, id: u128) -> Sent {
    let (entity, body) = mark(student, 1, 6.0);
    Sent::new(id, entity, &body)
}

type Marks = BTreeMap<(i32, i32), (Decimal, Uuid)>;

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_of_the_demo_is_the_difference_of_the_core_before_and_after() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let mut owner = platform.connect().await;
    let (mut before, mut expected) = (Marks::new(), Vec::new());
    // Parents come first in the demo; marks come with their corrections behind them.
    for batch in demo().chunks(500) {
        feed.send(batch, 100).await;
        let rows: Vec<(i32, i32, Decimal, Uuid)> = fetch(
            &mut owner,
            "select id_alumno, id_grupo, calificacion, message_id from academico.calificaciones",
        )
        .await;
        let after: Marks = rows
            .into_iter()
            .map(|(student, group, mark, id)| ((student, group), (mark, id)))
            .collect();
        for (pair, (mark, id)) in &after {
            if let Some((old, old_id)) = before.get(pair)
                && old != mark
            {
                expected.push((*pair, *old, *mark, *old_id, *id));
            }
        }
        before = after;
    }
    let trail: Vec<Change> = fetch(&mut owner, TRAIL).await;
    let mut trail: Vec<_> = trail
        .into_iter()
        .map(|row| {
            let pair = (row.id_alumno, row.id_grupo);
            (
                pair,
                row.calificacion_anterior,
                row.calificacion_nueva,
                row.message_id_anterior,
                row.message_id,
            )
        })
        .collect();
    assert!(
        expected.len() > 1_000,
        "the demo has {} corrections only",
        expected.len()
    );
    trail.sort();
    expected.sort();
    assert_eq!(trail, expected);
}
