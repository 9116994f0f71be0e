//! Connections to PostgreSQL. Each loop owns one; there is no pool on the way of a message.

use std::str::FromStr;
use std::time::Duration;

use acequia_link::{SecretUrl, is_loopback, refuse_plaintext, tls};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};

/// How long the server may take to let us in.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The options that a URL may have. Another one would be ignored by sqlx, and logged with its
/// value, which may be a password under a misspelt name.
const URL_OPTIONS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// Options for a connection: TLS, time limits on the server's side, a name that shows in
/// `pg_stat_activity`, durable commits whatever the server's default is.
///
/// To another machine the connection is encrypted and the server's certificate checked, unless
/// the operator allows plain text.
///
/// # Errors
/// When the URL cannot be read, has options that PostgreSQL does not know, or leads to another
/// machine in plain text.
pub fn options(url: &SecretUrl, name: &str) -> sqlx::Result<PgConnectOptions> {
    let secure = secure(url).map_err(|error| misconfigured(format!("{error:#}")))?;
    Ok(secure
        .application_name(&format!("acequia {name}"))
        .options([
            ("statement_timeout", "120s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "30s"),
            ("synchronous_commit", "on"),
            ("timezone", "UTC"),
        ])
        .disable_statement_logging())
}

fn secure(url: &SecretUrl) -> anyhow::Result<PgConnectOptions> {
    let text = url.expose()?;
    if let Some((unknown, _)) = text
        .query_pairs()
        .find(|(key, _)| !URL_OPTIONS.contains(&key.as_ref()) && !key.starts_with("options["))
    {
        anyhow::bail!(
            "the URL has an option {unknown:?}; there is {}",
            URL_OPTIONS.join(", ")
        );
    }
    let mut options = PgConnectOptions::from_str(text.as_str())
        .map_err(|error| anyhow::anyhow!("the URL cannot be used: {error}"))?;
    // sqlx looks for a host of that name, brackets and all.
    let bare = options
        .get_host()
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(bare) = bare.map(ToOwned::to_owned) {
        options = options.host(&bare);
    }
    let ca = url.tls().ca.as_ref();
    if let Some(ca) = ca {
        options = options.ssl_root_cert(ca);
    }
    // sqlx has `prefer` where nothing is said: TLS, but with anybody, and plain text if need be.
    if matches!(options.get_ssl_mode(), PgSslMode::Prefer)
        && (ca.is_some() || (!url.may_be_plaintext() && !is_here(&options)))
    {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if checks_the_server(&options) {
        return Ok(options);
    }
    if ca.is_some() {
        anyhow::bail!(
            "a CA is given (DATABASE_CA_FILE), but this sslmode checks no certificate: use sslmode=verify-full"
        );
    }
    if !is_here(&options) {
        refuse_plaintext(
            url,
            options.get_host(),
            "Use sslmode=verify-full, with DATABASE_CA_FILE if the server's CA is your own",
        )?;
    }
    Ok(options)
}

/// Whether the server is on this machine.
#[must_use]
pub fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some() || host.starts_with('/') || is_loopback(host)
}

/// Whether the connection is encrypted and the server's certificate checked.
#[must_use]
pub fn checks_the_server(options: &PgConnectOptions) -> bool {
    options.get_socket().is_none()
        && matches!(
            options.get_ssl_mode(),
            PgSslMode::VerifyFull | PgSslMode::VerifyCa
        )
}

/// Opens a connection.
///
/// # Errors
/// When the server does not answer within ten seconds or refuses, or as [`options`].
pub async fn connect(url: &SecretUrl, name: &str) -> sqlx::Result<PgConnection> {
    let options = options(url, name)?;
    // Connecting may be cancelled: nothing has been sent that could be half done.
    tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&options))
        .await
        .unwrap_or_else(|_| Err(no_answer(CONNECT_WITHIN)))
        .map_err(with_remedy)
}

/// Adds to an error of connecting what to do about it, where TLS is the matter.
fn with_remedy(error: sqlx::Error) -> sqlx::Error {
    match &error {
        sqlx::Error::Io(io) => {
            if let Some(remedy) = tls::remedy(io, "DATABASE_CA_FILE", "PGSSLCERT and PGSSLKEY") {
                return sqlx::Error::Tls(format!("{io}; {remedy}").into());
            }
        }
        sqlx::Error::Tls(reason) => {
            return sqlx::Error::Tls(
                format!("{reason}; set ssl = on in the server and check the files with certificates, or, in a private network, set ALLOW_PLAINTEXT=true and no CA")
                    .into(),
            );
        }
        sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("28000") => {
            if let Some(remedy) = refused_by_tls(refusal.message()) {
                return misconfigured(format!("{}; {remedy}", refusal.message()));
            }
        }
        _ => {}
    }
    error
}

