//! URLs of PostgreSQL, one login role per duty.

use std::path::PathBuf;

use acequia_net::tls::TlsFiles;
use acequia_net::{AllowPlaintext, SecretUrl};
use acequia_store::db;
use anyhow::Context;
use clap::Args;

const SCHEMES: &[&str] = &["postgres", "postgresql"];
/// The setting that every program has.
const NAME: &str = "DATABASE_URL";

/// How the connection is secured.
#[derive(Clone, Args)]
struct Security {
    /// CA that signed the server's certificate (PEM), trusted beside the system's CAs
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    database_ca_file: Option<PathBuf>,
    #[command(flatten)]
    plaintext: AllowPlaintext,
}

impl Security {
    fn secure(&self, url: SecretUrl, name: &str) -> anyhow::Result<SecretUrl> {
        let tls = TlsFiles {
            ca: self.database_ca_file.clone(),
            ..TlsFiles::default()
        };
        let url = url.with_tls(tls).with_plaintext(self.plaintext.0);
        db::options(&url, "check").context(name.to_owned())?;
        Ok(url)
    }
}

/// The URL of a duty, or that of `DATABASE_URL`, which may have the rights as well.
fn url_of(
    text: Option<&str>,
    file: Option<&PathBuf>,
    name: &str,
    role: &str,
) -> anyhow::Result<SecretUrl> {
    let general = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let (general_url, general_file) = (
        general("DATABASE_URL"),
        general("DATABASE_URL_FILE").map(PathBuf::from),
    );
    let (text, file) = match (text.filter(|text| !text.is_empty()), file) {
        (None, None) => (general_url.as_deref(), general_file.as_deref()),
        (text, file) => (text, file.map(PathBuf::as_path)),
    };
    let example = format!("postgresql://{role}:password@127.0.0.1:5432/payments");
    SecretUrl::from_setting(text, file, name, &example, SCHEMES)
}

macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
hidden!(
    DatabaseArgs,
    OperatorDatabase,
    ArchiveDatabase,
    ArchiveLogin
);

/// Where PostgreSQL is.
#[derive(Clone, Args)]
pub struct DatabaseArgs {
    /// PostgreSQL: postgresql://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// File that holds the URL, instead of DATABASE_URL; read again for each connection
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    #[command(flatten)]
    security: Security,
}

impl DatabaseArgs {
    /// The URL from the option, the variable or the file.
    ///
    /// # Errors
    /// When none is given, the file cannot be read, it is no PostgreSQL URL, or it leads to
    /// another machine without TLS.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        let url = SecretUrl::from_setting(
            self.database_url.as_deref(),
            self.database_url_file.as_deref(),
            NAME,
            "postgresql://acequia_worker:password@127.0.0.1:5432/payments",
            SCHEMES,
        )?;
        self.security.secure(url, NAME)
    }
}

/// Where PostgreSQL is, for what people decide: as role `acequia_operator`.
#[derive(Clone, Args)]
pub struct OperatorDatabase {
    /// PostgreSQL, as role acequia_operator; DATABASE_URL when not given
    #[arg(
        long = "database-url",
        id = "operator_database_url",
        env = "OPERATOR_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    url: Option<String>,
    /// File that holds the URL
    #[arg(
        long = "database-url-file",
        id = "operator_database_url_file",
        env = "OPERATOR_DATABASE_URL_FILE",
        value_name = "FILE"
    )]
    file: Option<PathBuf>,
    #[command(flatten)]
    security: Security,
}

impl OperatorDatabase {
    /// The URL from the option, the variable or the file, or that of `DATABASE_URL`.
    ///
    /// # Errors
    /// As [`DatabaseArgs::url`].
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        const NAME: &str = "OPERATOR_DATABASE_URL";
        let url = url_of(
            self.url.as_deref(),
            self.file.as_ref(),
            NAME,
            "acequia_operator",
        )?;
        self.security.secure(url, NAME)
    }
}

/// Where PostgreSQL is, for the commands of the archive: as role `acequia_archive`.
#[derive(Clone, Args)]
pub struct ArchiveDatabase {
    /// PostgreSQL, as role acequia_archive; DATABASE_URL when not given
    #[arg(
        long = "database-url",
        id = "archive_database_url",
        env = "ARCHIVE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    url: Option<String>,
    /// File that holds the URL
    #[arg(
        long = "database-url-file",
        id = "archive_database_url_file",
        env = "ARCHIVE_DATABASE_URL_FILE",
        value_name = "FILE"
    )]
    file: Option<PathBuf>,
    #[command(flatten)]
    security: Security,
}

impl ArchiveDatabase {
    /// The URL from the option, the variable or the file, or that of `DATABASE_URL`.
    ///
    /// # Errors
    /// As [`DatabaseArgs::url`].
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        const NAME: &str = "ARCHIVE_DATABASE_URL";
        let url = url_of(
            self.url.as_deref(),
            self.file.as_ref(),
            NAME,
            "acequia_archive",
        )?;
        self.security.secure(url, NAME)
    }
}

/// The login of the archive in a worker that has another one for everything else.
#[derive(Clone, Default, Args)]
pub struct ArchiveLogin {
    /// PostgreSQL, as role acequia_archive, for the archive loop: the worker's role cannot drop
    /// anything
    #[arg(
        long,
        env = "ARCHIVE_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    archive_database_url: Option<String>,
    /// File that holds the URL, instead of ARCHIVE_DATABASE_URL; read again for each connection
    #[arg(long, env = "ARCHIVE_DATABASE_URL_FILE", value_name = "FILE")]
    archive_database_url_file: Option<PathBuf>,
}

impl ArchiveLogin {
    /// The URL, secured as the worker's; `None` when none is given.
    ///
    /// # Errors
    /// When the file cannot be read, it is no PostgreSQL URL, or it leads to another machine
    /// without TLS.
    pub fn url(&self, worker: &SecretUrl) -> anyhow::Result<Option<SecretUrl>> {
        const NAME: &str = "ARCHIVE_DATABASE_URL";
        let text = self
            .archive_database_url
            .as_deref()
            .filter(|text| !text.is_empty());
        if text.is_none() && self.archive_database_url_file.is_none() {
            return Ok(None);
        }
        let url = SecretUrl::from_setting(
            text,
            self.archive_database_url_file.as_deref(),
            NAME,
            "postgresql://acequia_archive:password@127.0.0.1:5432/payments",
            SCHEMES,
        )?;
        let url = url
            .with_tls(worker.tls().clone())
            .with_plaintext(worker.may_be_plaintext());
        db::options(&url, "check").context(NAME)?;
        Ok(Some(url))
    }
}
