//! Where archives are changed: the object store, and the login for it.

use acequia_archive::session::Session;
use acequia_archive::store::Store;
use acequia_net::SecretUrl;
use tokio_util::sync::CancellationToken;

/// An object store with the login of role `acequia_archive`.
#[derive(Debug, Clone)]
pub struct Depot {
    store: Store,
    login: SecretUrl,
}

impl Depot {
    /// Of a URL of the store, as `file:///folder` or `s3://bucket/prefix`, and a login.
    ///
    /// # Errors
    /// When the URL has neither form, or the folder cannot be made.
    pub fn open(url: &str, login: SecretUrl) -> anyhow::Result<Self> {
        let store = Store::open(url)?;
        Ok(Self { store, login })
    }

    /// A session that holds the lock of the archive, in the name of a person; `None` when another process has the lock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session(
        &self,
        who: Option<String>,
        stop: CancellationToken,
    ) -> anyhow::Result<Option<Session>> {
        Session::open(&self.login, self.store.clone(), who, stop).await
    }
}
