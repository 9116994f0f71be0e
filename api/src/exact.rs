//! Decimals that keep all their digits between PostgreSQL and JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::Postgres;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use utoipa::ToSchema;

/// A decimal: a JSON number with all its digits. A query selects it as text.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = f64)]
pub struct Exact(Box<RawValue>);

impl Exact {
    /// A whole number of thousandths, with three decimals.
    ///
    /// # Errors
    /// None that can happen: a number is JSON.
    pub fn thousandths(number: i64) -> serde_json::Result<Self> {
        let sign = if number < 0 { "-" } else { "" };
        let (whole, rest) = (number.unsigned_abs() / 1000, number.unsigned_abs() % 1000);
        RawValue::from_string(format!("{sign}{whole}.{rest:03}")).map(Self)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl sqlx::Type<Postgres> for Exact {
    fn type_info() -> PgTypeInfo {
        <String as sqlx::Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <String as sqlx::Type<Postgres>>::compatible(ty)
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Exact {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <String as sqlx::Decode<'r, Postgres>>::decode(value)?;
        Ok(Self(RawValue::from_string(text)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn thousandths_have_three_decimals() {
        for (number, text) in [
            (0, "0.000"),
            (7, "0.007"),
            (12_340, "12.340"),
            (-1_005, "-1.005"),
        ] {
            assert_eq!(Exact::thousandths(number).unwrap().as_str(), text);
        }
    }
}
