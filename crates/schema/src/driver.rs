//! refinery over a connection of sqlx, so that migrations take the same way to the database as
//! everything else.

use refinery::{AsyncMigrate, Migration};
use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A connection that migrations run on.
#[derive(Debug)]
pub(super) struct Driver<'a>(pub(super) &'a mut PgConnection);

/// A row of refinery's history: version, name, when it was applied (RFC 3339), checksum.
type Row = (i32, String, String, String);

impl AsyncTransaction for Driver<'_> {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        let mut count = 0;
        for query in queries {
            // The migrations of this program, and refinery's notes on them.
            sqlx::raw_sql(AssertSqlSafe(query))
                .execute(&mut *transaction)
                .await?;
            count += 1;
        }
        transaction.commit().await?;
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Driver<'_> {
    async fn query(&mut self, query: &str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(query))
            .fetch_all(&mut *self.0)
            .await?;
        rows.into_iter().map(applied).collect()
    }
}

impl AsyncMigrate for Driver<'_> {}

fn applied((version, name, applied_on, checksum): Row) -> Result<Migration, sqlx::Error> {
    let broken = |what: &str| {
        sqlx::Error::Decode(format!("history of migration {version}: {what} cannot be read").into())
    };
    let applied_on =
        OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(|_| broken("applied_on"))?;
    let checksum = checksum.parse().map_err(|_| broken("checksum"))?;
    Ok(Migration::applied(version, name, applied_on, checksum))
}
