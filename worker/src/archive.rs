//! The archive loop of `worker run`: archives by schedule, and brings back what late rows wait for.

use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_archive::due::{self, Wanted};
use acequia_archive::restore;
use acequia_archive::session::{Interrupted, Session, Totals};
use acequia_archive::store::Store;
use acequia_contracts::Domain;
use acequia_net::SecretUrl;
use chrono::{DateTime, Utc};
use croner::Cron;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::WorkerContext;
use crate::worker_loop::{PeriodicTask, Poll};

/// Shortest time between two looks for late rows.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest time between two checks of the clock, and for late rows without a notification.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// After a run: the next look finds what it left.
const SOON: Poll = Poll::Rest {
    at_least: LOOK_EVERY,
    at_most: LOOK_EVERY,
};
/// While store or login are not configured: each look writes a warning.
const LATER: Poll = Poll::Rest {
    at_least: Duration::from_secs(60),
    at_most: Duration::from_secs(60),
};
/// Pause after a failed attempt, doubled by each further one up to the longest: an attempt may copy a
/// whole partition for nothing.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Name of the actor in the audit log.
const NAME_OF_SCHEDULE: &str = "schedule";

/// The archive loop of a domain.
pub struct Archiver {
    store: Option<Store>,
    login: Option<SecretUrl>,
    schedule: Option<Cron>,
    started: DateTime<Utc>,
    stop: CancellationToken,
    failed: Mutex<Option<Failed>>,
    found: Mutex<Found>,
}

/// The work found by the last check: archives that rows wait for, and the scheduled time of a due run.
type Found = (Vec<i64>, Option<DateTime<Utc>>);

/// The last attempt, if it failed.
struct Failed {
    pause: Duration,
    until: Instant,
    error: String,
}

impl Archiver {
    /// The loop as it is configured: where archives are, the login of role `acequia_archive`, when.
    ///
    /// # Errors
    /// When URL or schedule are wrong, or there is a schedule and no URL or login.
    pub fn new(
        url: Option<&str>,
        login: Option<SecretUrl>,
        schedule: &str,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let store = url
            .filter(|url| !url.is_empty())
            .map(Store::open)
            .transpose()?;
        let schedule = match schedule {
            "" => None,
            text => Some(Cron::from_str(text)?),
        };
        anyhow::ensure!(
            schedule.is_none() || store.is_some(),
            "ARCHIVE_SCHEDULE is set, but not ARCHIVE_URL, which says where to"
        );
        anyhow::ensure!(
            schedule.is_none() || login.is_some(),
            "ARCHIVE_SCHEDULE is set, but not ARCHIVE_DATABASE_URL: only role acequia_archive may drop what was archived"
        );
        Ok(Self {
            store,
            login,
            schedule,
            started: Utc::now(),
            stop,
            failed: Mutex::default(),
            found: Mutex::default(),
        })
    }

    /// The time of the schedule that a run is due for, if any: the last one before now, unless it
    /// was seen to already. A new installation begins with the first after its start.
    async fn due(
        &self,
        connection: &mut PgConnection,
        domain: &str,
    ) -> sqlx::Result<Option<DateTime<Utc>>> {
        let Some(schedule) = &self.schedule else {
            return Ok(None);
        };
        let Ok(last) = schedule.find_previous_occurrence(&Utc::now(), true) else {
            return Ok(None);
        };
        let done = due::last_scheduled(connection, domain).await?;
        Ok((last > done.unwrap_or(self.started)).then_some(last))
    }

    /// Until the next look: when something is merged, when the next run is due, or after a while.
    fn rest(&self) -> Poll {
        let next = self
            .schedule
            .as_ref()
            .and_then(|schedule| schedule.find_next_occurrence(&Utc::now(), false).ok());
        let until = next.and_then(|next| (next - Utc::now()).to_std().ok());
        Poll::Rest {
            at_least: LOOK_EVERY.min(until.unwrap_or(LOOK_EVERY)),
            at_most: LOOK_AT_LEAST_EVERY.min(until.unwrap_or(LOOK_AT_LEAST_EVERY)),
        }
    }

