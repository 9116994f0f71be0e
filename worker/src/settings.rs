//! Ranges of the worker's settings. A number, time or size outside its range is refused when the program starts: a
//! worker that promotes nothing, or polls without a pause, would look healthy.

use std::str::FromStr as _;
use std::time::Duration;

use acequia_args::{Limits, Setting, duration, number, size};
use croner::Cron;

macro_rules! settings {
    ($($name:ident: $type:ty = $read:expr, $least:literal, $most:literal;)*) => {
        $(
            #[doc = concat!("From ", $least, " to ", $most, ".")]
            pub const $name: Setting<$type> = Setting::new(stringify!($name), $least, $most, $read);
        )*

        /// Every setting that has a range.
        pub const LIMITS: &[Limits] = &[$($name.limits()),*];
    };
}

settings! {
    // Three batches are on their way at a time, and a prefetch has 16 bits.
    BATCH_MAX: u16 = number, "1", "20000";
    // PostgreSQL takes no message of a gigabyte.
    BATCH_BYTES: usize = size, "64KiB", "256MiB";
    IN_FLIGHT_BYTES: usize = size, "1MiB", "16GiB";
    BATCH_WAIT: Duration = duration, "0ms", "10s";
    // The broker takes a delivery back after 30 minutes; the last attempt may take three more.
    HOLD_MAX: Duration = duration, "1s", "25m";
    PROMOTE_MAX: i32 = number, "1", "10000000";
    STAGED_MAX: i64 = number, "1", "1000000000";
    POLL_EVERY: Duration = duration, "10ms", "1h";
    CHECK_EVERY: Duration = duration, "100ms", "1d";
    RULE_MAX: Duration = duration, "10ms", "10m";
    REFRESH_EVERY: Duration = duration, "100ms", "1d";
    ORPHAN_TTL: Duration = duration, "1s", "365d";
    // Longer than the owner's periods, or without effect.
    STAGING_KEEP: Duration = duration, "0s", "3650d";
    QUARANTINE_KEEP: Duration = duration, "0s", "36500d";
    LOG_KEEP: Duration = duration, "0s", "36500d";
    ARCHIVE_HOLD: Duration = duration, "1h", "365d";
    STALL_AFTER: Duration = duration, "100ms", "1h";
    TOKIO_WORKER_THREADS: usize = number, "1", "1024";
}

/// `--timeout` of `worker trace`. PostgreSQL's own limit for a statement is 24 days.
pub const TRACE_TIMEOUT: Setting<Duration> = option("--timeout", "1ms", "1d");
/// `--for` of `worker gate open`.
pub const GATE_FOR: Setting<Duration> = option("--for", "1s", "365d");
/// `--wait` of `worker health`.
pub const HEALTH_WAIT: Setting<Duration> = option("--wait", "0s", "1d");

const fn option(name: &'static str, least: &'static str, most: &'static str) -> Setting<Duration> {
    Setting::new(name, least, most, duration)
}

/// Reads a cron expression.
///
/// # Errors
/// If it is not a cron expression.
pub fn cron(text: &str) -> Result<String, String> {
    if !text.trim().is_empty() {
        Cron::from_str(text).map_err(|error| {
            format!("must be a cron expression, as 30 3 * * * for 03:30 UTC each day: {error}")
        })?;
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_setting_takes_its_limits() {
        assert_eq!(BATCH_MAX.parse("20000"), Ok(20_000));
        let error = BATCH_MAX.parse("20001").unwrap_err();
        assert_eq!(error, "BATCH_MAX is from 1 to 20000");
        let error = HOLD_MAX.parse("long").unwrap_err();
        assert!(error.ends_with("HOLD_MAX is from 1s to 25m"), "{error}");
        assert!(STAGED_MAX.parse("-1").is_err());
        assert!(BATCH_BYTES.parse("64KiB").is_ok());
    }
}
