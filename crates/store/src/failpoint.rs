//! Places where a test makes the process die. In builds without debug assertions, which is what
//! is installed, none of this exists.
//!
//! `ACEQUIA_FAILPOINT=after_commit:3` dies the third time between a commit and its
//! acknowledgement; `after_confirms:1` dies the first time between the confirms of what the worker itself published
//! and the commit that says so; `poison:TEXT` dies when it decodes a message that holds the text; `panic:TEXT` panics
//! there; `clock:SECONDS` shifts the machine's clock, as far as dates are judged by it; `http` panics in the task that serves HTTP; `archive.written` and the like hold the process at that place of the life cycle of data, `tick.called`
//! between the call of a tick and its commit, after a line on standard error, until it is killed.

#[cfg(debug_assertions)]
mod armed {
    use std::io::Write as _;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ORDER: LazyLock<Option<(String, String)>> = LazyLock::new(|| {
        let order = std::env::var("ACEQUIA_FAILPOINT").ok()?;
        let (name, argument) = order.split_once(':').unwrap_or((&order, "1"));
        Some((name.to_owned(), argument.to_owned()))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub fn pass(place: &str) {
        if let Some((name, times)) = &*ORDER
            && name == place
            && (PASSED.fetch_add(1, Ordering::Relaxed) + 1).to_string() == *times
        {
            std::process::abort();
        }
    }

    pub fn hold(place: &str) {
        if let Some((name, _)) = &*ORDER
            && name == place
        {
            // Unlike `eprintln!` it does not panic without a reader.
            let _ = writeln!(std::io::stderr(), "held at {place}");
            loop {
                std::thread::park();
            }
        }
    }

    pub fn clock() -> chrono::TimeDelta {
        let ordered = ORDER.as_ref().filter(|(name, _)| name == "clock");
        let seconds = ordered.and_then(|(_, seconds)| seconds.parse().ok());
        chrono::TimeDelta::seconds(seconds.unwrap_or(0))
    }

    pub fn http() {
        if ORDER.as_ref().is_some_and(|(name, _)| name == "http") {
            panic!("a test wants the task that serves HTTP to end");
        }
    }

    pub fn decode(body: &[u8]) {
        let Some((name, text)) = &*ORDER else { return };
        let poisonous = name == "poison" || name == "panic";
        if poisonous && body.windows(text.len()).any(|part| part == text.as_bytes()) {
            if name == "poison" {
                std::process::abort();
            }
            panic!("a test wants this message to break the decoder");
        }
    }
}

/// Between the commit of a batch and its acknowledgement.
pub fn after_commit() {
    #[cfg(debug_assertions)]
    armed::pass("after_commit");
}

/// Between the confirms of messages that the worker published and the commit that marks them.
pub fn after_confirms() {
    #[cfg(debug_assertions)]
    armed::pass("after_confirms");
}

/// When the task that serves HTTP has read its first page.
pub fn http() {
    #[cfg(debug_assertions)]
    armed::http();
}

/// A step of archiving, restoring or purging is done, or the call of a tick.
pub fn pass(place: &str) {
    #[cfg(debug_assertions)]
    armed::hold(place);
    #[cfg(not(debug_assertions))]
    let _ = place;
}

/// Artificial offset of the machine's clock.
pub fn clock() -> chrono::TimeDelta {
    #[cfg(debug_assertions)]
    let shift = armed::clock();
    #[cfg(not(debug_assertions))]
    let shift = chrono::TimeDelta::zero();
    shift
}

/// Before a message is decoded.
pub fn decode(body: &[u8]) {
    #[cfg(debug_assertions)]
    armed::decode(body);
    #[cfg(not(debug_assertions))]
    let _ = body;
}
