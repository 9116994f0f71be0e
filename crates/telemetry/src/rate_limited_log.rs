//! Rate-limited log lines: what happens to many messages for one reason must not fill the log.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two log lines with the same reason.
const QUIET: Duration = Duration::from_secs(10);

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<C> {
    /// The reason of the messages.
    pub code: C,
    /// Messages since its last line; those of batches without a line are among them.
    pub messages: u64,
    /// Batches without a line since then.
    pub suppressed: u64,
}

/// When each reason was logged last, and the messages since.
#[derive(Debug)]
pub struct RateLimitedLog<C>(Mutex<HashMap<C, Since>>);

impl<C> Default for RateLimitedLog<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Debug)]
struct Since {
    told: Instant,
    messages: u64,
    batches: u64,
}

impl<C: Copy + Eq + Hash> RateLimitedLog<C> {
    /// Counts the messages of a batch by reason; returns those to be logged now. They may be of earlier
    /// batches: the last ones of a rush are not kept back until the next rush.
    pub fn count(&self, codes: &[(C, u64)], now: Instant) -> Vec<Told<C>> {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for &(code, messages) in codes {
            match reasons.get_mut(&code) {
                Some(since) if now.duration_since(since.told) < QUIET => {
                    since.messages += messages;
                    since.batches += 1;
                }
                since => {
                    let (before, suppressed) =
                        since.map_or((0, 0), |since| (since.messages, since.batches));
                    told.push(Told {
                        code,
                        messages: before + messages,
                        suppressed,
                    });
                    let new = Since {
                        told: now,
                        messages: 0,
                        batches: 0,
                    };
                    reasons.insert(code, new);
                }
            }
        }
        for (code, since) in reasons.iter_mut() {
            if since.batches > 0 && now.duration_since(since.told) >= QUIET {
                told.push(Told {
                    code: *code,
                    messages: since.messages,
                    suppressed: since.batches,
                });
                (since.told, since.messages, since.batches) = (now, 0, 0);
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_at_once_and_later_with_the_count_since() {
        let reject_log = RateLimitedLog::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let told = |code, messages, suppressed| {
            vec![Told {
                code,
                messages,
                suppressed,
            }]
        };
        let bad = "invalid_json";
        assert_eq!(reject_log.count(&[(bad, 3)], at(0)), told(bad, 3, 0));
        assert_eq!(reject_log.count(&[(bad, 4)], at(1)), []);
        assert_eq!(reject_log.count(&[(bad, 5)], at(9)), []);
        // Another reason is not kept back by this one.
        let other = "missing_field";
        assert_eq!(reject_log.count(&[(other, 1)], at(9)), told(other, 1, 0));
        assert_eq!(reject_log.count(&[(bad, 1)], at(10)), told(bad, 10, 2));
        assert_eq!(reject_log.count(&[(bad, 2)], at(11)), []);
        // A batch in which nothing is wrong brings the rest to light.
        assert_eq!(reject_log.count(&[], at(19)), []);
        assert_eq!(reject_log.count(&[], at(20)), told(bad, 2, 1));
        assert_eq!(reject_log.count(&[], at(40)), []);
    }
}
