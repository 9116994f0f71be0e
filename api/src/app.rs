//! Shared state of all calls.

use std::sync::Arc;
use std::time::Duration;

use acequia_ops::archives::Depot;
use acequia_store::clock::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::Callers;
use crate::config::ServeArgs;
use crate::data::calls::Calls;
use crate::database::{Database, Lease};
use crate::events::Events;
use crate::limit::Limiter;
use crate::metrics::Metrics;
use crate::operations::Lane;
use crate::problem::{Code, Problem, Result};
use crate::publish::Publisher;

/// The parts of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
#[derive(Debug)]
pub struct Parts {
    /// Connections as acequia_api.
    pub database: Database,
    /// Connections as acequia_operator, when that login is given.
    pub operator: Option<Database>,
    /// The way to the broker, when it is given.
    pub publisher: Option<Publisher>,
    /// Where archives are changed, when it is given.
    pub archives: Option<Depot>,
    /// Cache of authenticated callers.
    pub callers: Callers,
    /// The record of calls.
    pub calls: Calls,
    /// Calls per second.
    pub limiter: Limiter,
    /// Counters.
    pub metrics: Metrics,
    /// Events for the event streams.
    pub events: Events,
    /// The database's clock.
    pub clock: Clock,
    /// Settings.
    pub settings: ServeArgs,
    /// Name of this process in operations and logs.
    pub name: String,
    /// Wakes the task that carries out operations on quarantine.
    pub quarantine_work: Notify,
    /// Wakes the task that carries out operations on archives.
    pub archive_work: Notify,
    /// Ends streams and background work.
    pub stop: CancellationToken,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Of its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A connection that reads.
    ///
    /// # Errors
    /// Same as [`Database::take`].
    pub async fn database(&self) -> Result<Lease> {
        self.database.take().await
    }

    /// A connection by which people's decisions are carried out.
    ///
    /// # Errors
    /// `not_configured` without that login, else as [`Database::take`].
    pub async fn operator(&self) -> Result<Lease> {
        let operator = self.operator.as_ref().ok_or_else(|| {
            Problem::new(
                Code::NotConfigured,
                "decisions need the login of the operator: start the API with OPERATOR_DATABASE_URL",
            )
        })?;
        operator.take().await
    }

    /// Where archives are changed.
    ///
    /// # Errors
    /// `not_configured` without login or store.
    pub fn archives(&self) -> Result<&Depot> {
        self.archives.as_ref().ok_or_else(|| {
            Problem::new(
                Code::NotConfigured,
                "archiving needs the login of the archive and its store: start the API with ARCHIVE_DATABASE_URL and ARCHIVE_URL",
            )
        })
    }

    /// What wakes the task that carries out the operations of a lane.
    #[must_use]
    pub fn work(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Quarantine => &self.quarantine_work,
            Lane::Archives => &self.archive_work,
        }
    }

    /// The way to the broker.
    ///
    /// # Errors
    /// `not_configured` without one.
    pub fn publisher(&self) -> Result<&Publisher> {
        self.publisher.as_ref().ok_or_else(|| {
            Problem::new(
                Code::NotConfigured,
                "sending needs the broker: start the API with AMQP_URL",
            )
        })
    }
}

/// Longest `wait` of a call that publishes.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
