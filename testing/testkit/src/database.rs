//! A database for one test, cloned from a template that is made once.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

use crate::{Services, root};

/// One clone at a time, of all processes that share the servers: PostgreSQL clones only a template that nobody is
/// connected to. An advisory lock, so that the end of a process ends it.
const LOCK: &str = "select pg_advisory_lock(hashtext('clones of test databases'))";

/// A database of its own.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// As owner, who may do everything in it.
    pub owner: String,
    /// As the worker's role.
    pub worker: String,
    /// As the archive's role.
    pub archive: String,
    /// As the operators' role.
    pub operator: String,
    /// As the API's role.
    pub api: String,
    /// As the analyst's role.
    pub analyst: String,
    /// As superuser of the server.
    pub admin: String,
}

impl TestDatabase {
    /// An empty database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn empty(services: &Services) -> anyhow::Result<Self> {
        Self::create(services, &new_name(), "template1").await
    }

    /// A copy of the database `template`, which `prepare` fills when it is not there yet. Servers may outlive a build: each
    /// state of the folder `sql` has its own.
    ///
    /// # Errors
    /// When the server refuses or `prepare` fails.
    pub async fn cloned<F>(
        services: &Services,
        template: &str,
        prepare: impl FnOnce(Self) -> F,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let template = &format!("{template}_{:016x}", fingerprint(&root().join("sql"))?);
        let mut admin = one_at_a_time(services).await?;
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(template)
                .fetch_one(&mut admin)
                .await?;
        if !there {
            // Under another name until it is whole.
            let unfinished = Self::create(services, &new_name(), "template1").await?;
            let name = unfinished.name()?;
            prepare(unfinished)
                .await
                .context("preparing the template")?;
            sqlx::query(AssertSqlSafe(format!(
                "alter database {name} rename to {template}"
            )))
            .execute(&mut admin)
            .await?;
        }
        let clone = Self::create(services, &new_name(), template).await;
        admin.close().await?;
        clone
    }

    /// A copy of this database, file by file: for one that is too large to pass through the log.
    /// Nobody may be connected to it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn copy(&self, services: &Services) -> anyhow::Result<Self> {
        let admin = one_at_a_time(services).await?;
        let template = format!("{} strategy file_copy", self.name()?);
        let copy = Self::create(services, &new_name(), &template).await;
        admin.close().await?;
        copy
    }

    /// Its name.
    ///
    /// # Errors
    /// None in practice.
    pub fn name(&self) -> anyhow::Result<String> {
        let url: Url = self.owner.parse()?;
        Ok(url.path().trim_start_matches('/').to_owned())
    }

    /// Deletes it, even with open connections.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn drop(self) -> anyhow::Result<()> {
        let name = self.name()?;
        let mut server: Url = self.admin.parse()?;
        server.set_path("postgres");
        let mut admin = PgConnection::connect(server.as_str()).await?;
        // The name was made by this crate.
        sqlx::query(AssertSqlSafe(format!("drop database {name} with (force)")))
            .execute(&mut admin)
            .await?;
        Ok(())
    }

    async fn create(services: &Services, name: &str, template: &str) -> anyhow::Result<Self> {
        let mut admin = PgConnection::connect(services.var("ADMIN_DATABASE_URL")?).await?;
        // Both names are made by this crate or by a test.
        sqlx::query(AssertSqlSafe(format!(
            "create database {name} template {template} owner app"
        )))
        .execute(&mut admin)
        .await?;
        let url = |variable: &str| -> anyhow::Result<String> {
            let mut url: Url = services.var(variable)?.parse()?;
            url.set_path(name);
            Ok(url.into())
        };
        Ok(Self {
            owner: url("DATABASE_URL")?,
            worker: url("WORKER_DATABASE_URL")?,
            archive: url("ARCHIVE_DATABASE_URL")?,
            operator: url("OPERATOR_DATABASE_URL")?,
            api: url("API_DATABASE_URL")?,
            analyst: url("ANALYST_DATABASE_URL")?,
            admin: url("ADMIN_DATABASE_URL")?,
        })
    }
}

/// A connection as superuser that has the lock of cloning, until it is closed.
async fn one_at_a_time(services: &Services) -> anyhow::Result<PgConnection> {
    let mut admin = PgConnection::connect(services.var("ADMIN_DATABASE_URL")?).await?;
    sqlx::query(LOCK).execute(&mut admin).await?;
    Ok(admin)
}

fn new_name() -> String {
    format!("test_{}", uuid::Uuid::now_v7().simple())
}

/// A number that changes with any file below a folder.
fn fingerprint(folder: &Path) -> anyhow::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let entries: BTreeSet<_> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    for entry in entries {
        entry.file_name().hash(&mut hasher);
        if entry.is_dir() {
            fingerprint(&entry)?.hash(&mut hasher);
        } else {
            std::fs::read(&entry)?.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}
