//! Archiving and restoring by HTTP, beside counts of the messages that were sent, of the files, and a checksum of the rows.

mod faults;
mod refusals;

use std::collections::BTreeSet;
use std::path::Path;

use acequia_api::auth::Role;
use acequia_publisher::{Ids, messages};
use acequia_testkit::wait_for;
use bytes::Bytes;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use serde_json::{Value, json};

use crate::support::{Platform, Running};

const ARCHIVE: &str = "/v1/archives/archive";
const RESTORE: &str = "/v1/archives/restore";
const TABLE: &str = "consumo.lecturas";

/// A platform with readings of two months that are over.
struct Scene {
    platform: Platform,
    /// Client-hours that were sent.
    readings: i64,
    /// Token of an operator.
    token: String,
}

impl Scene {
    async fn new() -> (Self, Running) {
        let (platform, api) = Platform::new().await;
        let worker = platform.worker().await;
        let token = platform.token(Role::Operator, None).await;
        let readings = send(&platform, &token).await;
        worker.stop().await;
        let scene = Self {
            platform,
            readings,
            token,
        };
        assert_eq!(scene.rows().await, readings);
        (scene, api)
    }

    /// Readings in the database.
    async fn rows(&self) -> i64 {
        self.platform
            .number("select count(*) from consumo.lecturas")
            .await
    }

    /// Number and checksum of the readings in the database.
    async fn checksum(&self) -> String {
        self.platform
            .text("select count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by propietario_id, instante)), '') from consumo.lecturas t")
            .await
    }

    /// Partitions with a month of their own.
    async fn months(&self) -> Vec<String> {
        self.platform
            .texts("select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'consumo.lecturas'::regclass and c.relname ~ '_m[0-9]{6}$' order by 1")
            .await
    }

    /// Files below the store, relative to it.
    fn files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        walk(&self.platform.store, &self.platform.store, &mut found);
        found
    }

    /// Rows of all Parquet files below the store, as their footers say.
    fn rows_in_files(&self) -> i64 {
        let files = self.files();
        let data = files.iter().filter(|name| name.ends_with(".parquet"));
        data.map(|name| {
            let bytes = std::fs::read(self.platform.store.join(name)).unwrap();
            let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
            reader.metadata().file_metadata().num_rows()
        })
        .sum()
    }

    /// The files are those of the archives that count, and nothing is half done.
    async fn in_order(&self) {
        let known = "select path from core.archives a, unnest(array[a.object_path, a.manifest_path]) path where a.state in ('archived', 'restored')";
        let known: BTreeSet<String> = self.platform.texts(known).await.into_iter().collect();
        assert_eq!(self.files(), known);
        let unfinished = "select count(*) from core.archives where state = 'writing' or restoring_at is not null";
        assert_eq!(self.platform.number(unfinished).await, 0);
    }

    async fn post(&self, path: &str, body: &Value) -> crate::support::Answer {
        self.platform.post(&self.token, path, body).await
    }

    /// Asks for an operation and waits for its end.
    async fn done(&self, path: &str, body: &Value) -> Value {
        let asked = self.post(path, body).await.is(202);
        self.platform
            .ended(&self.token, &asked["operation_id"])
            .await
    }

    /// Asks for an operation that must move some partitions.
    async fn moved(&self, path: &str, body: &Value, partitions: i64) -> Value {
        let ended = self.done(path, body).await;
        assert_eq!(
            (&ended["state"], &ended["done"], &ended["failed"]),
            (&json!("done"), &json!(partitions), &json!(0)),
            "{ended}"
        );
        ended
    }
}

fn archive_all() -> Value {
    json!({"table": TABLE, "reason": "a test"})
}

fn restore_all() -> Value {
    json!({"table": TABLE, "from": "2024-01", "to": "2024-12-31", "hold": "0s", "reason": "a test"})
}

fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, root, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

