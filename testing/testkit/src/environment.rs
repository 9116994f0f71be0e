//! Database and virtual host of one test, and questions to the database.

use std::ops::DerefMut;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{Services, TestDatabase, VirtualHost};

/// The database that the others are copies of.
const TEMPLATE: &str = "acequia_template";

/// Database and virtual host of one test.
#[derive(Debug)]
pub struct TestEnv {
    /// Their servers.
    pub services: &'static Services,
    /// A copy of a database that was prepared once.
    pub database: TestDatabase,
    /// An empty virtual host.
    pub broker: VirtualHost,
    /// The session of [`TestEnv::session`].
    kept: Mutex<Option<PgConnection>>,
}

impl TestEnv {
    /// On the servers that all tests share. `prepare` fills the database that is copied.
    ///
    /// # Errors
    /// When a server refuses or `prepare` fails.
    pub async fn shared<F>(
        prepare: impl FnOnce(&'static Services, TestDatabase) -> F,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        Self::on(Services::shared().await?, prepare).await
    }

    /// On servers of its own, which a test may restart; they end with the process.
    ///
    /// # Errors
    /// Same as [`TestEnv::shared`].
    pub async fn own<F>(
        prepare: impl FnOnce(&'static Services, TestDatabase) -> F,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let services: &'static Services = Box::leak(Box::new(Services::start().await?));
        Self::on(services, prepare).await
    }

    async fn on<F>(
        services: &'static Services,
        prepare: impl FnOnce(&'static Services, TestDatabase) -> F,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let database = TestDatabase::cloned(services, TEMPLATE, async |template| {
            prepare(services, template).await?;
            many_logins(services).await
        })
        .await?;
        let broker = VirtualHost::create(services).await?;
        Ok(Self::of(services, database, broker))
    }

    /// Of a database and a virtual host that are there.
    #[must_use]
    pub fn of(services: &'static Services, database: TestDatabase, broker: VirtualHost) -> Self {
        Self {
            services,
            database,
            broker,
            kept: Mutex::new(None),
        }
    }

    /// A connection as owner of the database.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connect(&self) -> PgConnection {
        let connection = PgConnection::connect(&self.database.owner).await;
        connection.unwrap_or_else(|error| panic!("database of the test: {error}"))
    }

    /// A session for questions, as owner of the database. Most tests ask again and again until something holds, and a new
    /// session takes the server ten times as long as the question.
    ///
    /// # Panics
    /// When there is none.
    pub async fn session(&self) -> impl DerefMut<Target = PgConnection> {
        // Another call at the same time finds none, and makes one.
        let kept = self.kept.lock().ok().and_then(|mut kept| kept.take());
        let mut alive = None;
        if let Some(mut session) = kept {
            alive = session.ping().await.is_ok().then_some(session);
        }
        let session = match alive {
            Some(session) => session,
            None => self.connect().await,
        };
        scopeguard::guard(session, |session| {
            if let Ok(mut kept) = self.kept.lock() {
                *kept = Some(session);
            }
        })
    }

    /// Runs statements as owner of the database.
    ///
    /// # Panics
    /// When one fails.
    pub async fn execute(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.connect().await)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// The single number that a query answers, as owner of the database.
    ///
    /// # Panics
    /// When it fails.
    pub async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query))
            .persistent(false)
            .fetch_one(&mut *self.session().await)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// The single text that a query answers, as owner of the database.
    ///
    /// # Panics
    /// When it fails.
    pub async fn text(&self, query: &str) -> String {
        sqlx::query_scalar(AssertSqlSafe(query))
            .persistent(false)
            .fetch_one(&mut *self.session().await)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// The texts that a query answers, as owner of the database.
    ///
    /// # Panics
    /// When it fails.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(query))
            .persistent(false)
            .fetch_all(&mut *self.session().await)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

/// Tests that run side by side share the roles, whose limits are meant for one installation.
async fn many_logins(services: &Services) -> anyhow::Result<()> {
    const LIMITS: &str = "alter role acequia_api connection limit 200; alter role acequia_operator connection limit 200";
    let mut admin = PgConnection::connect(services.var("ADMIN_DATABASE_URL")?).await?;
    let mut set = sqlx::raw_sql(LIMITS).execute(&mut admin).await;
    // A test that migrates a database of its own alters the same roles: of two at once PostgreSQL refuses one.
    for _ in 0..20 {
        if set.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        set = sqlx::raw_sql(LIMITS).execute(&mut admin).await;
    }
    set?;
    admin.close().await?;
    Ok(())
}
