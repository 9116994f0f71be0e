//! Whether what policies want to archive has a place to go to.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Findings, Verdict};
use crate::config::ArchiveUrl;

/// Writes a small object, reads it and deletes it, when a table has a policy.
pub(super) async fn examine(
    connection: &mut PgConnection,
    url: &ArchiveUrl,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let (policies, archives): (i64, i64) = sqlx::query_as(
        "select (select count(*) from core.lifecycle_policies),
                (select count(*) from core.archives where state in ('archived', 'restored'))",
    )
    .fetch_one(connection)
    .await?;
    if policies == 0 {
        return Ok(());
    }
    if !url.is_given() {
        let (verdict, remedy) = if archives > 0 {
            (
                Verdict::Fail,
                "Set ARCHIVE_URL to where the archives are: late rows wait for it.",
            )
        } else {
            (Verdict::Ok, "")
        };
        let found = format!("no ARCHIVE_URL; {policies} tables with a policy, {archives} archives");
        findings.add("archive", verdict, found, remedy);
        return Ok(());
    }
    let tried = async {
        let store = url.open()?;
        let probe = format!("doctor-{}", Uuid::now_v7().simple());
        store.put(&probe, b"acequia".to_vec()).await?;
        let read = store.get(&probe).await;
        store.delete(&probe).await?;
        anyhow::ensure!(
            read?.as_deref() == Some(b"acequia"),
            "what was written cannot be read"
        );
        anyhow::Ok(store.to_string())
    };
    match tried.await {
        Ok(store) => findings.add(
            "archive",
            Verdict::Ok,
            format!("{store}: can be written and read; {archives} archives"),
            "",
        ),
        Err(error) => findings.add(
            "archive",
            Verdict::Fail,
            format!("{error:#}"),
            "Mend the object store, its rights or its keys, or correct ARCHIVE_URL.",
        ),
    }
    Ok(())
}
