//! One connection that holds the lock of the archive, so that one process at a time changes it.

use std::time::Duration;

use acequia_net::SecretUrl;
use acequia_store::db;
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection};
use tokio_util::sync::CancellationToken;

use super::encoding::ColumnSpec;
use super::file;
use super::progress::Progress;
use super::row_group::{Checksum, RowGroup, Rows};
use super::sink::Sink;
use super::store::Store;

/// How long the server may send nothing while it reads a partition: it sorts first.
const SILENCE: Duration = Duration::from_secs(900);
/// Attempts to get the lock of the archive.
const LOCK_ATTEMPTS: u32 = 6;
/// Pause between them.
const LOCK_PAUSE: Duration = Duration::from_millis(200);
/// Attempts to get a lock on a table that others work with, a second each, with as long a pause.
const PATIENCE: u32 = 60;

/// A row of `core.archives`.
#[derive(Debug, Clone, sqlx_macros::FromRow, Serialize)]
pub struct Archive {
    /// Number.
    pub archive_id: i64,
    /// Table.
    pub table_name: String,
    /// Partition.
    pub partition_name: String,
    /// Beginning of its range.
    pub from_at: DateTime<Utc>,
    /// End of its range.
    pub to_at: DateTime<Utc>,
    /// State in its life cycle.
    pub state: String,
    /// Parquet file.
    pub object_path: String,
    /// Manifest.
    pub manifest_path: String,
    /// Rows; none before it is verified.
    pub row_count: Option<i64>,
    /// Least value of the time column.
    pub first_at: Option<DateTime<Utc>>,
    /// Greatest value of the time column.
    pub last_at: Option<DateTime<Utc>>,
    /// Version of the schema when it was written.
    pub schema_version: Option<i32>,
    /// Checksum of the rows.
    pub checksum: Option<String>,
    /// SHA-256 of the file.
    pub object_sha256: Option<String>,
    /// Columns.
    #[sqlx(json(nullable))]
    pub columns: Option<Vec<ColumnSpec>>,
    /// Size in the database, bytes.
    pub bytes_hot: i64,
    /// Size in the store, bytes.
    pub bytes_archived: Option<i64>,
    /// A restored one is not archived again before.
    pub hold_until: Option<DateTime<Utc>>,
}

/// Totals of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Partitions.
    pub partitions: i32,
    /// Rows.
    pub rows: i64,
    /// Bytes in the database, with indexes.
    pub bytes_hot: i64,
    /// Bytes in the object store.
    pub bytes_archived: i64,
}

impl Totals {
    /// Adds a partition.
    pub fn add(&mut self, archive: &Archive) {
        self.partitions += 1;
        self.rows += archive.row_count.unwrap_or_default();
        self.bytes_hot += archive.bytes_hot;
        self.bytes_archived += archive.bytes_archived.unwrap_or_default();
    }

    /// Space saved, per cent.
    #[must_use]
    pub fn reduction(&self) -> Option<f64> {
        (self.bytes_hot > 0)
            .then(|| 100.0 - self.bytes_archived as f64 * 100.0 / self.bytes_hot as f64)
    }
}

/// The error of a run that was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; the next run starts again")]
pub struct Interrupted;

/// A connection with the lock of the archive.
pub struct Session {
    /// The connection.
    pub connection: PgConnection,
    /// The object store.
    pub store: Store,
    /// Name of the person who runs it.
    pub who: Option<String>,
    /// Number of the run.
    pub run: i64,
    /// Cancelled when the run must stop.
    pub stop: CancellationToken,
    database: SecretUrl,
    backend: i32,
    lost: bool,
}

