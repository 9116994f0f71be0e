//! The report of a scenario, as Markdown and JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::compare::Findings;
use crate::observe::Seen;

/// Outcome of a scenario.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Outcome {
    /// Name of the scenario.
    pub name: String,
    /// Description of the fault.
    pub fault: String,
    /// Seed.
    pub seed: u64,
    /// Whether it was the long form.
    pub long: bool,
    /// Number of times that the fault happened.
    pub injections: u64,
    /// Different messages sent.
    pub messages: u64,
    /// Messages that are nowhere.
    pub lost: u64,
    /// Messages counted or applied twice.
    pub doubled: u64,
    /// Messages in quarantine.
    pub quarantined: u64,
    /// Messages that wait for a parent that was not sent.
    pub pending: u64,
    /// Copies sent on purpose.
    pub copies: u64,
    /// Messages that the publisher sent again because it had no confirm.
    pub sent_again: u64,
    /// Copies that the worker recognised, of whatever origin.
    pub absorbed: u64,
    /// Seconds from each heal until new messages reached the core and `/readyz` was good.
    pub recovery: Vec<f64>,
    /// Answers of `/readyz` during the fault.
    pub readyz: Vec<String>,
    /// Evidence that the fault happened.
    pub evidence: Vec<String>,
    /// Failed expectations; empty when all went well.
    pub failures: Vec<String>,
    /// Reason why it could not be played here.
    pub skipped: Option<String>,
    /// Observations in Prometheus, if it ran.
    pub seen: Option<Seen>,
    /// Seconds it took.
    pub seconds: f64,
}

impl Outcome {
    /// Whether all went well.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failures.is_empty() && self.lost == 0 && self.doubled == 0
    }

    /// Remembers what `/readyz` said, once each.
    pub fn told(&mut self, words: &str) {
        if self.readyz.len() < 5 && !self.readyz.iter().any(|known| known == words) {
            self.readyz.push(words.to_owned());
        }
    }

    /// Takes over what the comparison found.
    pub fn take(&mut self, findings: Findings) {
        self.messages = findings.messages;
        self.lost = findings.lost;
        self.doubled = findings.doubled;
        self.quarantined = findings.quarantined;
        self.pending = findings.pending;
        self.absorbed = findings.absorbed;
        self.failures.extend(findings.failures);
    }

    /// Median and longest time to recover, in seconds.
    #[must_use]
    pub fn recovery_times(&self) -> Option<(f64, f64)> {
        let mut times = self.recovery.clone();
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let upper = *times.get(middle)?;
        let even = times.len().is_multiple_of(2);
        let median = if even {
            f64::midpoint(times[middle - 1], upper)
        } else {
            upper
        };
        Some((median, *times.last()?))
    }

    /// The outcome in a few lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let verdict = match (&self.skipped, self.passed()) {
            (Some(_), _) => "skipped",
            (None, true) => "ok",
            (None, false) => "FAILED",
        };
        let _ = write!(
            text,
            "{verdict:7} {}: {} injections, {} messages, lost {}, doubled {}, copies recognised {}",
            self.name, self.injections, self.messages, self.lost, self.doubled, self.absorbed
        );
        if let Some((median, longest)) = self.recovery_times() {
            let _ = write!(text, ", back after {median:.1} s (longest {longest:.1} s)");
        }
        let _ = write!(text, ", {:.0} s", self.seconds);
        let lines = [
            ("skipped", self.skipped.as_slice()),
            ("proof", &self.evidence),
            ("said", &self.readyz),
            ("wrong", &self.failures),
        ];
        for (what, lines) in lines {
            for line in lines {
                let _ = write!(text, "\n        {what}: {line}");
            }
        }
        text
    }
}

/// The outcomes as a table in Markdown.
#[must_use]
pub fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| fault | injections | messages | lost | doubled | copies sent | copies absorbed | back after, median | longest | repeat with |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for outcome in outcomes {
        let (median, longest) = outcome.recovery_times().map_or_else(
            || ("–".to_owned(), "–".to_owned()),
            |(median, longest)| (format!("{median:.1} s"), format!("{longest:.1} s")),
        );
        let result = |number: u64| match (&outcome.skipped, outcome.passed()) {
            (Some(why), _) => format!("not run: {why}"),
            (None, false) => format!("**{number} (failed)**"),
            (None, true) => number.to_string(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {median} | {longest} | `scripts/faults.sh {}{}` |",
            outcome.fault,
            outcome.injections,
            thousands(outcome.messages),
            result(outcome.lost),
            result(outcome.doubled),
            thousands(outcome.copies),
            thousands(outcome.absorbed),
            if outcome.long { "--long " } else { "" },
            outcome.name,
        );
    }
    text
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1234), "1,234");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        let times = |recovery: &[f64]| {
            Outcome {
                recovery: recovery.to_vec(),
                ..Outcome::default()
            }
            .recovery_times()
        };
        assert_eq!(times(&[]), None);
        assert_eq!(times(&[3.0]), Some((3.0, 3.0)));
        assert_eq!(times(&[4.0, 1.0]), Some((2.5, 4.0)));
        assert_eq!(times(&[4.0, 1.0, 2.0]), Some((2.0, 4.0)));
    }

    #[test]
    fn a_failure_shows_in_the_table() {
        let outcome = Outcome {
            lost: 1,
            ..Outcome::default()
        };
        assert!(!outcome.passed());
        assert!(markdown(&[outcome]).contains("**1 (failed)**"));
    }
}
