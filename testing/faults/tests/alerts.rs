//! Alerts over real servers: things break, the alerts that are named fire, and clear again.
//!
//! Time in rules is divided by 60 (see `observe::settings`), so an alert that waits for five
//! minutes waits for five seconds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use acequia_faults::environment::{TestEnv, signal};
use acequia_faults::load::{Flow, Load};
use acequia_faults::observe::{Prometheus, TimeScale};
use acequia_faults::process_supervisor::{Orders, ProcessSupervisor};
use acequia_faults::scenario_run::PLATFORM_RULES_ONLY;
use acequia_testkit::wait_within;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};

const TIME_SCALE: TimeScale = TimeScale {
    pace: 60,
    every: 500,
    workers: 500,
};
/// Longest time for an alert to fire or to clear: the longest range is an hour, here a minute.
const WITHIN: Duration = Duration::from_secs(75);

/// Servers, a worker, a publisher, and who looks on.
struct Scene {
    environment: TestEnv,
    supervisor: ProcessSupervisor,
    load: Load,
    prometheus: Prometheus,
    fired: BTreeSet<String>,
}

impl Scene {
    async fn set() -> Self {
        let environment = TestEnv::set(true).await.unwrap();
        // The alerts on what analysts were promised need not wait for a minute.
        environment
            .execute("update core.marts set objective = '2 seconds'")
            .await
            .unwrap();
        environment.execute(PLATFORM_RULES_ONLY).await.unwrap();
        let options = "--stall-after 3s --check-every 1s --refresh-every 500ms";
        let orders = Orders {
            database: environment.database.worker.clone(),
            broker: environment.broker.url.clone(),
            options: options.split(' ').map(ToOwned::to_owned).collect(),
            folder: environment.folder.clone(),
        };
        let supervisor =
            ProcessSupervisor::start(1, &orders, Some(&format!("panic:{PANIC}"))).unwrap();
        let addresses = [supervisor.members[0].http.clone()];
        let load = Load::start(&environment.broker.url, Flow::new(1, 60.0))
            .await
            .unwrap();
        let prometheus = Prometheus::start(&environment, &addresses, TIME_SCALE)
            .await
            .unwrap();
        Self {
            environment,
            supervisor,
            load,
            prometheus,
            fired: BTreeSet::new(),
        }
    }

    /// Waits until these alerts have fired.
    async fn fire(&mut self, alerts: &[&str]) {
        let begun = Instant::now();
        let mut missing: Vec<&str> = Vec::new();
        let fired = wait_within(WITHIN, "alerts that fire", async || {
            self.look().await;
            missing = alerts.to_vec();
            missing.retain(|alert| !self.fired.contains(*alert));
            Ok(missing.is_empty())
        });
        let fired = fired.await.is_ok();
        println!("{alerts:?} within {:.1} s", begun.elapsed().as_secs_f64());
        assert!(fired, "these did not fire: {missing:?}");
    }

    /// Waits until no alert fires, except those that look back over hours or days (here minutes).
    async fn clear(&mut self) {
        let begun = Instant::now();
        let mut firing = BTreeSet::new();
        let clear = wait_within(WITHIN, "alerts that clear", async || {
            firing = self.look().await;
            // The four hours that RabbitmqDiskLow looks ahead are a number and not divided, so
            // whoever else writes to this disk makes it fire.
            firing.retain(|alert| {
                !alert.ends_with("BurnSlow")
                    && !["RabbitmqDiskLow", "AcequiaMessagesLost"].contains(&alert.as_str())
            });
            Ok(firing.is_empty())
        });
        let clear = clear.await.is_ok();
        println!("all clear within {:.1} s", begun.elapsed().as_secs_f64());
        assert!(clear, "these did not clear: {firing:?}");
    }

    async fn look(&mut self) -> BTreeSet<String> {
        let firing = self.prometheus.alerts("firing").await.unwrap_or_default();
        self.fired.extend(firing.iter().cloned());
        firing
    }

