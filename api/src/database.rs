//! Connections to the database: a bounded number, each lent to one call at a time.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_net::SecretUrl;
use acequia_store::db::{self, Session};
use scopeguard::{ScopeGuard, guard};
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::{Code, Problem, Result};

/// Time that a call waits for a connection.
const WAIT: Duration = Duration::from_secs(2);
/// Time limit for undoing the rest of an abandoned call.
const UNDO_WITHIN: Duration = Duration::from_secs(2);
/// A connection that was idle for longer is asked whether it still lives.
const FRESH: Duration = Duration::from_secs(5);
/// Schema version that this program needs.
pub const SCHEMA: i32 = 22;

/// Connections of one login.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: SecretUrl,
    statement_max: Duration,
    permits: Arc<Semaphore>,
    most: usize,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    session: Session,
    /// Whether nothing of an earlier call can be left in it.
    clean: bool,
    since: Instant,
}

/// A connection for one call. It goes back when it is dropped.
// A guard, not `Drop`, which cannot move the session out of an ordinary field.
#[derive(Debug)]
pub struct Lease(ScopeGuard<Loan, fn(Loan)>);

/// A connection that is lent, and where it goes back to.
#[derive(Debug)]
struct Loan {
    inner: Arc<Inner>,
    session: Session,
    clean: bool,
    _permit: OwnedSemaphorePermit,
}

impl Database {
    /// At most `most` connections, whose statements take at most `statement_max`. None is opened yet.
    #[must_use]
    pub fn new(url: SecretUrl, most: usize, statement_max: Duration) -> Self {
        Self(Arc::new(Inner {
            url,
            statement_max,
            permits: Arc::new(Semaphore::new(most)),
            most,
            idle: Mutex::default(),
        }))
    }

    /// A connection. Waits up to two seconds for one.
    ///
    /// # Errors
    /// `busy` when all are in use, `database_unavailable` when the server does not answer.
    pub async fn take(&self) -> Result<Lease> {
        let permit = timeout(WAIT, self.0.permits.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Problem::new(
                Code::Busy,
                "all connections to the database are in use: try again, with fewer calls at a time",
            )
            .retry_after(1));
        };
        while let Some(idle) = self.0.pop() {
            if let Some(session) = idle.ready().await {
                return Ok(self.lease(session, permit));
            }
        }
        let mut session = db::open(&self.0.url, "api").await?;
        // Switches notices off: the precautionary `rollback` outside a transaction would send one each time.
        sqlx::query("select set_config('statement_timeout', $1, false), set_config('client_min_messages', 'error', false)")
            .bind(format!("{}ms", self.0.statement_max.as_millis()))
            .execute(&mut *session)
            .await?;
        Ok(self.lease(session, permit))
    }

    fn lease(&self, session: Session, permit: OwnedSemaphorePermit) -> Lease {
        let loan = Loan {
            inner: self.0.clone(),
            session,
            clean: false,
            _permit: permit,
        };
        Lease(guard(loan, Loan::give_back as fn(Loan)))
    }

    /// Connections in use, and the limit.
    #[must_use]
    pub fn in_use(&self) -> (usize, usize) {
        (
            self.0.most - self.0.permits.available_permits(),
            self.0.most,
        )
    }

    /// Address, without its password.
    #[must_use]
    pub fn url(&self) -> &SecretUrl {
        &self.0.url
    }
}

impl Inner {
    fn pop(&self) -> Option<Idle> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }
}

impl Idle {
    /// The connection, once nothing of an earlier call is left in it: one that was given up in the middle may have an open
    /// transaction.
    async fn ready(mut self) -> Option<Session> {
        if self.clean && self.since.elapsed() < FRESH {
            return Some(self.session);
        }
        let undone = timeout(
            UNDO_WITHIN,
            sqlx::raw_sql("rollback").execute(&mut *self.session),
        );
        matches!(undone.await, Ok(Ok(_))).then_some(self.session)
    }
}

impl Loan {
    /// The permit outlives the push: whoever it lets in finds this connection.
    fn give_back(self) {
        let idle = Idle {
            session: self.session,
            clean: self.clean,
            since: Instant::now(),
        };
        self.inner
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(idle);
    }
}

impl Lease {
    /// Marks the connection as returned in good order.
    pub fn done(mut self) {
        self.0.clean = true;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0.session
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0.session
    }
}

/// Insists that the schema has what this program reads and writes.
///
/// # Errors
/// When it is older or too new; the text says what to do.
pub async fn check(connection: &mut PgConnection) -> anyhow::Result<()> {
    let found: sqlx::Result<(Option<i32>, Option<i32>)> = sqlx::query_as(
        "select (select max(version)::int from core.refinery_schema_history), (select max(oldest_program) from core.served)",
    )
    .fetch_one(connection)
    .await;
    match found {
        Ok((Some(version), Some(oldest))) if version >= SCHEMA && oldest <= SCHEMA => Ok(()),
        Ok((Some(version), Some(oldest))) if oldest > SCHEMA => anyhow::bail!(
            "the schema has version {version} and serves programs from version {oldest} on, this program has {SCHEMA}: use the newer program"
        ),
        Ok((version, _)) => anyhow::bail!(
            "the schema has version {}, this program needs {SCHEMA}: run `worker migrate`",
            version.unwrap_or(0)
        ),
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some("42P01" | "3F000" | "42501")) =>
        {
            anyhow::bail!(
                "the schema is not there, or this role may not see it: run `worker migrate` as the owner of the database, and connect as acequia_api"
            )
        }
        Err(error) => Err(error.into()),
    }
}
