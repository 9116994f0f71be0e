//! Connection options from a URL, with safe defaults.

use std::borrow::Cow;
use std::str::FromStr;

use acequia_net::{SecretUrl, is_loopback, refuse_plaintext};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::misconfigured;

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
    "target_session_attrs",
];

/// Options for a connection to each host of a URL, in the order in which the hosts are named: TLS,
/// time limits on the server's side, a name that shows in `pg_stat_activity`, durable commits
/// whatever the server's default is. A server that hears nothing from a client for 25 s ends its
/// session, and with it the locks that others wait for.
///
/// To another machine the connection is encrypted and the server's certificate checked, unless
/// the operator allows plain text.
///
/// # Errors
/// When the URL cannot be read, has options that PostgreSQL does not know, or leads to another
/// machine in plain text.
pub fn options(url: &SecretUrl, name: &str) -> sqlx::Result<Vec<PgConnectOptions>> {
    let each = || -> anyhow::Result<Vec<PgConnectOptions>> {
        let hosts = url.expose_all()?;
        hosts.into_iter().map(|host| secure(url, host)).collect()
    };
    let each = each().map_err(|error| misconfigured(format!("{error:#}")))?;
    let name = format!("acequia {name}");
    let complete = |secure: PgConnectOptions| {
        secure
            .application_name(&name)
            .options([
                ("statement_timeout", "120s"),
                ("lock_timeout", "5s"),
                ("idle_in_transaction_session_timeout", "30s"),
                ("synchronous_commit", "on"),
                ("timezone", "UTC"),
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
            ])
            .disable_statement_logging()
    };
    Ok(each.into_iter().map(complete).collect())
}

/// Whether any server will do that lets us in. Otherwise it has to be one that writes.
pub(super) fn any_server(url: &SecretUrl) -> bool {
    let first = url
        .expose_all()
        .ok()
        .and_then(|each| each.into_iter().next());
    first.is_some_and(|url| wanted(&url).as_deref() == Some("any"))
}

fn wanted(url: &Url) -> Option<String> {
    let mut options = url.query_pairs();
    let (_, wanted) = options.find(|(key, _)| key == "target_session_attrs")?;
    Some(wanted.into_owned())
}

fn secure(url: &SecretUrl, mut text: Url) -> anyhow::Result<PgConnectOptions> {
    if let Some((unknown, _)) = text
        .query_pairs()
        .find(|(key, _)| !URL_OPTIONS.contains(&key.as_ref()) && !key.starts_with("options["))
    {
        anyhow::bail!(
            "the URL has an option {unknown:?}; there is {}",
            URL_OPTIONS.join(", ")
        );
    }
    if let Some(wanted) = wanted(&text) {
        anyhow::ensure!(
            ["read-write", "primary", "any"].contains(&wanted.as_str()),
            "target_session_attrs is {wanted:?}; the worker writes, so it can be read-write (the default), primary or any"
        );
    }
    let listed = |(key, value): (Cow<'_, str>, Cow<'_, str>)| {
        ["host", "hostaddr", "port"].contains(&key.as_ref()) && value.contains(',')
    };
    anyhow::ensure!(
        !text.query_pairs().any(listed),
        "several hosts stand behind the user, each with its port: postgres://user:password@a:5432,b:5432/database"
    );
    leave_out(&mut text, "target_session_attrs");
    let mut options = PgConnectOptions::from_str(text.as_str())
        .map_err(|error| anyhow::anyhow!("the URL cannot be used: {error}"))?;
    // sqlx takes the brackets of an IPv6 address for a part of its name.
    if let Some(bare) = options
        .get_host()
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        let bare = bare.to_owned();
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

/// Removes an option of libpq that sqlx does not know and would log.
fn leave_out(url: &mut Url, option: &str) {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != option)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use acequia_net::tls;

    use super::*;

    fn of(url: &str) -> SecretUrl {
        SecretUrl::parse(url, &["postgres"]).unwrap()
    }

    fn mode(url: &SecretUrl) -> Result<PgSslMode, String> {
        options(url, "test")
            .map(|options| options[0].get_ssl_mode())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_host_has_its_options() {
        let url = "postgres://u:s3cret@127.0.0.1:1,[::1]:2,localhost/x?target_session_attrs=primary&sslmode=disable";
        let each = options(&of(url), "test").unwrap();
        let each: Vec<_> = each
            .iter()
            .map(|one| (one.get_host(), one.get_port(), one.get_database()))
            .collect();
        let database = Some("x");
        assert_eq!(
            each,
            [
                ("127.0.0.1", 1, database),
                ("::1", 2, database),
                ("localhost", 5432, database)
            ]
        );
        // Each has to be safe, not the first only.
        let error = mode(&of("postgres://u:s3cret@127.0.0.1,db/x?sslmode=require")).unwrap_err();
        assert!(
            error.contains(" db ") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn what_a_list_of_hosts_cannot_mean_is_refused() {
        for (url, words) in [
            (
                "postgres://u@127.0.0.1/x?host=127.0.0.1,localhost",
                "behind the user",
            ),
            (
                "postgres://u@127.0.0.1/x?target_session_attrs=standby",
                "read-write",
            ),
        ] {
            let error = mode(&of(url)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(any_server(&of(
            "postgres://u@a,b/x?target_session_attrs=any"
        )));
        assert!(!any_server(&of("postgres://u@a,b/x")));
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
            let options = options(&of(url), "test").unwrap().remove(0);
            (options.get_host().to_owned(), is_here(&options))
        };
        let to = |host: &str, here| (host.to_owned(), here);
        assert_eq!(host("postgres://u@[::1]:5432/x"), to("::1", true));
        let far = "postgres://u@[2001:db8::1]/x";
        assert_eq!(host(far), to("2001:db8::1", false));
        assert_eq!(host("postgres://u@127.0.0.1/x?host=::1"), to("::1", true));
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
