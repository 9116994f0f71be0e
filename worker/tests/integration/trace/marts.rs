//! Whether a mart shows what a message brought.

use serde_json::{Value, json};

use super::{row_of, sent, subject, told, traced};
use crate::permutations::Feed;
use crate::support::Platform;

/// Whether a mart shows the core's row.
fn shows(row: &Value, mart: &str) -> bool {
    let mut marts = row["core"]["marts"].as_array().unwrap().iter();
    let found = marts.find(|found| found["mart"] == mart);
    found.unwrap_or_else(|| panic!("{mart}: {row:#}"))["shows_it"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_followed_from_staging_to_the_marts() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let first = subject(1, "Álgebra secreta", "01");
    feed.stage(&[&first, &first]).await;

    let row = row_of(&platform, &first).await;
    assert_eq!(row["outcome"], "staged");
    assert_eq!(row["entity"], "academico.materia");
    assert_eq!(row["key"], json!({"id_materia": 1}));
    assert_eq!(row["table"], "stg.materias_upsert");
    assert_eq!(row["event_at"], "2024-01-01T00:00:00Z");
    assert_eq!(row["batch"]["queue"], "acequia.academico");
    assert_eq!(row["batch"]["worker"], "test");
    assert_eq!(row["batch"]["state"], "staged");
    assert_eq!(row["core"], Value::Null);
    let lag = row["lag_s"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&lag), "{lag}");

    feed.promote_all().await;
    let row = row_of(&platform, &first).await;
    assert_eq!(row["outcome"], "current");
    assert_eq!(row["core"]["message_id"], first.id);
    assert_eq!(row["core"]["table"], "academico.materias");
    assert_eq!(row["core"]["in_core_by"], row["batch"]["promoted_at"]);
    assert!(
        !shows(&row, "marts.kpi_materia") && shows(&row, "marts.kpi_grupo"),
        "{row:#}"
    );
    feed.refresh().await;
    assert!(shows(&row_of(&platform, &first).await, "marts.kpi_materia"));

    // A copy leaves no trace of its own: the message is where it was.
    let before = traced(&platform, &[&first.id]).await["rows"][0]["batch"].clone();
    feed.stage(&[&first]).await;
    feed.promote_all().await;
    let row = row_of(&platform, &first).await;
    assert_eq!(
        (&row["outcome"], &row["batch"]),
        (&json!("current"), &before)
    );

    let (newer, older) = (subject(1, "B", "03"), subject(1, "C", "02"));
    feed.stage(&[&newer]).await;
    feed.promote_all().await;
    feed.stage(&[&older]).await;
    feed.promote_all().await;
    for (message, outcome) in [
        (&first, "superseded"),
        (&newer, "current"),
        (&older, "superseded"),
    ] {
        let row = row_of(&platform, message).await;
        assert_eq!(row["outcome"], outcome);
        assert_eq!(row["core"]["message_id"], newer.id);
        assert!(!shows(&row, "marts.kpi_materia"), "{row:#}");
    }

    let text = told(&platform, &[&first.id]).await;
    for part in [
        "published",
        "received",
        "staged",
        "promoted",
        "superseded by message",
    ] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    assert!(text.contains(&newer.id) && text.contains("marts.kpi_materia not refreshed since"));

    // Values may be personal data.
    for arguments in [
        &[first.id.as_str()][..],
        &["academico.materia", "1"],
        &[&first.id, "--json"],
    ] {
        assert!(!told(&platform, arguments).await.contains("secreta"));
        let with_values = [arguments, &["--values"]].concat();
        assert!(
            told(&platform, &with_values)
                .await
                .contains("Álgebra secreta")
        );
    }
}

/// A mart that leaves some keys out is asked whether it has this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_mart_that_leaves_a_key_out_does_not_show_it() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let student = |id: i32| {
        let body = json!({"id_alumno": id, "nombre": format!("A{id}"), "edad": 20, "genero": "F"});
        sent("alumno", &body)
    };
    let mark = |id: i32, mark: f64| {
        let body = json!({"id_alumno": id, "id_grupo": 1, "calificacion": mark});
        sent("calificacion", &body)
    };
    let group = json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"});
    let (good, bad) = (student(1), student(2));
    let marks = mark(1, 9.0);
    feed.stage(&[
        &subject(1, "A", "01"),
        &sent("maestro", &json!({"id_maestro": 1, "nombre": "Ana"})),
        &sent("grupo", &group),
        &good,
        &bad,
        &marks,
        &mark(2, 4.0),
    ])
    .await;
    feed.promote_all().await;

    for (message, at_risk) in [(&good, false), (&bad, true)] {
        let row = row_of(&platform, message).await;
        assert_eq!(shows(&row, "marts.alumnos_en_riesgo"), at_risk, "{row:#}");
        assert!(shows(&row, "marts.kpi_alumno"), "{row:#}");
    }
    let text = told(&platform, &["academico.alumno", "1"]).await;
    assert!(
        text.contains("marts.alumnos_en_riesgo has no row of it")
            && text.contains("marts.kpi_alumno reads it live, shows its row"),
        "{text}"
    );
    let text = told(&platform, &["academico.alumno", "2"]).await;
    assert!(
        text.contains("marts.alumnos_en_riesgo reads it live, shows its row"),
        "{text}"
    );
    // Rows of averages are by other keys: what a mark does to them is not claimed.
    let row = row_of(&platform, &marks).await;
    let mart = row["core"]["marts"].as_array().unwrap();
    let mart = mart.iter().find(|mart| mart["mart"] == "marts.kpi_grupo");
    assert_eq!(mart.unwrap()["has_row"], Value::Null);
}

/// The batch of a row that waited is promoted long before the row is.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_waited_is_shown_by_marts_refreshed_after_it_came_in() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let group = sent(
        "grupo",
        &json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"}),
    );
    feed.stage(&[&group]).await;
    feed.promote_all().await;
    let row = row_of(&platform, &group).await;
    assert_eq!(
        (&row["outcome"], &row["batch"]["state"]),
        (&json!("pending"), &json!("promoted"))
    );
    assert_eq!(row["pending"]["parent"], "academico.materia");
    assert_eq!(
        (&row["pending"]["parent_key"], &row["pending"]["ready"]),
        (&json!("1"), &json!(false))
    );
    assert!(
        told(&platform, &[&group.id])
            .await
            .contains("waits for academico.materia 1")
    );

    let parent = traced(&platform, &["academico.materia", "1"]).await;
    assert_eq!(
        (&parent["core"], &parent["versions"]),
        (&Value::Null, &json!([]))
    );
    assert_eq!(parent["waiting"][0]["message_id"], group.id);
    assert_eq!(parent["waiting"][0]["entity"], "academico.grupo");
    let text = told(&platform, &["academico.materia", "1"]).await;
    assert!(
        text.contains("has no such row") && text.contains(&group.id),
        "{text}"
    );

    feed.stage(&[&subject(1, "A", "01"), &subject(2, "B", "01")])
        .await;
    feed.promote_all().await;
    feed.refresh().await;
    let teacher = sent("maestro", &json!({"id_maestro": 1, "nombre": "Ana"}));
    feed.stage(&[&teacher]).await;
    feed.promote_all().await;
    let row = row_of(&platform, &group).await;
    assert_eq!(row["outcome"], "current");
    assert_eq!(
        row["core"]["in_core_by"],
        row_of(&platform, &teacher).await["batch"]["promoted_at"]
    );
    assert!(!shows(&row, "marts.kpi_materia"), "{row:#}");
    feed.refresh().await;
    assert!(shows(&row_of(&platform, &group).await, "marts.kpi_materia"));
}
