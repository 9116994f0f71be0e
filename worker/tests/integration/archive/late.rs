//! Readings that come for a month that is archived: the month comes back, the newest version wins as
//! ever, the ledger is right all the time.

use acequia_testkit::wait_for;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Archive, TABLE};
use crate::consumo::{Feed, Sent};

const CLIENT: &str = "CLI_00001";
const AT: &str = "2024-09-12T10:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn late_readings_bring_their_month_back() {
    let archive = Archive::of("--clients 3 --days 40 --start 2024-08-15 --suspicious 0").await;
    let platform = &archive.platform;
    let known = "select row_to_json(l)::text from consumo.lecturas l where propietario_id = 'CLI_00001' and instante = '2024-09-11T10:00Z'";
    let known: Value = serde_json::from_str(&platform.texts(known).await[0]).unwrap();
    archive.done("archive").await;
    assert_eq!(archive.partitions().await, ["lecturas_default"]);

    // A newer version, an older one, one with the same values, one of an hour that nobody knew; and
    // an ordinary one of today's.
    let same = json!({
        "propietario_id": CLIENT, "timestamp": known["instante"], "hora": known["hora"], "consumo_kwh": known["consumo_kwh"],
        "es_sospechoso": known["es_sospechoso"], "anomalia_esperada": known["anomalia_esperada"],
        "timestamp_procesado": known["timestamp_procesado"], "ts": "2025-01-01T00:00:00Z",
    });
    let today = chrono::Utc::now().format("%Y-%m-%dT00:00:00Z").to_string();
    let late = [
        Sent::reading(CLIENT, AT, 12, 7777, "2025-01-01T00:00:00Z"),
        Sent::reading(
            CLIENT,
            "2024-09-13T10:00:00Z",
            12,
            8888,
            "2020-01-01T00:00:00Z",
        ),
        Sent::new("lectura", &same),
        Sent::reading(
            "CLI_99999",
            "2024-08-20T10:00:00Z",
            12,
            1234,
            "2025-01-01T00:00:00Z",
        ),
        Sent::reading(CLIENT, &today, 0, 500, &today),
    ];
    // A trace shows the fate of an archived key.
    let trace = archive
        .json(&format!("trace consumo.lectura {CLIENT} {AT}"))
        .await;
    assert_eq!(
        (
            &trace["versions"][0]["outcome"],
            &trace["archived"]["partition"]
        ),
        (&"archived".into(), &"consumo.lecturas_m202409".into()),
        "{trace}"
    );
    let before = ledger_of(&archive).await;
    let mut feed = Feed::new(platform).await;
    feed.send(&late).await;
    let waiting = "select count(*) from core.pending where parent = 'core.archives'";
    assert_eq!(platform.number(waiting).await, 4);
    assert_eq!(platform.unaccounted().await, 0);
    assert_eq!(
        archive.partitions().await.len(),
        2,
        "today's, and no month that is archived"
    );
    // They wait as long as it takes.
    platform
        .execute("select core.expire_pending('consumo', interval '0')")
        .await;
    assert_eq!(platform.number(waiting).await, 4);

    let worker = platform.worker(&["--archive-url", &archive.depot.url()]);
    wait_for("the late readings", async || {
        Ok(platform.number("select count(*) from core.pending").await == 0)
    })
    .await
    .unwrap();
    worker.ready().await;
    worker.stop().await;
    let after = ledger_of(&archive).await;
    let changed: Vec<_> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    // received, inserted, updated, unchanged, stale
    assert_eq!(changed, [5, 2, 1, 1, 1]);
    assert_eq!(platform.unaccounted().await, 0);
    let value = format!(
        "select (consumo_kwh * 1000)::bigint from {TABLE} where propietario_id = '{CLIENT}' and instante = "
    );
    assert_eq!(platform.number(&format!("{value}'{AT}'")).await, 7777);
    assert_ne!(
        platform
            .number(&format!("{value}'2024-09-13T10:00Z'"))
            .await,
        8888
    );
    let mart = "select (consumo_kwh * 1000)::bigint from marts.consumo_horario where propietario_id = 'CLI_00001' and instante = ";
    assert_eq!(platform.number(&format!("{mart}'{AT}'")).await, 7777);

    // Held: not archived again before the time is up; then it is, with the late readings.
    assert_eq!(archive.json("archive").await["partitions"], 0);
    assert_eq!(archive.partitions().await.len(), 4);
    let everything = archive.readings().await;
    platform
        .execute("update core.archives set hold_until = now() where state = 'restored'")
        .await;
    assert_eq!(archive.json("archive").await["partitions"], 2);
    archive
        .done(&format!(
            "restore --table {TABLE} --from 2024-08-01 --to 2024-09-30"
        ))
        .await;
    assert_eq!(archive.readings().await, everything);
}

/// received, inserted, updated, unchanged, stale of the readings.
async fn ledger_of(archive: &Archive) -> Vec<i64> {
    let entry = "select unnest(array[received, inserted, updated, unchanged, stale])::text from core.conservation
        where domain = 'consumo' and entity = 'lectura'";
    let entry = archive.platform.texts(entry).await;
    entry.iter().map(|number| number.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_a_purged_month_goes_to_quarantine() {
    let archive = Archive::of("--clients 2 --days 20 --start 2014-09-02 --suspicious 0").await;
    let platform = &archive.platform;
    archive.done("archive").await;
    archive
        .done(&format!(
            "purge --table {TABLE} --from 2014-09 --to 2014-09 --yes --reason over --by Ana"
        ))
        .await;
    let late = Sent::reading(
        CLIENT,
        "2014-09-12T10:00:00Z",
        12,
        7777,
        "2025-01-01T00:00:00Z",
    );
    let mut feed = Feed::new(platform).await;
    feed.send(std::slice::from_ref(&late)).await;
    let worker = platform.worker(&["--orphan-ttl", "1h"]);
    let quarantined = "select count(*) from raw.quarantine where code = 'purged' and stage = 'merge' and entity = 'lectura'";
    platform
        .execute("select core.expire_pending('consumo', interval '1 hour')")
        .await;
    wait_for("quarantine", async || {
        Ok(platform.number(quarantined).await == 1)
    })
    .await
    .unwrap();
    worker.stop().await;
    assert_eq!(platform.unaccounted().await, 0);
    let row = platform
        .texts("select message_id::text from raw.quarantine")
        .await;
    assert_eq!(row, [Uuid::to_string(&late.id)]);
}
