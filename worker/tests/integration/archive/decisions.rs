//! What people decide about archives: looked at first by a dry run, and kept in the audit log with its reason.

use serde_json::json;

use super::{Archive, TABLE};

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_in_the_audit_log_and_a_dry_run_is_none() {
    let archive = Archive::of("--clients 2 --days 40 --start 2024-09-10 --suspicious 0").await;
    let platform = &archive.platform;
    let everything = archive.readings().await;
    let log = "select concat_ws(' | ', action, who, login, reason, filters, operation_id) from core.audit_log order by audit_id";
    let range = format!("--table {TABLE} --from 2024-09 --to 2024-09-30");

    let dry = archive.json("archive --dry-run").await;
    assert_eq!(
        (&dry["dry_run"], &dry["partitions"]),
        (&json!(true), &json!(2))
    );
    // Nothing is archived yet.
    let none = archive.run(&format!("restore {range} --dry-run")).await;
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert_eq!(archive.readings().await, everything);
    assert_eq!(platform.texts(log).await, Vec::<String>::new());
    assert_eq!(
        platform
            .number("select count(*) from core.archive_runs")
            .await,
        0
    );

    archive
        .done("archive --older-than 30d --by ana --reason space")
        .await;
    let dry = archive.json(&format!("restore {range} --dry-run")).await;
    assert_eq!(dry["partitions"], 1, "{dry}");
    let listed = &dry["partitions_list"][0];
    assert_eq!(listed["partition_name"], "consumo.lecturas_m202409");
    assert!(listed["row_count"].as_i64().unwrap() > 0, "{dry}");
    assert_eq!(archive.partitions().await, ["lecturas_default"]);
    archive
        .done(&format!("restore {range} --hold 2h --by eva --reason look"))
        .await;
    assert_eq!(
        platform.texts(log).await,
        [
            r#"archive | ana | acequia_archive | space | {"older_than_s": 2592000}"#,
            r#"restore_archive | eva | acequia_archive | look | {"to": "2024-10-01T00:00:00Z", "from": "2024-09-01T00:00:00Z", "table": "consumo.lecturas", "hold_s": 7200}"#,
        ]
    );
    let unknown = archive
        .run("restore --table academico.alumnos --from 2024-09 --to 2024-09 --dry-run")
        .await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("has no policy"), "{unknown:?}");
}
