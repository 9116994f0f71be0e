//! Operations on archives that are killed, cancelled, or have to wait.

use acequia_testkit::metrics::Page;
use acequia_testkit::wait_for;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{ARCHIVE, RESTORE, Scene, archive_all, restore_all};
use crate::process::Process;

impl Scene {
    /// As if the process of the operation had been silent for half a minute.
    async fn forgotten(&self) {
        self.platform
            .execute("update core.operations set seen_at = now() - interval '1 minute' where finished_at is null")
            .await;
    }

    /// Asks a process for an operation, kills it at a place, and lets another one end the operation.
    async fn killed_at(&self, place: &str, path: &str, body: &Value) -> Value {
        let first = Process::start(&self.platform, place).await;
        let id = self.post(path, body).await.is(202)["operation_id"].clone();
        first.killed_at(place).await;
        let state = format!("select state from core.operations where operation_id = {id}");
        assert_eq!(self.platform.text(&state).await, "running", "{place}");
        // Each reading is in the table or in a file that counts, and in one of them only.
        let counted = "select coalesce(sum(row_count), 0)::bigint from core.archives where state = 'archived'";
        let archived = self.platform.number(counted).await;
        assert_eq!(self.rows().await + archived, self.readings, "{place}");
        let second = Process::start(&self.platform, "").await;
        self.forgotten().await;
        let ended = self.platform.ended(&self.token, &id).await;
        drop(second);
        assert_eq!(
            (&ended["state"], &ended["done"], &ended["failed"]),
            (&json!("done"), &ended["matched"], &json!(0)),
            "{place}: {ended}"
        );
        // Two processes, one decision.
        let runs = format!("select count(*) from core.archive_runs where operation_id = {id}");
        assert_eq!(self.platform.number(&runs).await, 2, "{place}");
        let decided = format!("select count(*) from core.audit_log where operation_id = {id}");
        assert_eq!(self.platform.number(&decided).await, 1, "{place}");
        self.in_order().await;
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_api_loses_and_doubles_no_row() {
    let (scene, api) = Scene::new().await;
    api.stop().await;
    let before = scene.checksum().await;
    for place in [
        "archive.begun",
        "archive.written",
        "archive.verified",
        "archive.dropped",
    ] {
        let ended = scene.killed_at(place, ARCHIVE, &archive_all()).await;
        assert_eq!(ended["done"], 2, "{place}");
        assert_eq!(scene.rows().await, 0, "{place}");
        assert_eq!(scene.rows_in_files(), scene.readings, "{place}");
        let process = Process::start(&scene.platform, "").await;
        scene.moved(RESTORE, &restore_all(), 2).await;
        drop(process);
        assert_eq!(scene.checksum().await, before, "{place}");
    }
    for place in ["restore.filled", "restore.attached"] {
        let process = Process::start(&scene.platform, "").await;
        scene.moved(ARCHIVE, &archive_all(), 2).await;
        drop(process);
        let ended = scene.killed_at(place, RESTORE, &restore_all()).await;
        assert_eq!(ended["done"], 2, "{place}");
        assert_eq!(scene.checksum().await, before, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_operation_leaves_whole_partitions() {
    let (scene, api) = Scene::new().await;
    let before = scene.checksum().await;
    // The second partition waits until the process knows that somebody wants the rest cancelled.
    scene
        .platform
        .execute(
            "create function core.until_cancelled() returns trigger language plpgsql security definer as $$
             begin
                 while exists (select from core.archives where state = 'archived')
                     and not exists (select from core.operations where seen_at > cancel_at)
                 loop
                     perform pg_sleep(0.05);
                 end loop;
                 return null;
             end $$;
             create trigger until_cancelled after insert on core.archive_log for each row when (new.step = 'begun')
             execute function core.until_cancelled()",
        )
        .await;
    let id = scene.post(ARCHIVE, &archive_all()).await.is(202)["operation_id"].clone();
    let path = format!("/v1/operations/{id}");
    wait_for("the first partition", async || {
        let shown = scene.platform.get(&scene.token, &path).await.is(200);
        Ok(shown["done"] == 1)
    })
    .await
    .unwrap();
    let cancel = format!("{path}/cancel");
    scene.post(&cancel, &json!(null)).await.is(200);
    let ended = scene.platform.ended(&scene.token, &id).await;
    assert_eq!(
        (&ended["state"], &ended["done"], &ended["failed"]),
        (&json!("cancelled"), &json!(1), &json!(0)),
        "{ended}"
    );
    assert_eq!(scene.months().await, ["lecturas_m202410"]);
    assert_eq!(
        scene.rows().await + scene.rows_in_files(),
        scene.readings,
        "each row is in one place"
    );
    scene.in_order().await;
    scene
        .platform
        .execute("drop trigger until_cancelled on core.archive_log; drop function core.until_cancelled()")
        .await;
    scene.moved(RESTORE, &restore_all(), 1).await;
    assert_eq!(scene.checksum().await, before);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_waits_for_others_who_archive_and_may_be_cancelled_meanwhile() {
    let (scene, api) = Scene::new().await;
    let platform = &scene.platform;
    let mut other = PgConnection::connect(&platform.database.archive)
        .await
        .unwrap();
    let held: bool = sqlx::query_scalar("select core.hold_lock('archive')")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert!(held);
    let waiting = async |id: &Value| {
        wait_for("a sign of life", async || {
            let alive = format!(
                "select count(*) from core.operations where operation_id = {id} and state = 'running' and seen_at > started_at"
            );
            Ok(platform.number(&alive).await == 1)
        })
        .await
        .unwrap();
    };
    let first = scene.post(ARCHIVE, &archive_all()).await.is(202)["operation_id"].clone();
    waiting(&first).await;
    // Its signs of life do not hide that an operation on quarantine stands still.
    platform
        .execute("insert into core.operations (kind, state, who, filters, matched, through_id, runner, started_at, seen_at)
            values ('discard', 'running', 'x', '{}', 1, 1, 'a process that does nothing', now(), now() + interval '1 hour')")
        .await;
    wait_for("silence in one lane", async || {
        let page = Page::parse(&platform.call("GET", "/metrics", &[], "").await.text)?;
        Ok(page.value("acequia_api_operations_silence_seconds", &[]) > Some(3.0))
    })
    .await
    .unwrap();
    platform
        .execute("delete from core.operations where who = 'x'")
        .await;
    let cancel = format!("/v1/operations/{first}/cancel");
    scene.post(&cancel, &json!(null)).await.is(200);
    let ended = platform.ended(&scene.token, &first).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("cancelled"), &json!(0))
    );
    let second = scene.post(ARCHIVE, &archive_all()).await.is(202)["operation_id"].clone();
    waiting(&second).await;
    assert_eq!(scene.rows().await, scene.readings);
    // Messages do not wait for archives.
    let discard = json!({"all": true, "reason": "a test"});
    let ended = scene.done("/v1/quarantine/discard", &discard).await;
    assert_eq!(ended["state"], "done");
    other.close().await.unwrap();
    let ended = platform.ended(&scene.token, &second).await;
    assert_eq!(
        (&ended["state"], &ended["done"]),
        (&json!("done"), &json!(2))
    );
    api.stop().await;
}

/// Partitions that an operation has tried in vain.
fn failed(ended: &Value) -> Vec<&str> {
    let failures = ended["failures"].as_array().unwrap().iter();
    failures
        .map(|one| one["partition_name"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_a_store_fails_are_named_and_stay_where_they_were() {
    let (scene, api) = Scene::new().await;
    let before = scene.checksum().await;
    // A file where the table's folder should be.
    let folder = scene.platform.store.join("consumo.lecturas");
    std::fs::write(&folder, "in the way").unwrap();
    let ended = scene.done(ARCHIVE, &archive_all()).await;
    assert_eq!(
        (&ended["state"], &ended["done"], &ended["failed"]),
        (&json!("failed"), &json!(0), &json!(2)),
        "{ended}"
    );
    assert_eq!(
        failed(&ended),
        ["consumo.lecturas_m202409", "consumo.lecturas_m202410"]
    );
    // The first of them is the cause of the failure.
    let reason = ended["failures"][0]["reason"].as_str().unwrap();
    let cause = format!("consumo.lecturas_m202409: {reason}");
    let error = ended["error"].as_str().unwrap();
    assert!(!reason.is_empty() && error.starts_with(&cause), "{ended}");
    assert_eq!(scene.checksum().await, before);
    std::fs::remove_file(&folder).unwrap();
    let ended = scene.moved(ARCHIVE, &archive_all(), 2).await;
    assert!(failed(&ended).is_empty(), "{ended}");
    scene.in_order().await;

    // A file that is gone: the partition before it comes back, its own does not.
    let files = scene.files();
    let gone = files
        .iter()
        .find(|name| name.contains("/m=10/") && name.ends_with(".parquet"))
        .map(|name| scene.platform.store.join(name))
        .unwrap();
    let bytes = std::fs::read(&gone).unwrap();
    std::fs::remove_file(&gone).unwrap();
    let ended = scene.done(RESTORE, &restore_all()).await;
    assert_eq!(
        (&ended["state"], &ended["done"], &ended["failed"]),
        (&json!("failed"), &json!(1), &json!(1)),
        "{ended}"
    );
    assert_eq!(failed(&ended), ["consumo.lecturas_m202410"]);
    let reason = ended["failures"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("is not in the object store"), "{ended}");
    assert_eq!(scene.months().await, ["lecturas_m202409"]);
    std::fs::write(&gone, bytes).unwrap();
    scene.moved(RESTORE, &restore_all(), 1).await;
    assert_eq!(scene.checksum().await, before);
    scene.in_order().await;
    api.stop().await;
}
