//! Findings of the checks.

use serde::Serialize;

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The worker runs, but somebody should look.
    Warn,
    /// The worker cannot work like this.
    Fail,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Subject of the check.
    pub check: String,
    /// Its outcome.
    pub verdict: Verdict,
    /// The result, in words.
    pub found: String,
    /// The remedy, when it is not ok.
    pub remedy: Option<String>,
}

/// An error with its causes. A cause whose words are in the error's own is not said again: some libraries repeat it.
pub(super) fn said(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The findings, in the order of the checks.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a check; what to do is said only when it is not ok.
    pub fn add(&mut self, check: &str, verdict: Verdict, found: impl Into<String>, remedy: &str) {
        self.0.push(Finding {
            check: check.to_owned(),
            verdict,
            found: found.into(),
            remedy: (verdict != Verdict::Ok).then(|| remedy.to_owned()),
        });
    }

    /// Adds a check that is ok or not.
    pub fn require(&mut self, check: &str, ok: bool, found: impl Into<String>, remedy: &str) {
        let verdict = if ok { Verdict::Ok } else { Verdict::Fail };
        self.add(check, verdict, found, remedy);
    }
}
