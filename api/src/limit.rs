//! Calls per second of each caller: a token bucket that holds two seconds of calls.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds of calls that a caller may make at once.
const BURST_S: u32 = 2;
/// Callers that are remembered before those that have been idle are forgotten.
const MANY: usize = 10_000;

/// When each caller's bucket is full again (GCRA: one instant per caller is all the state there is).
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<String, Instant>>);

impl Limiter {
    /// Takes one call of a caller that may make `rate` calls a second.
    ///
    /// # Errors
    /// The time until the next one is allowed.
    pub fn take(&self, caller: &str, rate: u32) -> Result<(), Duration> {
        self.take_at(caller, rate, Instant::now())
    }

    fn take_at(&self, caller: &str, rate: u32, now: Instant) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rate.max(1);
        let burst = each * rate.max(1).saturating_mul(BURST_S);
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MANY {
            full_at.retain(|_, at| *at > now);
        }
        let before = full_at.get(caller).copied().unwrap_or(now).max(now);
        let after = before + each;
        let ahead = after - now;
        if ahead > burst {
            return Err(ahead - burst);
        }
        full_at.insert(caller.to_owned(), after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = Limiter::default();
        let now = Instant::now();
        for _ in 0..20 {
            limiter.take_at("a", 10, now).unwrap();
        }
        let wait = limiter.take_at("a", 10, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        limiter.take_at("b", 10, now).unwrap();
        limiter.take_at("a", 10, now + wait).unwrap();
        assert!(limiter.take_at("a", 10, now + wait).is_err());
    }
}