impl Session {
    /// Connects and takes the lock; `None` when another process has it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(
        database: &SecretUrl,
        store: Store,
        who: Option<String>,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let connection = connect(database).await?;
        let mut session = Self {
            connection,
            database: database.clone(),
            store,
            who,
            run: 0,
            stop,
            backend: 0,
            lost: false,
        };
        Ok(session.lock().await?.then_some(session))
    }

    /// Takes the lock of the archive; false when another process has it.
    async fn lock(&mut self) -> anyhow::Result<bool> {
        // The server may not have seen yet that a process which has just ended is gone.
        for attempt in 0..LOCK_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            let locked = one(&mut self.connection, "select core.hold_lock('archive')");
            if locked.await.context("database")? {
                self.backend = one(&mut self.connection, "select pg_backend_pid()").await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on with a new connection after a failure: a copy that was broken off leaves the old one
    /// in the middle of it, where it understands nothing else. Another process may have got the
    /// lock meanwhile: then this session is lost.
    ///
    /// # Errors
    /// When the database does not answer, or the lock is gone.
    pub async fn renew(&mut self) -> anyhow::Result<()> {
        self.lost = true;
        let mut connection = connect(&self.database).await?;
        // The server may be busy for long with a result that is not read any more, and hold the lock as long.
        sqlx::query(
            "select pg_terminate_backend(a.pid) from pg_stat_activity a
             where a.pid = $1 and a.application_name = current_setting('application_name')",
        )
        .bind(self.backend)
        .execute(&mut connection)
        .await?;
        self.connection = connection;
        anyhow::ensure!(
            self.lock().await?,
            "another process archives or restores now"
        );
        self.lost = false;
        Ok(())
    }

    /// Whether there is no connection with the lock any more.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// An archive by its number.
    ///
    /// # Errors
    /// When there is none.
    pub async fn archive(&mut self, archive: i64) -> anyhow::Result<Archive> {
        let archive = sqlx::query_as("select * from core.archives where archive_id = $1")
            .bind(archive)
            .fetch_one(&mut self.connection);
        Ok(archive.await?)
    }

    /// Reads a table by binary COPY, block by block, into a file if there is one; returns the
    /// checksum of it and the number of rows.
    ///
    /// # Errors
    /// When the server is silent for long, when the run is cancelled, and errors of the file.
    pub async fn read_table(
        &mut self,
        query: &str,
        columns: &[ColumnSpec],
        progress: &mut Progress,
        mut sink: Option<&mut Sink>,
    ) -> anyhow::Result<(String, u64)> {
        let encodings = file::encodings(columns)?;
        let mut checksum = Checksum::new(columns);
        let (mut rows, mut row_group) = (Rows::default(), RowGroup::new(&encodings));
        let mut stream = self.connection.copy_out_raw(query).await?;
        loop {
            let chunk = tokio::select! {
                () = self.stop.cancelled() => bail!(Interrupted),
                chunk = tokio::time::timeout(SILENCE, stream.next()) => chunk,
            };
            let Some(chunk) = chunk.map_err(|_| db::no_answer(SILENCE))? else {
                break;
            };
            let mut more = rows.take(chunk?, &mut row_group)?;
            while more || row_group.is_full() {
                let full = std::mem::replace(&mut row_group, RowGroup::new(&encodings));
                checksum.add(&full);
                progress.add(&full);
                if let Some(sink) = &mut sink {
                    sink.write(full).await?;
                }
                more = rows.take(bytes::Bytes::new(), &mut row_group)?;
            }
        }
        rows.finish()?;
        if row_group.rows() > 0 {
            checksum.add(&row_group);
            progress.add(&row_group);
            if let Some(sink) = &mut sink {
                sink.write(row_group).await?;
            }
        }
        let rows = checksum.rows();
        Ok((checksum.finish(), rows))
    }

    /// The result of a statement that needs a lock on a table; `None` when it did not
    /// get the lock in time and should be made again.
    ///
    /// # Errors
    /// Another failure, no lock for too long, or a request to stop.
    pub async fn unless_locked<T>(
        &mut self,
        attempt: sqlx::Result<T>,
        attempts: &mut u32,
    ) -> anyhow::Result<Option<T>> {
        let error = match attempt {
            Ok(done) => return Ok(Some(done)),
            Err(error) => error,
        };
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        *attempts += 1;
        if !matches!(code.as_deref(), Some("55P03" | "40P01")) || *attempts >= PATIENCE {
            return Err(error.into());
        }
        // Other transactions that wait for the table get it meanwhile.
        tokio::select! {
            () = self.stop.cancelled() => bail!(Interrupted),
            () = tokio::time::sleep(Duration::from_secs(1)) => Ok(None),
        }
    }
}

/// A connection in which values that are kept as text are written and read in one way.
async fn connect(database: &SecretUrl) -> anyhow::Result<PgConnection> {
    let mut connection = db::connect(database, "archive").await.context("database")?;
    sqlx::raw_sql(
        "set statement_timeout = 0; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres';
         set extra_float_digits = 1; set bytea_output = 'hex'; set lc_monetary = 'C'",
    )
    .execute(&mut connection)
    .await
    .context("database")?;
    Ok(connection)
}

/// A single value of a query without arguments, as an error of ours.
pub async fn one<T>(connection: &mut PgConnection, query: &'static str) -> anyhow::Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    (T,): for<'r> FromRow<'r, PgRow>,
{
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}