    /// Publishes bodies straight into a queue or by a routing key.
    async fn publish(&self, exchange: &str, key: &str, bodies: impl IntoIterator<Item = String>) {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.environment.broker.url, properties)
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        for body in bodies {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let sent = channel.basic_publish(
                exchange.into(),
                key.into(),
                options,
                body.as_bytes(),
                properties,
            );
            sent.await.unwrap();
        }
        connection.close(200, "done".into()).await.unwrap();
    }

    async fn sql(&self, statements: &str) {
        self.environment
            .execute(statements)
            .await
            .expect(statements);
    }

    async fn rabbitmqctl(&self, arguments: &[&str]) {
        self.environment
            .services()
            .rabbitmqctl(arguments)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_fire_and_clear() {
    let mut scene = Scene::set().await;
    // The worker has to start first, and to be seen with nothing done.
    wait_within(WITHIN, "a worker that is ready", async || {
        let ready = "min(acequia_ready) * min(up) * (count(up) == bool 4)";
        Ok(scene.prometheus.value(ready).await.unwrap_or_default() == Some(1.0))
    })
    .await
    .unwrap();
    scene.clear().await;
    messages_and_rules(&mut scene).await;
    accounts_and_locks(&mut scene).await;
    broker(&mut scene).await;
    database(&mut scene).await;
    worker(&mut scene).await;
    scene.clear().await;
    drop(scene.load);
    scene.supervisor.stop().await.unwrap();
}

/// Messages that are refused, given up, without parents or without a queue; a decoder that
/// panics; rules that fail and one that cannot run; a mart that cannot be refreshed.
async fn messages_and_rules(scene: &mut Scene) {
    let mark = |number: u32| {
        let student = 900_000 + number;
        format!(
            r#"{{"id_alumno":{student},"id_grupo":900001,"calificacion":8,"fecha":"2024-01-01"}}"#
        )
    };
    let orphans = (0..1300).map(mark);
    scene
        .publish("acequia", "academico.calificacion", orphans)
        .await;
    for (exchange, key, body) in [
        ("", "acequia.dead", "given up"),
        ("acequia", "academico.alumno", PANIC),
        ("acequia", "nobody.at.all", "where to?"),
        (
            "acequia",
            "academico.maestro",
            r#"{"event_id":"one","id_maestro":1,"nombre":"A"}"#,
        ),
        (
            "acequia",
            "academico.maestro",
            r#"{"event_id":"one","id_maestro":2,"nombre":"B"}"#,
        ),
    ] {
        scene.publish(exchange, key, [body.to_owned()]).await;
    }
    scene.sql(RULES).await;
    scene
        .sql("alter materialized view marts.kpi_materia rename to kpi_materia_away")
        .await;
    // Refused ones for a quarter of a minute: one burst is no pattern.
    for second in 0..15 {
        let bad = (0..25).map(|number| format!(r#"{{"id_alumno":-{second}{number:02}}}"#));
        scene.publish("acequia", "academico.alumno", bad).await;
        scene.look().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    scene
        .fire(&[
            "AcequiaQuarantineGrowing",
            "AcequiaRejectRatioHigh",
            "AcequiaValidMessagesRefused",
            "AcequiaDeadLetters",
            "AcequiaPanic",
            "RabbitmqUnroutable",
            "AcequiaDqErrorFailing",
            "AcequiaDqRuleError",
            "AcequiaMartStale",
            "AcequiaMartVeryStale",
            "AcequiaMartGateClosed",
            "AcequiaPendingBacklog",
            "AcequiaDqWarnFailing",
        ])
        .await;
    // Nothing holds the mart any more, but it is not there.
    scene
        .sql("update core.dq_rules set enabled = false where rule like 'planted%'")
        .await;
    scene.fire(&["AcequiaRefreshFailing"]).await;
    scene
        .sql("alter materialized view marts.kpi_materia_away rename to kpi_materia")
        .await;
}

/// A ledger that is falsified, and repaired; a table that is locked, so that promotion stands still.
async fn accounts_and_locks(scene: &mut Scene) {
    scene.sql(COOK).await;
    scene.fire(&["AcequiaMessagesUnaccounted"]).await;
    scene
        .sql("insert into core.pending select * from cooked; drop table cooked")
        .await;
    scene.sql(GIVE_ORPHANS_UP).await;
    let mut lock = scene.environment.admin().await.unwrap();
    sqlx::raw_sql("begin; lock table academico.alumnos in access exclusive mode")
        .execute(&mut lock)
        .await
        .unwrap();
    scene.fire(&["AcequiaNotReady"]).await;
}

/// An alarm, an alert of the core that waits meanwhile, connections that are closed, its end.
async fn broker(scene: &mut Scene) {
    scene.fired.clear();
    scene
        .rabbitmqctl(&["set_vm_memory_high_watermark", "0"])
        .await;
    scene.fire(&["RabbitmqAlarm"]).await;
    // A broker that takes nothing takes no alert of the core either.
    scene
        .sql(
            "insert into core.outbox (domain, routing_key, body, created_at)
             values ('academico', 'academico.told', '{}', now() - interval '1 hour')",
        )
        .await;
    scene.fire(&["AcequiaOutboxStuck"]).await;
    scene
        .rabbitmqctl(&["set_vm_memory_high_watermark", "0.5"])
        .await;
    for _ in 0..5 {
        scene.environment.broker.close_connections().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    scene.fire(&["AcequiaConsumingInterrupted"]).await;
    signal(
        "KILL",
        scene.environment.services().pid("rabbitmq").unwrap(),
    )
    .unwrap();
    scene.fire(&["AcequiaTargetDown"]).await;
    scene.environment.services().restart().await.unwrap();
}

/// Away for so long that messages are late.
async fn database(scene: &mut Scene) {
    scene.fired.clear();
    signal(
        "KILL",
        scene.environment.services().pid("postgresql").unwrap(),
    )
    .unwrap();
    let down = Instant::now();
    scene
        .fire(&[
            "PostgresqlDown",
            "AcequiaDatabaseUnreadable",
            "AcequiaLoopFailing",
            "AcequiaQueueStalled",
        ])
        .await;
    tokio::time::sleep(Duration::from_secs(35).saturating_sub(down.elapsed())).await;
    scene.environment.services().restart().await.unwrap();
    scene.fire(&["AcequiaLatencyBudgetBurnFast"]).await;
    // As a server has it that lacks the last batches: workers look on their next connections.
    scene.sql(LOSE).await;
    scene.fire(&["AcequiaMessagesLost"]).await;
}

/// Killed again and again, then away for a while.
async fn worker(scene: &mut Scene) {
    scene.fired.clear();
    for _ in 0..4 {
        wait_within(WITHIN, "a worker to kill", async || {
            Ok(scene.supervisor.members[0].signal("KILL").is_ok())
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    scene.fire(&["AcequiaWorkerRestarting"]).await;
    scene.supervisor.members[0].hold(true);
    scene.supervisor.members[0].signal("KILL").unwrap();
    scene
        .fire(&["AcequiaWorkerAbsent", "AcequiaQueueWithoutConsumer"])
        .await;
    scene.supervisor.members[0].hold(false);
}

/// A message that holds this text makes the decoder panic.
const PANIC: &str = "PANIC7c1f";

const RULES: &str = "
insert into core.dq_rules (rule, domain, schema_name, table_name, test, severity, description, remedy, failing_rows, threshold)
values
('planted_error', 'academico', 'academico', 'calificaciones', 'expression_is_true', 'error', 'd', 'r', 'select 1 as key', 0),
('planted_warn', 'academico', 'academico', 'alumnos', 'expression_is_true', 'warn', 'd', 'r', 'select 1 as key', 0),
('planted_broken', 'academico', 'academico', 'alumnos', 'expression_is_true', 'warn', 'd', 'r', 'select 1 as key from nowhere', 0)";

/// Takes one of the orphans: what the load sends waits for a moment only, and may be gone before it is taken.
const COOK: &str = "
create table cooked as select * from core.pending where parent_key like '900%' limit 1;
delete from core.pending p using cooked c where p.message_id = c.message_id and p.entity = c.entity";

/// Batches that have another identity than the one that their worker knows; every connection ends.
const LOSE: &str = "
update core.batches set identity = gen_random_uuid()
where batch_id in (select batch_id from core.batches where identity is not null order by batch_id desc limit 3);
select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";

/// Their parents would be a thousand messages more.
const GIVE_ORPHANS_UP: &str = "select core.expire_pending('academico', interval '0')";
