//! Learns when batches become visible: a trigger in the database under test notifies it at the
//! commit, so that the time includes everything up to the moment another connection could read
//! the rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use chrono::Utc;
use sqlx::postgres::PgListener;
use tokio::task::JoinHandle;

use crate::environment::TestEnv;

/// Times at which batches became visible, in microseconds since 1970.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Staged, by number of the batch.
    pub staged: HashMap<i64, i64>,
    /// Promoted, by number of the batch.
    pub promoted: HashMap<i64, i64>,
}

/// A listener.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// Numbers go out in several messages: one has room for eight thousand bytes.
const TRIGGERS: &str = "
create function public.bench_tell() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('bench', tg_op || ' ' || string_agg(c.batch_id::text, ','))
    from (select n.batch_id, (row_number() over ()) / 300 as part from changed n where tg_op = 'INSERT' or n.state = 'promoted') c
    group by c.part;
    return null;
end
$$;
create trigger bench_staged after insert on core.batches referencing new table as changed
    for each statement execute function public.bench_tell();
create trigger bench_promoted after update on core.batches referencing new table as changed
    for each statement execute function public.bench_tell();
-- Promotion runs in a session without ordinary triggers.
alter table core.batches enable always trigger bench_promoted;
";

impl Watch {
    /// Installs the triggers and listens.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn start(environment: &TestEnv<'_>) -> anyhow::Result<Self> {
        let mut owner = environment.admin().await?;
        sqlx::raw_sql(TRIGGERS).execute(&mut owner).await?;
        let mut listener = PgListener::connect(&environment.database.owner).await?;
        listener.listen("bench").await?;
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok(notification) = listener.recv().await {
                let now = Utc::now().timestamp_micros();
                let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((what, batches)) = notification.payload().split_once(' ') else {
                    continue;
                };
                let times = if what == "INSERT" {
                    &mut seen.staged
                } else {
                    &mut seen.promoted
                };
                for batch in batches.split(',').filter_map(|batch| batch.parse().ok()) {
                    times.entry(batch).or_insert(now);
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// The observations so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// When the first batch was staged.
    ///
    /// # Errors
    /// When none was.
    pub fn first_staged(&self) -> anyhow::Result<i64> {
        let seen = self.seen();
        seen.staged
            .values()
            .min()
            .copied()
            .context("no batch was staged")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