/// What to do when the rules of access want TLS or a certificate. The server has one code for all
/// refusals, so its words are read; one that speaks another language gets no advice.
fn refused_by_tls(message: &str) -> Option<String> {
    if message.contains("no encryption") {
        return Some(
            "the server wants TLS: use sslmode=verify-full, with DATABASE_CA_FILE if its CA is your own".to_owned(),
        );
    }
    message
        .contains("requires a valid client certificate")
        .then(|| "set PGSSLCERT and PGSSLKEY to a certificate that the server accepts".to_owned())
}

fn misconfigured(text: String) -> sqlx::Error {
    sqlx::Error::Configuration(text.into())
}

/// The error of a server that does not answer. sqlx has no limit of its own, and a server that is
/// stopped or cut off says nothing.
#[must_use]
pub fn no_answer(within: Duration) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {} s", within.as_secs()),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(url: &str) -> SecretUrl {
        SecretUrl::parse(url, &["postgres"]).unwrap()
    }

    fn mode(url: &SecretUrl) -> Result<PgSslMode, String> {
        options(url, "test")
            .map(|options| options.get_ssl_mode())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn other_machines_are_reached_by_tls_only() {
        use PgSslMode::{Prefer, Require, VerifyCa, VerifyFull};
        assert!(matches!(
            mode(&of("postgres://u:s3cret@db/x")),
            Ok(VerifyFull)
        ));
        let strict = "postgres://u:s3cret@db/x?sslmode=verify-ca";
        assert!(matches!(mode(&of(strict)), Ok(VerifyCa)));
        for weak in ["disable", "allow", "require"] {
            let url = of(&format!("postgres://u:s3cret@db/x?sslmode={weak}"));
            let error = mode(&url).unwrap_err();
            assert!(
                error.contains("ALLOW_PLAINTEXT=true") && error.contains(" db "),
                "{error}"
            );
            assert!(!error.contains("s3cret"), "{error}");
            assert!(mode(&url.with_plaintext(true)).is_ok());
        }
        let private = of("postgres://u@db/x").with_plaintext(true);
        assert!(matches!(mode(&private), Ok(Prefer)));
        // `host` in the options goes before the host of the URL.
        let elsewhere = of("postgres://u@127.0.0.1/x?host=db&sslmode=require");
        assert!(mode(&elsewhere).is_err());
        let here = of("postgres://u@127.0.0.1/x?sslmode=require");
        assert!(matches!(mode(&here), Ok(Require)));
    }

    #[test]
    fn an_address_leads_to_itself() {
        let host = |url: &str| {
            let options = options(&of(url), "test");
            options.map(|options| (options.get_host().to_owned(), is_here(&options)))
        };
        let to = |host: &str, here| (host.to_owned(), here);
        assert_eq!(host("postgres://u@[::1]:5432/x").unwrap(), to("::1", true));
        let far = "postgres://u@[2001:db8::1]/x";
        assert_eq!(host(far).unwrap(), to("2001:db8::1", false));
        assert_eq!(
            host("postgres://u@127.0.0.1/x?host=::1").unwrap(),
            to("::1", true)
        );
        assert!(SecretUrl::parse("postgres://u@[fe80::1%25eth0]/x", &["postgres"]).is_err());
    }

    #[test]
    fn a_ca_is_used_wherever_the_server_is() {
        let ca = || tls::TlsFiles {
            ca: Some("ca.pem".into()),
            ..tls::TlsFiles::default()
        };
        let here = of("postgres://u@127.0.0.1/x").with_tls(ca());
        assert!(matches!(mode(&here), Ok(PgSslMode::VerifyFull)));
        let unused = of("postgres://u@127.0.0.1/x?sslmode=require").with_tls(ca());
        let error = mode(&unused.with_plaintext(true)).unwrap_err();
        assert!(error.contains("sslmode=verify-full"), "{error}");
    }

    #[test]
    fn unknown_options_are_refused_without_their_value() {
        let error = mode(&of("postgres://u@127.0.0.1/x?passwrod=s3cret")).unwrap_err();
        assert!(
            error.contains("passwrod") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