/// Sends generated readings and waits until they are merged; returns how many client-hours they are about.
async fn send(platform: &Platform, token: &str) -> i64 {
    const OPTIONS: &str = "--clients 4 --days 40 --start 2024-09-10 --suspicious 30%";
    let options: Vec<_> = OPTIONS.split_whitespace().collect();
    let made = messages("consumo", &options, Ids::Fresh).unwrap();
    let mut hours = BTreeSet::new();
    for entity in ["cliente", "lectura"] {
        let of_entity = made
            .iter()
            .filter(|message| message.route.label.ends_with(entity));
        let bodies: Vec<String> = of_entity
            .map(|message| String::from_utf8(message.body.clone()).unwrap())
            .collect();
        for body in bodies.iter().filter(|_| entity == "lectura") {
            let body: Value = serde_json::from_str(body).unwrap();
            hours.insert((
                body["propietario_id"].to_string(),
                body["timestamp"].to_string(),
            ));
        }
        for part in bodies.chunks(5_000) {
            let path = format!("/v1/messages/consumo/{entity}");
            let answer = platform.post_lines(token, &path, &part.join("\n")).await;
            assert_eq!(answer.is(200)["sent"], part.len());
        }
    }
    let sent = i64::try_from(hours.len()).unwrap();
    wait_for("merged readings", async || {
        Ok(platform
            .number("select count(*) from consumo.lecturas")
            .await
            >= sent)
    })
    .await
    .unwrap();
    assert!(sent > 3_000, "{sent}");
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_leave_and_come_back_exactly_as_they_were() {
    let (scene, api) = Scene::new().await;
    let platform = &scene.platform;
    let before = scene.checksum().await;
    assert_eq!(
        scene.months().await,
        ["lecturas_m202409", "lecturas_m202410"]
    );

    let asked = scene.post(ARCHIVE, &archive_all()).await;
    let location = asked.header("location").to_owned();
    let asked = asked.is(202);
    assert_eq!(
        (&asked["kind"], &asked["matched"], &asked["domains"]),
        (&json!("archive"), &json!(2), &json!(["consumo"]))
    );
    let id = &asked["operation_id"];
    assert_eq!(location, format!("/v1/operations/{id}"));
    let ended = platform.ended(&scene.token, id).await;
    assert_eq!(
        (&ended["state"], &ended["done"], &ended["failed"]),
        (&json!("done"), &json!(2), &json!(0)),
        "{ended}"
    );
    assert_eq!(
        (&ended["can_undo"], &ended["error"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(scene.rows().await, 0);
    assert_eq!(scene.rows_in_files(), scene.readings);
    assert_eq!(scene.files().len(), 4);
    scene.in_order().await;
    let listed = platform.get(&scene.token, "/v1/archives").await.is(200);
    let rows = listed["items"].as_array().unwrap().iter();
    let rows: i64 = rows.map(|one| one["row_count"].as_i64().unwrap()).sum();
    assert_eq!(rows, scene.readings);

    // The decision, by whom, with which login, and the call that asked for it.
    let decision = format!(
        "select count(*) from core.audit_log where action = 'archive' and operation_id = {id} and reason = 'a test'
         and who like 'token:%' and login = 'acequia_archive' and filters = '{{\"table\": \"{TABLE}\", \"domain\": [\"consumo\"]}}'"
    );
    assert_eq!(platform.number(&decision).await, 1);
    let steps = format!(
        "select count(*) from core.archive_log l join core.archive_runs r using (run_id)
         where r.operation_id = {id} and l.step = 'archived' and l.who like 'token:%'"
    );
    assert_eq!(platform.number(&steps).await, 2);
    wait_for("the call in the record", async || {
        let calls = format!(
            "select count(*) from core.api_calls where route = '{ARCHIVE}' and status = 202 and domain = 'consumo' and reason = 'a test'"
        );
        Ok(platform.number(&calls).await == 1)
    })
    .await
    .unwrap();
    let shown = platform
        .get(&scene.token, "/v1/audit?action=archive")
        .await
        .is(200);
    assert_eq!(shown["items"][0]["reason"], "a test");

    // One month, then the other.
    let september =
        json!({"table": TABLE, "from": "2024-09-30", "to": "2024-09", "reason": "back"});
    let restored = scene.moved(RESTORE, &september, 1).await;
    assert_eq!(restored["kind"], "restore_archive");
    assert_eq!(scene.months().await, ["lecturas_m202409"]);
    scene.moved(RESTORE, &restore_all(), 1).await;
    assert_eq!(scene.checksum().await, before);
    scene.in_order().await;

    // September is held for a week, October is not.
    let dry = json!({"table": TABLE, "dry_run": true});
    let due = scene.post(ARCHIVE, &dry).await.is(200);
    assert_eq!(due["partitions"], 1, "{due}");
    let held = &due["partitions_list"][0];
    assert_eq!(held["partition_name"], "consumo.lecturas_m202409");
    assert!(held["held_until"].is_string(), "{due}");
    scene.moved(ARCHIVE, &archive_all(), 1).await;
    assert_eq!(scene.months().await, ["lecturas_m202409"]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let (scene, api) = Scene::new().await;
    let platform = &scene.platform;
    let decided =
        "select (select count(*) from core.operations) + (select count(*) from core.archives)
        + (select count(*) from core.archive_runs) + (select count(*) from core.audit_log)";
    let before = (scene.checksum().await, scene.months().await);
    let dry = json!({"dry_run": true});
    let would = scene.post(ARCHIVE, &dry).await.is(200);
    assert_eq!(
        (&would["dry_run"], &would["partitions"]),
        (&json!(true), &json!(2))
    );
    let sizes = "select sum(pg_total_relation_size(i.inhrelid))::bigint from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'consumo.lecturas'::regclass and c.relname ~ '_m[0-9]{6}$'";
    assert_eq!(would["bytes_hot"], platform.number(sizes).await);
    let old = json!({"table": TABLE, "older_than": "36500d", "dry_run": true});
    assert_eq!(scene.post(ARCHIVE, &old).await.is(200)["partitions"], 0);
    let none = json!({"table": TABLE, "from": "2024-01", "to": "2024-12", "dry_run": true});
    assert_eq!(scene.post(RESTORE, &none).await.is(200)["partitions"], 0);
    assert_eq!((scene.checksum().await, scene.months().await), before);
    assert_eq!(platform.number(decided).await, 0);
    assert_eq!(scene.files().len(), 0);

    scene.moved(ARCHIVE, &archive_all(), 2).await;
    let so_far = platform.number(decided).await;
    let files = scene.files();
    let one = json!({"table": TABLE, "from": "2024-10-01", "to": "2024-10-01", "dry_run": true});
    let would = scene.post(RESTORE, &one).await.is(200);
    assert_eq!(would["partitions"], 1, "{would}");
    let listed = &would["partitions_list"][0];
    assert_eq!(listed["partition_name"], "consumo.lecturas_m202410");
    let rows =
        "select row_count from core.archives where partition_name = 'consumo.lecturas_m202410'";
    assert_eq!(listed["row_count"], platform.number(rows).await);
    assert_eq!(scene.rows().await, 0);
    assert_eq!(platform.number(decided).await, so_far);
    assert_eq!(scene.files(), files);
    api.stop().await;
}
