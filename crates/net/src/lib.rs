//! Connections to servers: URLs that hide their passwords, TLS, no passwords in plain text
//! over a network, and the AMQP connection with its exchanges and queues.

pub mod broker;
pub mod confirms;
pub mod guard;
pub mod headers;
mod hosts;
mod line;
mod plaintext;
pub mod properties;
mod read_coalescing;
mod secret;
pub mod tls;
pub mod topology;

pub use plaintext::{AllowPlaintext, allow_http, refuse_plaintext};
pub use read_coalescing::COALESCE_FOR;
pub use secret::SecretUrl;
pub use tls::BrokerTls;

use std::net::IpAddr;

/// Name of this machine.
#[must_use]
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}

/// Whether a host is this machine, so that nothing that is sent to it passes a network.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_differs_from_networks() {
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "LocalHost",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "10.0.0.1",
            "0.0.0.0",
            "localhost.example",
            "127.0.0.1.example",
            "db",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
