//! Checks that archive policies have a reachable object store.

use acequia_archive::store::Store;
use sqlx::PgConnection;
use uuid::Uuid;

use super::finding::{Findings, Verdict, said};

/// Writes a small object, reads it and deletes it, when a table has a policy.
pub(super) async fn examine(
    connection: &mut PgConnection,
    url: Option<&str>,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let (policies, archives): (i64, i64) = sqlx::query_as(
        "select (select count(*) from core.lifecycle_policies),
                (select count(*) from core.archives where state in ('archived', 'restored'))",
    )
    .fetch_one(&mut *connection)
    .await?;
    if policies == 0 {
        return Ok(());
    }
    let Some(url) = url else {
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
    };
    let tried = async {
        let store = Store::open(url)?;
        let probe = format!("doctor-{}", Uuid::now_v7().simple());
        store.put(&probe, b"acequia".to_vec()).await?;
        let read = store.get(&probe).await;
        store.delete(&probe).await?;
        anyhow::ensure!(
            read?.as_deref() == Some(b"acequia"),
            "the test file cannot be read back"
        );
        anyhow::Ok(store.to_string())
    };
    match tried.await {
        Ok(store) => {
            findings.add(
                "archive",
                Verdict::Ok,
                format!("{store}: can be written and read; {archives} archives"),
                "",
            );
            objects(connection, url, findings).await?;
        }
        Err(error) => findings.add(
            "archive",
            Verdict::Fail,
            said(&error),
            "Mend the object store, its rights or its keys, or correct ARCHIVE_URL.",
        ),
    }
    Ok(())
}

/// Names the objects of archives that count and are not in the store.
async fn objects(
    connection: &mut PgConnection,
    url: &str,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    const NAMED: usize = 5;
    let known: Vec<String> = sqlx::query_scalar(
        "select p from core.archives a cross join unnest(array[a.object_path, a.manifest_path]) p
         where a.state in ('archived', 'restored') order by a.archive_id, p",
    )
    .fetch_all(connection)
    .await?;
    let missing = async { Store::open(url)?.missing(&known).await };
    let (verdict, found) = match missing.await {
        Ok(missing) if missing.is_empty() => (
            Verdict::Ok,
            format!("all {} of core.archives are in the store", known.len()),
        ),
        Ok(missing) => {
            let names = missing.iter().take(NAMED).map(String::as_str);
            let more = missing.len().saturating_sub(NAMED);
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            (
                Verdict::Fail,
                format!(
                    "{} of {} are not in the store: {}{more}",
                    missing.len(),
                    known.len(),
                    names.collect::<Vec<_>>().join(", ")
                ),
            )
        }
        Err(error) => (Verdict::Fail, said(&error)),
    };
    findings.add(
        "archived objects",
        verdict,
        found,
        "Correct ARCHIVE_URL, if that is another place than the archives were written to; bring the files back from a backup of the store; `worker archive list` says what is in them.",
    );
    Ok(())
}
