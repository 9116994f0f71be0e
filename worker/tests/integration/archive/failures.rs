//! An object store that fails in the middle.

use super::{Archive, Depot};
use crate::support::Platform;

/// Two days of a table, the first with more than is sent to the store at once.
const TABLE: &str = "
create table consumo.copia (dia date not null, id bigint not null, x bytea not null, primary key (dia, id)) partition by range (dia);
create table consumo.copia_default partition of consumo.copia default;
insert into core.lifecycle_policies (table_name, domain, time_column, granularity, keep_hot)
values ('consumo.copia', 'consumo', 'dia', 'day', '1 day');
insert into consumo.copia
select '2024-01-01', i, (select decode(string_agg(md5(i || ' ' || n), ''), 'hex') from generate_series(1, 4000) n)
from generate_series(1, 560) i;
insert into consumo.copia values ('2024-01-02', 1, 'x'), ('2024-01-03', 1, 'y');";

/// A copy that is broken off leaves its connection in the middle of it; the run goes on with another.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_does_not_keep_the_others_from_it() {
    let archive = Archive {
        platform: Platform::new().await,
        depot: Depot::new(),
    };
    archive.platform.execute(TABLE).await;
    // A file where the folder of the first day should be.
    let month = archive.depot.0.join("consumo.copia/y=2024/m=01");
    std::fs::create_dir_all(&month).unwrap();
    std::fs::write(month.join("d=01"), "").unwrap();

    let failed = archive.run("archive --table consumo.copia").await;
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
    assert!(failed.stderr.contains("copia_p20240101"), "{failed:?}");
    let states = "select partition_name || ' ' || state from core.archives order by from_at";
    assert_eq!(
        archive.platform.texts(states).await,
        [
            "consumo.copia_p20240101 abandoned",
            "consumo.copia_p20240102 archived",
            "consumo.copia_p20240103 archived"
        ]
    );
    let rows = "select count(*) from consumo.copia";
    assert_eq!(archive.platform.number(rows).await, 560);
    let runs = "select status || ' ' || partitions from core.archive_runs";
    assert_eq!(
        archive.platform.texts(runs).await,
        ["failed 2"],
        "{failed:?}"
    );

    std::fs::remove_file(month.join("d=01")).unwrap();
    archive.done("archive --table consumo.copia").await;
    archive.done("archive verify").await;
    assert_eq!(archive.platform.number(rows).await, 0);

    // Whoever reads a folder of Parquet finds nothing else in it.
    for file in archive.depot.files() {
        let parquet = file.starts_with("consumo.copia/") && file.ends_with(".parquet");
        let manifest = file.starts_with("_manifests/consumo.copia/") && file.ends_with(".json");
        assert!(parquet || manifest, "{file}");
    }
}

/// Archives keep the names of their objects: one whose manifest lies beside its file is found.
#[tokio::test(flavor = "multi_thread")]
async fn archives_with_their_manifest_beside_them_stay_readable() {
    let archive = Archive::of("--clients 2 --days 20 --start 2024-09-02 --suspicious 0").await;
    let everything = archive.readings().await;
    archive.done("archive").await;
    let manifest = archive
        .platform
        .texts("select manifest_path from core.archives")
        .await
        .remove(0);
    let object = archive
        .platform
        .texts("select object_path from core.archives")
        .await
        .remove(0);
    let beside = object
        .replace("/part-", "/_part-")
        .replace(".parquet", ".json");
    std::fs::rename(
        archive.depot.0.join(&manifest),
        archive.depot.0.join(&beside),
    )
    .unwrap();
    archive
        .platform
        .execute(&format!(
            "update core.archives set manifest_path = '{beside}'"
        ))
        .await;
    archive.done("archive verify").await;
    let back = "restore --table consumo.lecturas --from 2024-09 --to 2024-09 --hold 0s";
    archive.done(back).await;
    assert_eq!(archive.readings().await, everything);
    // Archived again, the old files go.
    archive.done("archive").await;
    assert_eq!(archive.depot.files().len(), 2);
}
