//! `worker trace`: what it says of a message is what became of it.

mod cost;
mod marts;
mod output;
mod quarantine;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::permutations::{Feed, Sent};
use crate::support::Platform;
use crate::support::program::{Finished, finish, program};
use crate::support::school::alumno_body;

async fn trace_by(database: &str, arguments: &[&str]) -> Finished {
    let mut command = program(&["trace"]);
    command.args(arguments).env("DATABASE_URL", database);
    finish(command).await
}

/// Text output of `worker trace`; it must have found something.
async fn told(platform: &Platform, arguments: &[&str]) -> String {
    let done = trace_by(&platform.database.worker, arguments).await;
    assert_eq!(done.status.code(), Some(0), "{}", done.stderr);
    done.stdout
}

/// Output of `worker trace --json`, whether it has found something or not.
async fn traced(platform: &Platform, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let done = trace_by(&platform.database.worker, &arguments).await;
    let trace: Value = serde_json::from_str(&done.stdout).expect(&done.stderr);
    let unknown = trace["outcome"] == "unknown";
    assert!(
        trace["trace"] == "key" || done.status.success() != unknown,
        "{trace:#}"
    );
    trace
}

/// The row of a staged message in its trace.
async fn row_of(platform: &Platform, sent: &Sent) -> Value {
    let trace = traced(platform, &[&sent.id]).await;
    assert_eq!(trace["outcome"], trace["rows"][0]["outcome"]);
    assert_eq!(trace["rows"].as_array().unwrap().len(), 1, "{trace:#}");
    trace["rows"][0].clone()
}

fn sent(entity: &'static str, body: &Value) -> Sent {
    Sent::new(Uuid::now_v7().as_u128(), entity, body)
}

fn subject(id: i32, name: &str, ts: &str) -> Sent {
    let ts = format!("2024-01-{ts}T00:00:00Z");
    sent(
        "materia",
        &json!({"id_materia": id, "nombre": name, "creditos": 8, "ts": ts}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_tells_all_its_versions() {
    let platform = Platform::new().await;
    let mut feed = Feed::new(&platform.database).await;
    let enrolment = |ts: &str, day: &str| {
        sent(
            "inscripcion",
            &json!({"id_alumno": 7, "id_grupo": 1, "ts": format!("2024-01-{ts}T00:00:00Z"), "fecha_inscripcion": day}),
        )
    };
    let versions = [
        enrolment("01", "2024-01-01"),
        enrolment("02", "2024-01-02"),
        enrolment("03", "2024-01-03"),
    ];
    let mut other = enrolment("04", "2024-01-04");
    other.body = other
        .body
        .clone()
        .into_iter()
        .map(|byte| if byte == b'7' { b'8' } else { byte })
        .collect();
    let group = json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1, "periodo": "2024A"});
    let parents = [
        subject(1, "A", "01"),
        sent("maestro", &json!({"id_maestro": 1, "nombre": "Ana"})),
        sent("grupo", &group),
        sent("alumno", &alumno_body(7)),
    ];
    feed.stage(&parents.iter().collect::<Vec<_>>()).await;
    feed.stage(&[&versions[2], &versions[0], &other]).await;
    feed.promote_all().await;
    feed.stage(&[&versions[1]]).await;

    let trace = traced(&platform, &["academico.inscripcion", "7", "1"]).await;
    assert_eq!(trace["key"], json!({"id_alumno": "7", "id_grupo": "1"}));
    assert_eq!(trace["core"]["message_id"], versions[2].id);
    assert_eq!(trace["core"]["key"], json!({"id_alumno": 7, "id_grupo": 1}));
    let told_of: Vec<_> = trace["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| {
            (
                version["message_id"].as_str().unwrap(),
                version["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let ids: Vec<_> = versions.iter().map(|version| version.id.as_str()).collect();
    assert_eq!(
        told_of,
        [
            (ids[0], "superseded"),
            (ids[1], "staged"),
            (ids[2], "current")
        ]
    );
    // In the other order it is another key, of which nothing is known.
    let arguments = ["academico.inscripcion", "1", "7"];
    let done = trace_by(&platform.database.worker, &arguments).await;
    assert_eq!(done.status.code(), Some(1));
    assert!(
        done.stderr
            .contains("nothing is known of academico.inscripcion 1 7"),
        "{}",
        done.stderr
    );
    // Another student's enrolment waits for the student.
    let waiting = traced(&platform, &["academico.alumno", "8"]).await;
    assert_eq!(waiting["waiting"][0]["message_id"], other.id);
}
