//! Whether each loop makes progress, for /readyz and /metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// The state of every loop of the process.
#[derive(Debug, Default, Clone)]
pub struct Health {
    loops: Arc<Mutex<BTreeMap<(String, String), State>>>,
    start: Arc<Mutex<Option<String>>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    succeeded: bool,
    /// Since when it has had work without a success.
    since: Option<Instant>,
    error: Option<String>,
    /// The activity of the server, while an answer takes long.
    note: Option<String>,
    /// Whether its queue is refused to every process alike.
    refused: bool,
}

/// One loop's entry.
#[derive(Debug, Clone)]
pub struct LoopHealth {
    health: Health,
    key: (String, String),
}

/// A loop's entry in /readyz.
#[derive(Debug, Clone, Serialize)]
pub struct LoopReport {
    /// ingest, promote, check, refresh, maintain, outbox_relay, archive, pauses, ticks or observe.
    #[serde(rename = "loop")]
    pub name: String,
    /// Queue or domain it works for.
    pub subject: String,
    /// Whether it makes progress.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Whether that is the fault of its queue, and no other process would fare better.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// Whether a process with these loops is of use. A loop that makes no progress makes it unready, but
/// for lanes whose queue is refused to every process, as long as another domain's queue is consumed:
/// a probe that took all workers out would stop the queues that work, too.
#[must_use]
pub fn is_ready(loops: &[LoopReport], domain_queues: &[String]) -> bool {
    let at_work = |report: &LoopReport| report.ready && domain_queues.contains(&report.subject);
    let lanes = || loops.iter().filter(|report| report.name == "ingest");
    !loops.is_empty()
        && loops.iter().all(|report| report.ready || report.refused)
        && (lanes().any(at_work) || lanes().next().is_none())
}

impl Health {
    /// The entry of a loop; it is not ready until its first success.
    #[must_use]
    pub fn of(&self, name: &str, subject: &str) -> LoopHealth {
        let key = (name.to_owned(), subject.to_owned());
        self.with(|loops| {
            loops.entry(key.clone()).or_default();
        });
        LoopHealth {
            health: self.clone(),
            key,
        }
    }

    /// The reason why the start waits, before any loop runs.
    pub fn waits_for(&self, cause: String) {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    /// The cause for which the start waits, in words; `None` once there are loops that report themselves.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        start
            .clone()
            .filter(|_| self.with(|loops| loops.is_empty()))
    }

