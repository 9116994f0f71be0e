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

/// The URL for a duty, or else `DATABASE_URL`, whose role may have the rights as well.
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
    ApiDatabase,
    ArchiveLogin,
    OperatorLogin
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

/// A login for a duty, in place of that of `DATABASE_URL`, under the option `--database-url`.
macro_rules! duty {
    ($about:literal, $name:ident, $role:literal, $id:literal, $url:literal, $file_id:literal, $file:literal) => {
        #[doc = $about]
        #[derive(Clone, Args)]
        pub struct $name {
            #[arg(
                long = "database-url",
                id = $id,
                env = $url,
                hide_env_values = true,
                value_name = "URL",
                help = concat!("PostgreSQL, as role ", $role, "; DATABASE_URL when not given")
            )]
            url: Option<String>,
            #[arg(
                long = "database-url-file",
                id = $file_id,
                env = $file,
                value_name = "FILE",
                help = "File that holds the URL"
            )]
            file: Option<PathBuf>,
            #[command(flatten)]
            security: Security,
        }

        impl $name {
            /// The URL from the option, the variable or the file, or that of `DATABASE_URL`.
            ///
            /// # Errors
            /// Same as [`DatabaseArgs::url`].
            pub fn url(&self) -> anyhow::Result<SecretUrl> {
                let url = url_of(self.url.as_deref(), self.file.as_ref(), $url, $role)?;
                self.security.secure(url, $url)
            }
        }
    };
}

duty!(
    "Where PostgreSQL is, for what people decide: as role `acequia_operator`.",
    OperatorDatabase,
    "acequia_operator",
    "operator_database_url",
    "OPERATOR_DATABASE_URL",
    "operator_database_url_file",
    "OPERATOR_DATABASE_URL_FILE"
);
duty!(
    "Where PostgreSQL is, for the commands of the archive: as role `acequia_archive`.",
    ArchiveDatabase,
    "acequia_archive",
    "archive_database_url",
    "ARCHIVE_DATABASE_URL",
    "archive_database_url_file",
    "ARCHIVE_DATABASE_URL_FILE"
);

duty!(
    "Where PostgreSQL is, for the HTTP API: as role `acequia_api`.",
    ApiDatabase,
    "acequia_api",
    "api_database_url",
    "API_DATABASE_URL",
    "api_database_url_file",
    "API_DATABASE_URL_FILE"
);

/// A second login of a program, for a duty that its own role may not do; it may be left out.
macro_rules! login {
    ($about:literal, $name:ident, $role:literal, $id:literal, $url:literal, $file_id:literal, $file:literal, $help:literal) => {
        #[doc = $about]
        #[derive(Clone, Default, Args)]
        pub struct $name {
            #[arg(long = $id, id = $id, env = $url, hide_env_values = true, value_name = "URL", help = $help)]
            url: Option<String>,
            #[arg(
                long = $file_id,
                id = $file_id,
                env = $file,
                value_name = "FILE",
                help = concat!("File that holds the URL, instead of ", $url, "; read again for each connection")
            )]
            file: Option<PathBuf>,
        }

        impl $name {
            /// The URL, secured as the program's own; `None` when none is given.
            ///
            /// # Errors
            /// When the file cannot be read, it is no PostgreSQL URL, or it leads to another machine without TLS.
            pub fn url(&self, own: &SecretUrl) -> anyhow::Result<Option<SecretUrl>> {
                let text = self.url.as_deref().filter(|text| !text.is_empty());
                if text.is_none() && self.file.is_none() {
                    return Ok(None);
                }
                let example = concat!("postgresql://", $role, ":password@127.0.0.1:5432/payments");
                let url =
                    SecretUrl::from_setting(text, self.file.as_deref(), $url, example, SCHEMES)?;
                let url = url
                    .with_tls(own.tls().clone())
                    .with_plaintext(own.may_be_plaintext());
                db::options(&url, "check").context($url)?;
                Ok(Some(url))
            }
        }
    };
}

login!(
    "The login of the archive in a program that has another one for everything else.",
    ArchiveLogin,
    "acequia_archive",
    "archive-database-url",
    "ARCHIVE_DATABASE_URL",
    "archive-database-url-file",
    "ARCHIVE_DATABASE_URL_FILE",
    "PostgreSQL, as role acequia_archive, for archiving and restoring: no other role can drop a partition"
);
login!(
    "The login by which an API carries out what people decide.",
    OperatorLogin,
    "acequia_operator",
    "operator-database-url",
    "OPERATOR_DATABASE_URL",
    "operator-database-url-file",
    "OPERATOR_DATABASE_URL_FILE",
    "PostgreSQL, as role acequia_operator: for replay, discard and gates"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Duties {
        #[command(flatten)]
        operator: OperatorDatabase,
        #[command(flatten)]
        archive: ArchiveLogin,
    }

    #[test]
    fn a_duty_has_its_login_and_says_whose() {
        let help = Duties::command().render_long_help().to_string();
        assert!(help.contains("as role acequia_operator"), "{help}");
        assert!(help.contains("OPERATOR_DATABASE_URL_FILE"), "{help}");
        let url = "postgres://acequia_operator:s3cret@127.0.0.1/payments";
        let duties = Duties::try_parse_from(["x", "--database-url", url]).unwrap();
        let operator = duties.operator.url().unwrap();
        assert!(duties.archive.url(&operator).unwrap().is_none());
        let away = "postgres://acequia_archive:s3cret@db/payments?sslmode=disable";
        let duties = Duties::try_parse_from(["x", "--archive-database-url", away]).unwrap();
        let error = format!("{:#}", duties.archive.url(&operator).unwrap_err());
        assert!(error.contains("ARCHIVE_DATABASE_URL"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
