//! The connections of the loops over the database (ADR 44).
//!
//! A loop takes a connection for a poll and gives it back. One whose poll failed or was given up does not come back:
//! the rest of its transaction is rolled back by the server and met by no other loop.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acequia_net::SecretUrl;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::db::{self, Session};

/// Maximum number of connections that the loops of a process share.
pub const SHARED: usize = 4;
/// Maximum number of them that long polls have: one is always left to the short ones.
const LONG: usize = SHARED - 1;
/// Maximum number of them that loops of one kind have, whatever the number of domains.
const OF_A_KIND: usize = 2;
/// Time limit for an answer to an empty question, after which a connection counts as dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Connections for the polls of loops, opened when they are needed. `G` lives as long as a connection, as what counts
/// the open ones does.
#[derive(Debug)]
pub struct Pool<G> {
    name: &'static str,
    application: String,
    database: SecretUrl,
    limits: Option<Limits>,
    all: Arc<Semaphore>,
    idle: Mutex<Vec<(Session, G)>>,
}

/// Limits on the connections of a pool that loops share.
#[derive(Debug)]
struct Limits {
    long: Arc<Semaphore>,
    kinds: Mutex<HashMap<&'static str, Arc<Semaphore>>>,
}

/// The right to a connection; it ends when this is dropped.
pub struct Permits {
    _held: Vec<OwnedSemaphorePermit>,
}

/// A connection for one poll.
pub struct Lease<'a, G> {
    pool: &'a Pool<G>,
    session: Session,
    guard: G,
    permits: Permits,
    is_new: bool,
}

impl<G> Deref for Lease<'_, G> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl<G> DerefMut for Lease<'_, G> {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl<G> Pool<G> {
    /// The pool that the loops of a process share.
    #[must_use]
    pub fn shared(database: &SecretUrl) -> Self {
        let limits = Limits {
            long: Arc::new(Semaphore::new(LONG)),
            kinds: Mutex::default(),
        };
        Self::new("pool", "loops".to_owned(), database, SHARED, Some(limits))
    }

    /// The one connection of a loop that sets its session up in its own way.
    #[must_use]
    pub fn own(name: &'static str, subject: &str, database: &SecretUrl) -> Self {
        Self::new(name, format!("{name} {subject}"), database, 1, None)
    }

    fn new(
        name: &'static str,
        application: String,
        database: &SecretUrl,
        most: usize,
        limits: Option<Limits>,
    ) -> Self {
        Self {
            name,
            application,
            database: database.clone(),
            limits,
            all: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
        }
    }

    /// A connection for a poll of a loop, whose kind is the loop's name; `tell` is called when all are in use. `opened`
    /// gets the result of an attempt to open one, with the name of the pool. May be cancelled.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub async fn take(
        &self,
        kind: &'static str,
        long: bool,
        opened: impl FnOnce(&'static str, sqlx::Result<Session>) -> sqlx::Result<(Session, G)>,
        tell: &(dyn Fn(String) + Sync),
    ) -> sqlx::Result<Lease<'_, G>> {
        let permits = self.permits(kind, long, tell).await?;
        let idle = self.idle().pop();
        let is_new = idle.is_none();
        let (session, guard) = match idle {
            Some(idle) => idle,
            None => {
                let attempt = db::open(&self.database, &self.application).await;
                opened(self.name, attempt)?
            }
        };
        Ok(Lease {
            pool: self,
            session,
            guard,
            permits,
            is_new,
        })
    }

    /// Drops the idle connections: one has died, and most often not alone.
    pub fn drop_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    /// Takes the narrower limits first: a loop that waits for them holds none of the wider ones.
    async fn permits(
        &self,
        kind: &'static str,
        long: bool,
        tell: &(dyn Fn(String) + Sync),
    ) -> sqlx::Result<Permits> {
        let mut wanted = Vec::new();
        if let Some(limits) = &self.limits {
            let mut kinds = limits.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            let kind = kinds
                .entry(kind)
                .or_insert_with(|| Arc::new(Semaphore::new(OF_A_KIND)));
            wanted.push(kind.clone());
            if long {
                wanted.push(limits.long.clone());
            }
        }
        wanted.push(self.all.clone());
        let mut permits = Vec::with_capacity(wanted.len());
        for semaphore in wanted {
            if semaphore.available_permits() == 0 {
                tell("it waits for one of the connections that the loops share".to_owned());
            }
            // Never: none is closed.
            let permit = semaphore.acquire_owned().await;
            permits.push(permit.map_err(|_| sqlx::Error::WorkerCrashed)?);
        }
        Ok(Permits { _held: permits })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Session, G)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<G> Lease<'_, G> {
    /// Whether the connection has not been used yet.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Leaves the connection to the next poll.
    pub async fn give_back(mut self) {
        use sqlx::Connection as _;
        // The rollback of a dropped transaction is sent with the next question, for which a connection of
        // a loop of its own never waits long.
        if self.pool.limits.is_some() {
            let ping = tokio::time::timeout(ANSWER_WITHIN, self.session.ping());
            if !matches!(ping.await, Ok(Ok(()))) {
                return;
            }
        }
        self.pool.idle().push((self.session, self.guard));
    }

    /// Closes the connection and keeps its place: another one is opened in its stead, by other means.
    #[must_use]
    pub fn close(self) -> Permits {
        self.permits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The permits, if they are there at once.
    async fn now(pool: &Pool<()>, kind: &'static str, long: bool) -> Option<Permits> {
        let permits = pool.permits(kind, long, &|_| {});
        let permits = tokio::time::timeout(Duration::ZERO, permits).await.ok()?;
        Some(permits.unwrap())
    }

    #[tokio::test]
    async fn no_kind_of_loop_takes_all_and_long_steps_leave_one() {
        let url = SecretUrl::parse("postgres://u@127.0.0.1/x", &["postgres"]).unwrap();
        let pool = Pool::<()>::shared(&url);
        let checks = [
            now(&pool, "check", true).await.unwrap(),
            now(&pool, "check", true).await.unwrap(),
        ];
        assert!(now(&pool, "check", true).await.is_none());
        let refresh = now(&pool, "refresh", true).await.unwrap();
        assert!(now(&pool, "refresh", true).await.is_none());
        let short = now(&pool, "outbox_relay", false).await.unwrap();
        assert!(now(&pool, "observe", false).await.is_none());
        drop(short);
        assert!(now(&pool, "archive", true).await.is_none());
        drop(refresh);
        assert!(now(&pool, "archive", true).await.is_some());
        drop(checks);
        assert!(now(&pool, "check", true).await.is_some());
    }

    #[tokio::test]
    async fn who_waits_says_so_and_takes_what_comes_back() {
        let url = SecretUrl::parse("postgres://u@127.0.0.1/x", &["postgres"]).unwrap();
        let pool = Pool::<()>::own("promote", "x", &url);
        let first = now(&pool, "promote", false).await.unwrap();
        let told = Mutex::new(0);
        let tell = |_| *told.lock().unwrap() += 1;
        let (second, ()) = tokio::join!(pool.permits("promote", false, &tell), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(second.is_ok());
        assert_eq!(*told.lock().unwrap(), 1);
    }
}
