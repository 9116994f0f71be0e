//! Who is woken when there is work: by this process at once, by every other one through PostgreSQL (ADR 44).
//!
//! Statements that make work announce it on a channel, once per transaction: `staged`, `merged`, `told` or `gates`, the
//! domain, and, where this process wakes its own loops, its name. An announcement saves a wait and nothing else: each
//! loop also looks by itself from time to time.

use std::collections::HashMap;
use std::time::Duration;

use acequia_contracts::Domain;
use tokio::sync::Notify;

/// A process promotes what it staged. Every other one looks whether it did, so much later.
const LEFT_TO_ITS_PROCESS: Duration = Duration::from_millis(20);
const PROMOTE: &str = "promote";

/// The loops that each announcement wakes.
static LISTENERS: [(&str, &[&str]); 4] = [
    ("staged", &[PROMOTE]),
    ("merged", &["refresh", "archive"]),
    ("told", &["outbox_relay"]),
    ("gates", &["refresh"]),
];

/// What wakes the loops of a process.
#[derive(Debug)]
pub struct Wakes {
    loops: HashMap<(&'static str, &'static str), Notify>,
    /// Rows of a domain that another process staged.
    elsewhere: HashMap<&'static str, Notify>,
}

impl Wakes {
    /// Nobody is woken yet.
    #[must_use]
    pub fn new(domains: &[&'static Domain]) -> Self {
        let names = LISTENERS.iter().flat_map(|(_, names)| names.iter());
        let loops = names.flat_map(|name| domains.iter().map(move |domain| (*name, domain.name)));
        Self {
            loops: loops.map(|key| (key, Notify::new())).collect(),
            elsewhere: (domains.iter())
                .map(|domain| (domain.name, Notify::new()))
                .collect(),
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

    /// Returns when a loop is woken, or has been since it last was here; nobody wakes some.
    pub async fn woken(&self, name: &str, domain: &str) {
        let Some(notify) = self.loops.get(&(name, domain)) else {
            return std::future::pending().await;
        };
        let elsewhere = async {
            match self.elsewhere.get(domain).filter(|_| name == PROMOTE) {
                Some(notify) => notify.notified().await,
                None => std::future::pending().await,
            }
            tokio::time::sleep(LEFT_TO_ITS_PROCESS).await;
        };
        // Whichever comes first, the look that follows sees what the other was about.
        tokio::select! {
            () = notify.notified() => {}
            () = elsewhere => {}
        }
    }

    /// Wakes all: announcements may have been missed.
    pub fn wake_all(&self) {
        self.loops.values().for_each(Notify::notify_one);
    }

    /// An announcement was heard. What a process said itself it has acted upon.
    pub fn heard(&self, text: &str, worker: &str) {
        let mut words = text.splitn(3, ' ');
        let (Some(what), Some(domain)) = (words.next(), words.next()) else {
            return;
        };
        match words.next() {
            None => self.wake(what, domain),
            Some(process) if process == worker => {}
            Some(_) => {
                if let Some(notify) = self.elsewhere.get(domain) {
                    notify.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use acequia_contracts::catalog;
    use acequia_store::wakes::staged;

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
    async fn what_another_process_staged_is_looked_at_a_little_later() {
        let (wakes, a, _) = wakes();
        wakes.heard(&staged(a, "other:1"), "this:1");
        // Without an announcement this would wait for good.
        wakes.woken("promote", a).await;
        assert!(!woken(&wakes, "promote", a).await);
    }

    #[tokio::test]
    async fn an_announcement_wakes_the_loops_it_concerns_once() {
        let (wakes, a, b) = wakes();
        wakes.heard(&format!("staged {a}"), "this:1");
        wakes.heard(&format!("staged {a}"), "this:1");
        assert!(woken(&wakes, "promote", a).await);
        assert!(!woken(&wakes, "promote", a).await);
        assert!(!woken(&wakes, "promote", b).await);
        wakes.heard(&format!("merged {b}"), "this:1");
        assert!(woken(&wakes, "refresh", b).await);
        assert!(woken(&wakes, "archive", b).await);
        assert!(!woken(&wakes, "outbox_relay", b).await);
    }

    #[tokio::test]
    async fn own_announcements_and_strangers_wake_nobody() {
        let (wakes, a, b) = wakes();
        wakes.heard(&staged(a, "this:1"), "this:1");
        wakes.heard("staged nothing", "this:1");
        wakes.heard("nonsense", "this:1");
        wakes.heard("", "this:1");
        assert!(!woken(&wakes, "promote", a).await);
        wakes.wake_all();
        assert!(woken(&wakes, "promote", a).await);
        assert!(woken(&wakes, "refresh", b).await);
    }
}