    /// Remembers a failure, or that there is none.
    fn remember(&self, error: Option<&anyhow::Error>) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = error.map(|error| {
            let before = failed.as_ref().map(|failed| failed.pause);
            let pause = before.map_or(FIRST_PAUSE, |pause| (2 * pause).min(LONGEST_PAUSE));
            Failed {
                pause,
                until: Instant::now() + pause,
                error: format!("archive: {error:#}"),
            }
        });
    }

    /// The error of the last attempt, while it is too early for another one.
    fn still_failed(&self) -> Option<sqlx::Error> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failed
            .as_ref()
            .filter(|failed| failed.until > Instant::now())?;
        Some(sqlx::Error::Io(std::io::Error::other(failed.error.clone())))
    }

    /// A run under the lock, when no other process has it.
    async fn work(
        &self,
        store: &Store,
        login: &SecretUrl,
        domain: &'static Domain,
        wanted: &[i64],
        due: Option<DateTime<Utc>>,
        context: &WorkerContext,
    ) -> anyhow::Result<()> {
        let who = Some(NAME_OF_SCHEDULE.to_owned());
        let Some(mut session) = Session::open(login, store.clone(), who, self.stop.clone()).await?
        else {
            return Ok(()); // the next look finds the rest
        };
        if !wanted.is_empty() {
            session.begin("restore", Some(domain.name), None).await?;
            let mut totals = Totals::default();
            let outcome = async {
                session.collect_garbage().await?;
                for archive in wanted {
                    let hold = context.settings.archive_hold;
                    let (archive, late_rows) =
                        restore::restore(&mut session, *archive, hold).await?;
                    totals.add(&archive);
                    info!(
                        event = "archive.late_rows",
                        partition = archive.partition_name,
                        late_rows,
                        "brought back for rows that came late"
                    );
                }
                Ok(())
            };
            let outcome = outcome.await;
            session.end(totals, &outcome).await;
            context
                .metrics
                .archive
                .ended(domain.name, "restore", &outcome);
            outcome?;
        }
        if let Some(due) = due
            && session
                .begin("archive", Some(domain.name), Some(due))
                .await?
        {
            let wanted = Wanted {
                domain: vec![domain.name.to_owned()],
                ..Wanted::default()
            };
            let (totals, outcome) = due::archive(&mut session, &wanted, |_, _| {}).await;
            session.end(totals, &outcome).await;
            info!(
                event = "archive.run",
                domain = domain.name,
                partitions = totals.partitions,
                rows = totals.rows,
                bytes_hot = totals.bytes_hot,
                bytes_archived = totals.bytes_archived,
                ok = outcome.is_ok(),
                "run of the schedule ended"
            );
            context
                .metrics
                .archive
                .ended(domain.name, "archive", &outcome);
            outcome?;
        }
        Ok(())
    }
}

impl PeriodicTask for Archiver {
    const NAME: &'static str = "archive";
    const SHORT: bool = false;
    // A table takes as long as it takes; what it waits for meanwhile is limited piece by piece.
    const WITHIN: Duration = Duration::from_secs(7 * 86_400);

    async fn poll(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        _context: &WorkerContext,
    ) -> sqlx::Result<Poll> {
        let wanted = restore::wanted(connection, domain.name).await?;
        let due = self.due(connection, domain.name).await?;
        if wanted.is_empty() && due.is_none() {
            return Ok(self.rest());
        }
        if self.store.is_none() || self.login.is_none() {
            warn!(
                event = "archive.no_store",
                domain = domain.name,
                archives = wanted.len(),
                "rows wait for archives, but ARCHIVE_URL or ARCHIVE_DATABASE_URL is not set"
            );
            return Ok(LATER);
        }
        if let Some(error) = self.still_failed() {
            return Err(error);
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = (wanted, due);
        Ok(Poll::Apart)
    }

    /// The run, by a connection of the archive's own login.
    async fn apart(&self, domain: &'static Domain, context: &WorkerContext) -> sqlx::Result<Poll> {
        let (wanted, due) =
            std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        let (Some(store), Some(login)) = (&self.store, &self.login) else {
            return Ok(self.rest());
        };
        let worked = self.work(store, login, domain, &wanted, due, context).await;
        self.remember(
            worked
                .as_ref()
                .err()
                .filter(|error| !error.is::<Interrupted>()),
        );
        match worked {
            Ok(()) => Ok(SOON),
            Err(error) if error.is::<Interrupted>() => Ok(SOON),
            // For this loop the object store is a dependency as the database is.
            Err(error) => Err(match error.downcast::<sqlx::Error>() {
                Ok(error) => error,
                Err(error) => sqlx::Error::Io(std::io::Error::other(format!("archive: {error:#}"))),
            }),
        }
    }
}
