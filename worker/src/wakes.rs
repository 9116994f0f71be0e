//! Wakes loops that have work: in this process at once, in every other one through PostgreSQL (ADR 44).
//!
//! The process that staged or merged rows wakes its own loops. Transactions that tell other processes something, which are few,
//! notify them: PostgreSQL commits such transactions one after the other. Either saves a wait and nothing else: each loop
//! also polls.

use std::collections::HashMap;

use acequia_contracts::Domain;
use tokio::sync::Notify;

/// The loops that each announcement wakes.
static LISTENERS: [(&str, &[&str]); 7] = [
    ("staged", &["promote"]),
    ("merged", &["refresh", "archive"]),
    ("told", &["outbox_relay"]),
    ("gates", &["refresh"]),
    ("pauses", &["pauses"]),
    ("ticks", &["ticks"]),
    ("ticked", &["refresh"]),
];

/// Wakes the loops of a process.
#[derive(Debug)]
pub struct Wakes {
    loops: HashMap<(&'static str, &'static str), Notify>,
}

impl Wakes {
    /// Nobody is woken yet.
    #[must_use]
    pub fn new(domains: &[&'static Domain]) -> Self {
        let names = LISTENERS.iter().flat_map(|(_, names)| names.iter());
        let loops = names.flat_map(|name| domains.iter().map(move |domain| (*name, domain.name)));
        Self {
            loops: loops.map(|key| (key, Notify::new())).collect(),
        }
    }

    /// Wakes the loops of a domain that something announced concerns.
    pub fn wake(&self, what: &str, domain: &str) {
        let names = LISTENERS.iter().filter(|(announced, _)| *announced == what);
        for name in names.flat_map(|(_, names)| names.iter()) {
            if let Some(notify) = self.loops.get(&(*name, domain)) {
                notify.notify_one();
            }
        }
    }

    /// Returns when a loop is woken, or was woken since its last call. Loops without notifications wait forever.
    pub async fn woken(&self, name: &str, domain: &str) {
        match self.loops.get(&(name, domain)) {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Wakes all: announcements may have been missed.
    pub fn wake_all(&self) {
        self.loops.values().for_each(Notify::notify_one);
    }

    /// Handles a notification: what happened, and the domain.
    pub fn heard(&self, text: &str) {
        if let Some((what, domain)) = text.split_once(' ') {
            self.wake(what, domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use acequia_contracts::catalog;

    use std::time::Duration;

    use super::*;

    /// For two domains, with their names.
    fn wakes() -> (Wakes, &'static str, &'static str) {
        let domains: Vec<_> = catalog().iter().take(2).collect();
        (Wakes::new(&domains), domains[0].name, domains[1].name)
    }

    async fn woken(wakes: &Wakes, name: &str, domain: &str) -> bool {
        let woken = wakes.woken(name, domain);
        tokio::time::timeout(Duration::ZERO, woken).await.is_ok()
    }

    #[tokio::test]
    async fn an_announcement_wakes_the_loops_it_concerns_once() {
        let (wakes, a, b) = wakes();
        wakes.heard(&format!("staged {a}"));
        wakes.heard(&format!("staged {a}"));
        assert!(woken(&wakes, "promote", a).await);
        assert!(!woken(&wakes, "promote", a).await);
        assert!(!woken(&wakes, "promote", b).await);
        wakes.heard(&format!("merged {b}"));
        assert!(woken(&wakes, "refresh", b).await);
        assert!(woken(&wakes, "archive", b).await);
        assert!(!woken(&wakes, "outbox_relay", b).await);
    }

    #[tokio::test]
    async fn strangers_wake_nobody() {
        let (wakes, a, b) = wakes();
        for text in ["staged nothing", "nonsense", "", "staged"] {
            wakes.heard(text);
        }
        wakes.heard(&format!("staged {a} other:1"));
        assert!(!woken(&wakes, "promote", a).await);
        wakes.wake_all();
        assert!(woken(&wakes, "promote", a).await);
        assert!(woken(&wakes, "refresh", b).await);
    }
}
