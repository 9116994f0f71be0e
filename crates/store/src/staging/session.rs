//! The session that a lane writes by.

use sqlx::{Connection as _, PgConnection};

/// Plans each statement once for the session: batches are small and many, and to plan a statement costs more than to
/// run it.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn keep_plans(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan")
        .execute(connection)
        .await?;
    Ok(())
}

/// Waits until quarantine can be written. A dead letter has failed often enough: it is
/// not taken from its queue before there is a place for it.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn quarantine_writable(connection: &mut PgConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("lock table raw.quarantine in row exclusive mode")
        .execute(&mut *transaction)
        .await?;
    transaction.rollback().await
}