    /// Every loop: ready once it succeeded, and until it has had work for `stall_after` without a
    /// success, be it that its attempts fail or that one never ends.
    #[must_use]
    pub fn report(&self, stall_after: Duration) -> Vec<LoopReport> {
        self.with(|loops| {
            loops
                .iter()
                .map(|((name, subject), state)| {
                    let waited = state.since.map_or(Duration::ZERO, |since| since.elapsed());
                    let stalled = state.since.is_some() && waited >= stall_after;
                    let ready = state.succeeded && !stalled;
                    let reason = (!ready).then(|| match &state.error {
                        Some(error) => error.clone(),
                        None if stalled => {
                            let note = state.note.as_ref();
                            let note = note.map(|note| format!(": {note}")).unwrap_or_default();
                            format!("no answer for {} s{note}", waited.as_secs())
                        }
                        None => "starting".to_owned(),
                    });
                    LoopReport {
                        name: name.clone(),
                        subject: subject.clone(),
                        refused: !ready && state.refused,
                        ready,
                        reason,
                    }
                })
                .collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<(String, String), State>) -> T) -> T {
        act(&mut self.loops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LoopHealth {
    /// The loop has work and begins it: the stall timer runs until the next success.
    pub fn working(&self) {
        self.with(|state| {
            state.since.get_or_insert_with(Instant::now);
        });
    }

    /// Whether the loop has had work, or failed at it, since its last success.
    #[must_use]
    pub fn expects_success(&self) -> bool {
        self.health
            .with(|loops| (loops.get(&self.key)).is_some_and(|state| state.since.is_some()))
    }

    /// The loop succeeded or found nothing to do.
    pub fn succeeded(&self) {
        self.with(|state| {
            *state = State {
                succeeded: true,
                ..State::default()
            };
        });
    }

    /// Sets the reason of a long wait; `None` when the loop continues.
    pub fn waits(&self, note: Option<String>) {
        self.with(|state| state.note = note);
    }

    /// The loop could not do its work.
    pub fn failed(&self, error: String) {
        self.with(|state| {
            state.since.get_or_insert_with(Instant::now);
            state.error = Some(error);
            state.note = None;
            state.refused = false;
        });
    }

    /// The queue of the loop is refused to every process.
    pub fn refused(&self, error: String) {
        self.failed(error);
        self.with(|state| state.refused = true);
    }

    fn with(&self, act: impl FnOnce(&mut State)) {
        self.health
            .with(|loops| act(loops.entry(self.key.clone()).or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_secs(3600);

    fn reason(health: &Health, stall_after: Duration) -> Option<String> {
        health.report(stall_after).remove(0).reason
    }

    #[test]
    fn a_loop_is_ready_from_its_first_success_on() {
        let health = Health::default();
        let promote = health.of("promote", "domain");
        assert_eq!(reason(&health, LATER).as_deref(), Some("starting"));
        promote.succeeded();
        assert_eq!(reason(&health, NOW), None);
    }

    #[test]
    fn work_that_fails_or_never_ends_makes_it_bad_until_it_succeeds() {
        let health = Health::default();
        let promote = health.of("promote", "domain");
        promote.succeeded();
        promote.working();
        assert_eq!(reason(&health, LATER), None);
        assert_eq!(reason(&health, NOW).as_deref(), Some("no answer for 0 s"));
        promote.waits(Some("a lock".to_owned()));
        assert_eq!(reason(&health, LATER), None);
        let reason_of_all = reason(&health, NOW);
        assert_eq!(reason_of_all.as_deref(), Some("no answer for 0 s: a lock"));
        promote.waits(None);
        assert_eq!(reason(&health, NOW).as_deref(), Some("no answer for 0 s"));
        promote.failed("no table".to_owned());
        // The next attempt does not make the first failure younger, nor hide its reason.
        promote.working();
        assert_eq!(reason(&health, LATER), None);
        assert_eq!(reason(&health, NOW).as_deref(), Some("no table"));
        promote.succeeded();
        assert_eq!(reason(&health, NOW), None);
    }

    /// Loops as (name, subject, whether it is ready, whether it is refused).
    fn loops(loops: &[(&str, &str, bool, bool)]) -> Vec<LoopReport> {
        let report = |&(name, subject, ready, refused): &(&str, &str, bool, bool)| LoopReport {
            name: name.to_owned(),
            subject: subject.to_owned(),
            ready,
            reason: None,
            refused,
        };
        loops.iter().map(report).collect()
    }

    #[test]
    fn a_queue_that_is_refused_takes_no_worker_out_while_another_is_consumed() {
        let queues = ["a", "old a", "b"].map(ToOwned::to_owned);
        let ready = |of: &[(&str, &str, bool, bool)]| is_ready(&loops(of), &queues);
        let promote = ("promote", "a", true, false);
        let (a, b) = (("ingest", "a", true, false), ("ingest", "b", true, false));
        let dead = ("ingest", "dead", true, false);
        assert!(ready(&[promote, a, b, dead]));
        // Refused to all: the other queues go on.
        assert!(ready(&[
            promote,
            a,
            ("ingest", "old a", false, true),
            b,
            dead
        ]));
        assert!(ready(&[promote, a, b, ("ingest", "dead", false, true)]));
        // Nothing is left to do but to drain dead letters.
        let refused = [("ingest", "a", false, true), ("ingest", "b", false, true)];
        assert!(!ready(&[promote, refused[0], refused[1], dead]));
        // A lane that stalls is this process's trouble, and so is any other loop.
        assert!(!ready(&[promote, a, ("ingest", "b", false, false), dead]));
        assert!(!ready(&[("promote", "a", false, false), a, b, dead]));
        assert!(!ready(&[]));
    }

    #[test]
    fn a_refusal_is_over_with_another_failure_or_a_success() {
        let health = Health::default();
        let lane = health.of("ingest", "queue");
        let refused = || health.report(LATER).remove(0).refused;
        lane.refused("not found".to_owned());
        assert!(refused());
        lane.failed("no answer".to_owned());
        assert!(!refused());
        lane.refused("not found".to_owned());
        lane.succeeded();
        assert!(!refused());
    }
}
