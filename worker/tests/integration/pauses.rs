//! A paused stream: nothing is taken from its queues, everything else goes on, and nothing is lost or delivered twice.

use acequia_testkit::wait_for;
use serde_json::{Value, json};

use crate::support::program::{Program, finish, program};
use crate::support::school::{alumno, alumnos};
use crate::support::{Message, Platform, ready};

const QUEUE: &str = "acequia.academico";
const RECEIVED: &str =
    "select coalesce(sum(received), 0)::bigint from core.conservation where domain = 'academico'";
const DUPLICATES: &str = "select coalesce(sum(duplicates), 0)::bigint from core.conservation";

impl Platform {
    /// `worker pause` or `worker resume`, as its JSON.
    async fn decide(&self, verb: &str, domain: &str) -> Value {
        let arguments = [verb, domain, "--reason", "a test", "--by", "ana", "--json"];
        let mut command = program(&arguments);
        command.args(["--database-url", &self.database.operator]);
        let done = finish(command).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Waits until a queue has this number of consumers.
    async fn consumers(&self, queue: &str, wanted: u32) {
        wait_for("consumers of a queue", async || {
            let found = self.queue(queue).await;
            Ok(found.is_some_and(|queue| queue.consumer_count() == wanted))
        })
        .await
        .unwrap();
    }

    async fn waiting(&self) -> u32 {
        self.queue(QUEUE).await.unwrap().message_count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_stream_takes_nothing_and_the_rest_goes_on() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.publish_all(&alumnos(1..11)).await;
    platform.settled(10).await;
    let paused = platform.decide("pause", "academico").await;
    assert_eq!(
        (&paused["changed"], &paused["who"]),
        (&json!(true), &json!("ana"))
    );
    // Its own queue and that of the reference system's publishers; not the other domain's.
    platform.consumers(QUEUE, 0).await;
    platform.consumers("etl", 0).await;
    platform.consumers("acequia.consumo", 1).await;
    platform.publish_all(&alumnos(11..311)).await;
    let cliente = json!({"propietario_id": "CLI_00001", "nombre": "x"}).to_string();
    platform
        .publish_all([&Message::new("consumo", "cliente", cliente)])
        .await;
    platform.settled(11).await;
    // The lane goes on looking at its queue.
    wait_for("a look at the queue", async || {
        let seen = "select count(*) from core.queue_looks where queue = 'acequia.academico' and ready = 300 and consumers = 0";
        Ok(platform.number(seen).await == 1)
    })
    .await
    .unwrap();
    assert_eq!(
        (platform.number(RECEIVED).await, platform.waiting().await),
        (10, 300)
    );
    worker.ready().await;
    let series = r#"acequia_stream_paused{queue="acequia.academico"} "#;
    assert!(worker.metrics().await.contains(&format!("{series}1")));
    let mut doctor = program(&["doctor", "--json"]);
    doctor.args([
        "--database-url",
        &platform.database.worker,
        "--amqp-url",
        &platform.broker.url,
    ]);
    let findings: Value = serde_json::from_str(&finish(doctor).await.stdout).unwrap();
    let finding = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["check"] == "stream academico");
    let finding = finding.unwrap_or_else(|| panic!("{findings}"));
    assert_eq!(finding["verdict"], "warn");
    assert!(
        finding["found"]
            .as_str()
            .unwrap()
            .contains("by ana, not broken: a test"),
        "{finding}"
    );

    let again = platform.decide("pause", "academico").await;
    assert_eq!(
        (&again["paused"], &again["changed"], &again["since"]),
        (&json!(true), &json!(false), &paused["since"])
    );
    assert_eq!(
        platform.decide("resume", "academico").await["changed"],
        true
    );
    platform.settled(311).await;
    assert_eq!(
        platform.decide("resume", "academico").await["changed"],
        false
    );
    assert!(worker.metrics().await.contains(&format!("{series}0")));
    assert_eq!(platform.number(DUPLICATES).await, 0);
    let decisions = platform.texts("select action || ' ' || who || ' ' || login || ' ' || (filters->>'domain') || ' ' || reason from core.audit_log order by audit_id").await;
    assert_eq!(
        decisions,
        [
            "pause_stream ana acequia_operator academico a test",
            "resume_stream ana acequia_operator academico a test"
        ]
    );
    let unknown = finish(program(&[
        "pause",
        "nobody",
        "--reason",
        "x",
        "--database-url",
        &platform.database.operator,
    ]))
    .await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(
        unknown.stderr.contains("there is no domain nobody"),
        "{unknown:?}"
    );
    worker.stop().await;
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_the_middle_of_a_load_doubles_nothing() {
    const ALL: i64 = 20_000;
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    let messages = alumnos(1..i32::try_from(ALL).unwrap() + 1);
    for round in 0..3 {
        let part = &messages[round * 6_000..(round + 1) * 6_000];
        let (_, ()) = tokio::join!(platform.publish_all(part), async {
            let begun = platform.number(RECEIVED).await;
            wait_for("a load", async || {
                Ok(platform.number(RECEIVED).await > begun + 500)
            })
            .await
            .unwrap();
            platform.decide("pause", "academico").await;
        });
        platform.consumers(QUEUE, 0).await;
        let sent = i64::try_from(round + 1).unwrap() * 6_000;
        wait_for("an end of what is held", async || {
            let received = platform.number(RECEIVED).await;
            Ok(received + i64::from(platform.waiting().await) == sent)
        })
        .await
        .unwrap();
        platform.decide("resume", "academico").await;
        platform.settled(sent).await;
    }
    platform.publish_all(&messages[18_000..]).await;
    platform.settled(ALL).await;
    assert_eq!(
        platform
            .number("select count(*) from academico.alumnos")
            .await,
        ALL
    );
    assert_eq!(
        (
            platform.number(DUPLICATES).await,
            platform.unaccounted().await
        ),
        (0, 0)
    );
    // The broker takes back what was on its way when the consumer ended, and may mark it as redelivered: it was in no batch.
    assert_eq!(
        platform.number("select count(*) from raw.quarantine").await,
        0
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlives_workers_and_reaches_all_of_them() {
    let platform = Platform::new().await;
    // Before any worker was there.
    platform.decide("pause", "academico").await;
    let mut workers: Vec<Program> = (0..4).map(|_| platform.program(&[])).collect();
    for worker in &workers {
        ready(&worker.http).await;
    }
    platform.consumers("acequia.consumo", 4).await;
    platform.publish_all(&alumnos(1..501)).await;
    // One is killed, one is stopped, and both come back.
    workers.pop().unwrap().kill().await;
    let stopped = workers.pop().unwrap().terminate().await;
    assert!(stopped.status.success(), "{stopped:?}");
    workers.extend((0..2).map(|_| platform.program(&[])));
    for worker in &workers {
        ready(&worker.http).await;
    }
    platform.consumers("acequia.consumo", 4).await;
    assert_eq!(
        (platform.number(RECEIVED).await, platform.waiting().await),
        (0, 500)
    );
    platform.decide("resume", "academico").await;
    platform.consumers(QUEUE, 4).await;
    platform.settled(500).await;

    // Each worker follows a pause while it runs.
    platform.decide("pause", "academico").await;
    platform.consumers(QUEUE, 0).await;
    platform.publish_all([&alumno(501)]).await;
    // A worker that was frozen meanwhile follows the resumption when it goes on.
    workers[0].signal("STOP").await;
    platform.decide("resume", "academico").await;
    platform.settled(501).await;
    workers[0].signal("CONT").await;
    platform.consumers(QUEUE, 4).await;
    assert_eq!(
        (
            platform.number(DUPLICATES).await,
            platform.unaccounted().await
        ),
        (0, 0)
    );
    for worker in workers {
        let ended = worker.terminate().await;
        assert!(ended.status.success(), "{ended:?}");
    }
    platform.nothing_is_left_in_the_queues().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_lane_survives_a_cut_of_its_connection() {
    let platform = Platform::new().await;
    let worker = platform.worker(&[]);
    worker.ready().await;
    platform.decide("pause", "academico").await;
    platform.consumers(QUEUE, 0).await;
    platform.publish_all(&alumnos(1..21)).await;
    // Its database session is gone, and the one that listens, too.
    assert!(platform.terminate_backends().await > 0);
    worker.ready().await;
    assert_eq!(
        (platform.number(RECEIVED).await, platform.waiting().await),
        (0, 20)
    );
    platform.decide("resume", "academico").await;
    platform.settled(20).await;
    assert_eq!(platform.number(DUPLICATES).await, 0);
    worker.stop().await;
}
