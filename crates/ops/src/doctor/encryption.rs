//! Checks that traffic between worker and servers is encrypted and authenticated.

use acequia_net::{SecretUrl, is_loopback};
use acequia_store::db;
use sqlx::PgConnection;

use super::finding::{Findings, Verdict};

/// Protection of a connection.
struct Protection {
    /// TLS version and cipher, none for plain text.
    tls: Option<String>,
    /// Whether the server's certificate is checked.
    checked: bool,
    /// Whether the server is on this machine.
    here: bool,
}

impl Protection {
    fn judge(&self) -> (Verdict, String) {
        let tls = self.tls.as_deref().unwrap_or("plain text");
        match (&self.tls, self.checked, self.here) {
            (Some(_), true, _) => (Verdict::Ok, format!("{tls}, certificate checked")),
            (_, _, true) => (Verdict::Ok, format!("{tls}, on this machine")),
            (Some(_), false, false) => (
                Verdict::Warn,
                format!("{tls}, but the server's identity is not checked"),
            ),
            (None, _, false) => (
                Verdict::Warn,
                format!("{tls} over a network: passwords and data can be read on their way"),
            ),
        }
    }
}

/// Checks the connection to the database.
pub(super) async fn of_database(
    connection: &mut PgConnection,
    url: &SecretUrl,
    findings: &mut Findings,
) -> sqlx::Result<()> {
    let tls: Option<String> = sqlx::query_scalar(
        "select version || ', ' || cipher from pg_stat_ssl where pid = pg_backend_pid() and ssl",
    )
    .fetch_optional(connection)
    .await?;
    // Whichever of several servers answers next: none may be less safe than the others.
    let servers = db::options(url, "doctor")?;
    let protection = Protection {
        tls,
        checked: servers.iter().all(db::checks_the_server),
        here: servers.iter().all(db::is_here),
    };
    let (verdict, found) = protection.judge();
    let remedy = "Use sslmode=verify-full, with DATABASE_CA_FILE if the CA is your own, and no ALLOW_PLAINTEXT.";
    findings.add("database encryption", verdict, found, remedy);
    Ok(())
}

/// Checks the connection to the broker on this host, which speaks this version of TLS or none.
pub(super) fn of_broker(tls: Option<String>, host: &str, findings: &mut Findings) {
    let protection = Protection {
        checked: tls.is_some(),
        tls,
        here: is_loopback(host),
    };
    let (verdict, found) = protection.judge();
    let remedy = "Use amqps://, with AMQP_CA_FILE if the CA is your own, and no ALLOW_PLAINTEXT.";
    findings.add("broker encryption", verdict, found, remedy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_on_its_way_is_a_warning() {
        let judge = |tls: bool, checked, here| {
            let tls = tls.then(|| "TLSv1.3".to_owned());
            Protection { tls, checked, here }.judge()
        };
        assert_eq!(judge(true, true, false).0, Verdict::Ok);
        assert_eq!(judge(false, false, true).0, Verdict::Ok);
        let (verdict, found) = judge(true, false, false);
        assert_eq!(verdict, Verdict::Warn);
        assert!(
            found.starts_with("TLSv1.3, but the server's identity is not checked"),
            "{found}"
        );
        let (verdict, found) = judge(false, false, false);
        assert_eq!(verdict, Verdict::Warn);
        assert!(found.starts_with("plain text over a network"), "{found}");
    }
}
