//! A database for one test, cloned from a template that is made once.

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;
use url::Url;

use crate::Services;

/// One statement at a time: PostgreSQL clones only a template that nobody is connected to.
static CLONING: Mutex<()> = Mutex::const_new(());

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

    /// A copy of the database `template`, which `prepare` fills when it is not there yet.
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
        let _one_at_a_time = CLONING.lock().await;
        let mut admin = PgConnection::connect(services.var("ADMIN_DATABASE_URL")?).await?;
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(template)
                .fetch_one(&mut admin)
                .await?;
        if !there {
            prepare(Self::create(services, template, "template1").await?)
                .await
                .context("preparing the template")?;
        }
        Self::create(services, &new_name(), template).await
    }

    /// A copy of this database, file by file: for one that is too large to pass through the log.
    /// Nobody may be connected to it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn copy(&self, services: &Services) -> anyhow::Result<Self> {
        let _one_at_a_time = CLONING.lock().await;
        let template = format!("{} strategy file_copy", self.name()?);
        Self::create(services, &new_name(), &template).await
    }

    /// Its name.
    ///
    /// # Errors
    /// None in practice.
    pub fn name(&self) -> anyhow::Result<String> {
        let url: Url = self.owner.parse()?;
        Ok(url.path().trim_start_matches('/').to_owned())
    }

    /// Deletes it, whoever is connected.
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

fn new_name() -> String {
    format!("test_{}", uuid::Uuid::now_v7().simple())
}
