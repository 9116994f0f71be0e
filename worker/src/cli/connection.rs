//! A connection for a command.

use acequia_net::SecretUrl;
use acequia_store::db;
use anyhow::Context;
use sqlx::PgConnection;

/// Connects under a name that the server shows, once the schema is known to serve this program.
///
/// # Errors
/// When the database does not answer, or its schema is another.
pub async fn open(database: &SecretUrl, name: &str) -> anyhow::Result<PgConnection> {
    let mut connection = db::connect(database, name).await.context("database")?;
    acequia_schema::check(&mut connection).await?;
    Ok(connection)
}
