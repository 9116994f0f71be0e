//! Detects that the pipeline has become much slower, on any machine and under any other load: by ratios of
//! CPU seconds within one run, and by the share that it used of the CPU time that other programs left.
//! Wall-clock time would depend more on those programs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::sample::Sample;

/// Tolerance of a figure against the recorded one.
const TOLERANCE: f64 = 0.3;
/// Messages of a run.
pub const MESSAGES: usize = 40_000;
/// Runs; their CPU seconds are added up.
pub const RUNS: u32 = 3;
/// Scenarios that the figures come from.
pub const SCENARIOS: [&str; 2] = ["drain", "limits"];
/// Cores that the figure of use is about: a pipeline of two busy programs.
const CORES: f64 = 2.0;

/// A figure of a case.
type Pick = (&'static str, &'static str);

/// Ratios: what, a figure, what it is divided by.
const COSTS: &[(&str, Pick, Pick)] = &[
    (
        "PostgreSQL's CPU of a drain : of the merges alone",
        ("acequia", "postgresql_us"),
        ("merges alone", "postgresql_us"),
    ),
    (
        "worker's CPU of a drain : of a client that only acknowledges",
        ("acequia", "worker_us"),
        ("consume and ack", "worker_us"),
    ),
    (
        "PostgreSQL's CPU of the merges alone : of a bare COPY",
        ("merges alone", "postgresql_us"),
        ("bare COPY", "postgresql_us"),
    ),
];
/// The figure that separates waiting from working.
const USE: &str = "share of two cores that a drain uses, of what others left";

/// Recorded figures.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// Origin of the figures, and when to record them again.
    pub note: String,
    /// The figures by name.
    pub figures: BTreeMap<String, f64>,
}

/// A figure beside the recorded one.
#[derive(Debug)]
pub struct Comparison {
    /// Name of the figure.
    pub what: String,
    /// Now.
    pub now: f64,
    /// As recorded, if it is.
    pub recorded: Option<f64>,
    /// Whether it is good enough.
    pub passed: bool,
}

impl Recorded {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Writes a file with the figures of now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, file: &Path, samples: &[Sample]) -> anyhow::Result<()> {
        self.figures = figures(samples)?
            .into_iter()
            .map(|(what, value)| (what.to_owned(), (value * 100.0).round() / 100.0))
            .collect();
        let text = serde_json::to_string_pretty(&self)? + "\n";
        std::fs::write(file, text).with_context(|| file.display().to_string())
    }

    /// Compares.
    ///
    /// # Errors
    /// When samples are missing.
    pub fn compare(&self, samples: &[Sample]) -> anyhow::Result<Vec<Comparison>> {
        let figures = figures(samples)?.into_iter();
        let compared = figures.map(|(what, now)| {
            let recorded = self.figures.get(what).copied();
            let passed = recorded.is_some_and(|recorded| {
                if what == USE {
                    now >= recorded * (1.0 - TOLERANCE)
                } else {
                    now <= recorded / (1.0 - TOLERANCE)
                }
            });
            Comparison {
                what: what.to_owned(),
                now,
                recorded,
                passed,
            }
        });
        Ok(compared.collect())
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{verdict:6} {}: {:.2}", self.what, self.now)?;
        match self.recorded {
            Some(recorded) => write!(f, ", recorded {recorded:.2}"),
            None => write!(f, ", and none is recorded"),
        }
    }
}

fn figures(samples: &[Sample]) -> anyhow::Result<Vec<(&'static str, f64)>> {
    // Seconds are clocked in hundredths: of all runs together they say more.
    let total = |case: &str, figure: &str| -> anyhow::Result<f64> {
        let mine = samples.iter().filter(|sample| sample.case == case);
        let values = mine.filter_map(|sample| sample.figures.get(figure).copied());
        let values: Vec<f64> = values.collect();
        anyhow::ensure!(!values.is_empty(), "no {figure} of {case}");
        Ok(values.iter().sum())
    };
    let mut figures = Vec::new();
    for (what, value, by) in COSTS {
        figures.push((*what, total(value.0, value.1)? / total(by.0, by.1)?));
    }
    let (seconds, used) = (
        total("acequia", "seconds")?,
        total("acequia", "used_seconds")?,
    );
    let foreign = total("acequia", "foreign_seconds")?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    // Others may have been on cores that a drain has no use for.
    let in_the_way = (foreign - (cores - CORES).max(0.0) * seconds).max(0.0);
    let left = (cores.min(CORES) * seconds - in_the_way).max(f64::MIN_POSITIVE);
    figures.push((USE, (used / left).min(1.0)));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::{Recorded, SCENARIOS, USE, figures};
    use crate::sample::Sample;
    use crate::scenarios::find;

    fn samples(drain_us: f64, used: f64) -> Vec<Sample> {
        let sample = |case: &str, figures: &[(&'static str, f64)]| {
            figures
                .iter()
                .fold(Sample::new(case), |sample, (name, value)| {
                    sample.with(name, *value)
                })
        };
        vec![
            sample(
                "acequia",
                &[
                    ("postgresql_us", drain_us),
                    ("worker_us", 8.0),
                    ("seconds", 2.0),
                    ("used_seconds", used),
                    ("foreign_seconds", 0.0),
                ],
            ),
            sample("merges alone", &[("postgresql_us", 8.0)]),
            sample("consume and ack", &[("worker_us", 8.0)]),
            sample("bare COPY", &[("postgresql_us", 3.0)]),
        ]
    }

    #[test]
    fn a_fall_of_a_third_is_noticed() -> anyhow::Result<()> {
        let figures = figures(&samples(14.0, 2.0))?;
        let figures = figures
            .iter()
            .map(|(what, value)| ((*what).to_owned(), *value));
        let recorded = Recorded {
            figures: figures.collect(),
            ..Recorded::default()
        };
        let verdicts = |samples: &[Sample]| -> anyhow::Result<Vec<bool>> {
            let compared = recorded.compare(samples)?;
            Ok(compared.iter().map(|one| one.passed).collect())
        };
        assert_eq!(verdicts(&samples(14.0, 2.0))?, [true; 4]);
        assert_eq!(verdicts(&samples(15.0, 1.9))?, [true; 4]);
        assert_eq!(verdicts(&samples(21.0, 2.0))?, [false, true, true, true]);
        assert_eq!(verdicts(&samples(14.0, 1.3))?, [true, true, true, false]);
        let nothing = Recorded::default().compare(&samples(14.0, 2.0))?;
        assert!(nothing.iter().all(|one| !one.passed));
        assert!(nothing.iter().any(|one| one.what == USE));
        Ok(())
    }

    #[test]
    fn its_scenarios_are_there() {
        assert!(SCENARIOS.iter().all(|name| find(name).is_some()));
    }
}
