//! Checks that every row waiting by the ledger is in staging.

use acequia_contracts::catalog;
use sqlx::PgConnection;

use super::finding::Findings;

/// Checks the waiting rows of every domain.
pub(super) async fn examine(
    connection: &mut PgConnection,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let mut lost = Vec::new();
    let mut remedies = Vec::new();
    for domain in catalog() {
        let said: Option<String> = sqlx::query_scalar("select core.say_lost($1)")
            .bind(domain.name)
            .fetch_one(&mut *connection)
            .await?;
        if let Some(said) = said {
            lost.push(said);
            remedies.push(format!(
                "worker ledger write-off --domain {} --reason TEXT",
                domain.name
            ));
        }
    }
    let found = if lost.is_empty() {
        "every row that waits is in staging".to_owned()
    } else {
        lost.join("; ")
    };
    let remedy = format!(
        "Somebody truncated a staging table or dropped a partition. Put the rows back, or give them up: {}",
        remedies.join("; ")
    );
    findings.require("waiting rows", lost.is_empty(), found, &remedy);
    Ok(())
}
