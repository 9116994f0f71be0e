//! Ticks: functions of a domain that are called by the clock (ADR 63).

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use crate::failpoint;
use crate::failure::{Failure, describe};

/// Seconds until a tick of a domain is due; null when it has none.
const DUE_IN: &str = "select extract(epoch from min(t.due_at) - clock_timestamp())::float8 \
    from core.tick_status t where t.domain = $1";

/// A call of a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function, with its schema.
    pub function: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effects are committed: it changed this number of rows.
    Done(i32),
    /// Nothing of it is left, and it is tried again later.
    Failed {
        /// Failed calls since the last success, this one included.
        failures: i32,
        /// The error, without values.
        error: String,
    },
}

/// Time until a tick of a domain is due, zero when one is; `None` when the domain has none.
///
/// # Errors
/// Any error from PostgreSQL.
pub async fn due_in(connection: &mut PgConnection, domain: &str) -> sqlx::Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar(DUE_IN)
        .bind(domain)
        .fetch_one(connection)
        .await?;
    let due_in = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0));
    Ok(seconds.map(|seconds| due_in(seconds).unwrap_or(Duration::MAX)))
}

/// Calls the tick of a domain that has been due for longest, in a transaction of its own; `None` when none is due that no
/// other process runs. A call that fails is noted and is no error.
///
/// # Errors
/// Any error from PostgreSQL that is not the tick's: a lost connection, a lock of the domain that is not free.
pub async fn call_next(connection: &mut PgConnection, domain: &str) -> sqlx::Result<Option<Call>> {
    let mut transaction = connection.begin().await?;
    let taken: Option<String> = sqlx::query_scalar("select core.take_tick($1)")
        .bind(domain)
        .fetch_one(&mut *transaction)
        .await?;
    let Some(function) = taken else {
        transaction.rollback().await?;
        return Ok(None);
    };
    let outcome = call(&mut transaction, &function).await?;
    failpoint::pass("tick.called");
    transaction.commit().await?;
    Ok(Some(Call { function, outcome }))
}

/// Calls a tick inside a savepoint, so that the locks outlive its failure: no other process takes it before that is noted.
async fn call(transaction: &mut PgConnection, function: &str) -> sqlx::Result<Outcome> {
    let mut savepoint = transaction.begin().await?;
    let called = sqlx::query_scalar("select core.run_tick($1)")
        .bind(function)
        .fetch_one(&mut *savepoint)
        .await;
    match called {
        Ok(changed) => {
            savepoint.commit().await?;
            Ok(Outcome::Done(changed))
        }
        // A server that goes down says so in the same way.
        Err(error @ sqlx::Error::Database(_)) if Failure::of(&error) != Failure::Down => {
            savepoint.rollback().await?;
            // The time limit was the tick's.
            sqlx::raw_sql("set local statement_timeout to default")
                .execute(&mut *transaction)
                .await?;
            let error = describe(&error);
            let failures = sqlx::query_scalar("select core.tick_failed($1, $2)")
                .bind(function)
                .bind(&error)
                .fetch_one(transaction)
                .await?;
            Ok(Outcome::Failed { failures, error })
        }
        Err(error) => Err(error),
    }
}
