//! Clients and their clocks.

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::PgConnection;

use super::dates::Moment;
use crate::problem::{Problem, Result};

/// A client with a contract or a reading.
#[derive(Debug)]
pub struct Client {
    /// Code.
    pub id: String,
    /// Zone of its clock.
    pub zone: String,
}

const CLIENT: &str = "
select coalesce(c.zona, 'Europe/Madrid')
from (values ($1::text)) k (id)
left join consumo.clientes c on c.propietario_id = k.id
where c.propietario_id is not null or exists (select from consumo.dias d where d.propietario_id = k.id)";

const MOMENT: &str = "select $1::timestamp at time zone $2";

impl Client {
    /// Finds a client by its code: one with a contract, a reading or both.
    ///
    /// # Errors
    /// `not_found` when neither has come.
    pub async fn find(database: &mut PgConnection, id: String) -> Result<Self> {
        let unknown = || {
            Problem::not_found(
                "such client: neither a contract nor a reading of it has come; codes are as CLI_00001",
            )
        };
        if !is_code(&id) {
            return Err(unknown());
        }
        let zone: Option<String> = sqlx::query_scalar(CLIENT)
            .bind(&id)
            .fetch_optional(database)
            .await?;
        let zone = zone.ok_or_else(unknown)?;
        Ok(Self { id, zone })
    }

    /// Converts a time to an instant; without an offset it is on the client's clock.
    ///
    /// # Errors
    /// Any error from PostgreSQL.
    pub async fn instant(
        &self,
        database: &mut PgConnection,
        moment: Moment,
    ) -> sqlx::Result<DateTime<Utc>> {
        let local: NaiveDateTime = match moment {
            Moment::Instant(instant) => return Ok(instant),
            Moment::Local(local) => local,
        };
        sqlx::query_scalar(MOMENT)
            .bind(local)
            .bind(&self.zone)
            .fetch_one(database)
            .await
    }
}

/// Whether a text can be the code of a client, by the contract.
pub fn is_code(text: &str) -> bool {
    text.strip_prefix("CLI_").is_some_and(|number| {
        (5..=46).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        assert!(is_code("CLI_00001") && is_code("CLI_123456"));
        for wrong in ["CLI_1", "cli_00001", "CLI_0000x", "CLI_00001\0", "", "CLI_"] {
            assert!(!is_code(wrong), "{wrong}");
        }
    }
}
