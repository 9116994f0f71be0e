//! Notifications about new work (ADR 44).

/// The channel.
pub const CHANNEL: &str = "acequia";

/// The announcement of rows that a process staged.
#[must_use]
pub fn staged(domain: &str, worker: &str) -> String {
    format!("staged {domain} {worker}")
}
