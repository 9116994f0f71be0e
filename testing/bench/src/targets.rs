//! Targets of the figures, as ratios within a run where that is possible.

use crate::sample::{Sample, Spread};

/// One figure of one case.
#[derive(Debug, Clone, Copy)]
pub struct Pick {
    scenario: &'static str,
    case: &'static str,
    figure: &'static str,
}

/// A promise.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The figures compared, in words.
    pub what: &'static str,
    value: Pick,
    /// Divisor, from the same run.
    by: Option<Pick>,
    /// Whether more is better.
    at_least: bool,
    /// The bound.
    pub bound: f64,
    /// Unit; empty for a ratio.
    pub unit: &'static str,
}

const fn pick(scenario: &'static str, case: &'static str, figure: &'static str) -> Pick {
    Pick {
        scenario,
        case,
        figure,
    }
}

const DRAIN: Pick = pick("drain", "acequia", "rate");

/// All of them.
pub const TARGETS: &[Target] = &[
    ratio(
        "drain : merges alone",
        DRAIN,
        pick("limits", "merges alone", "rate"),
        0.8,
    ),
    ratio(
        "drain : tuned Python",
        DRAIN,
        pick(
            "peers",
            "tuned Python (aio-pika, Pydantic, asyncpg)",
            "rate",
        ),
        5.0,
    ),
    ratio(
        "drain : FastStream, which only stages",
        DRAIN,
        pick("peers", "FastStream as documented, staging only", "rate"),
        40.0,
    ),
    most(
        "worker CPU per message",
        pick("drain", "acequia", "worker_us"),
        4.0,
        "µs",
    ),
    most(
        "worker memory, peak of a drain",
        pick("drain", "acequia", "peak_mb"),
        64.0,
        "MB",
    ),
    ratio(
        "hostile mix : clean",
        pick("hostile", "hostile mix", "rate"),
        pick("hostile", "clean", "rate"),
        0.7,
    ),
    ratio(
        "publisher : bare lapin loop",
        pick("publisher", "publisher", "rate"),
        pick("publisher", "bare lapin loop", "rate"),
        0.8,
    ),
    most(
        "start to first batch",
        pick("start", "acequia", "first_ms"),
        300.0,
        "ms",
    ),
    most(
        "latency to the core at 1,000/s, p50",
        pick("latency", "1,000/s", "core_p50_ms"),
        15.0,
        "ms",
    ),
    most(
        "latency to the core at 1,000/s, p99",
        pick("latency", "1,000/s", "core_p99_ms"),
        60.0,
        "ms",
    ),
    most(
        "latency to the core at 20,000/s, p99",
        pick("latency", "20,000/s", "core_p99_ms"),
        250.0,
        "ms",
    ),
    ratio(
        "drain with 20 million rows : with 1 million",
        pick("growth", "20 million rows", "rate"),
        pick("growth", "1 million rows", "rate"),
        0.85,
    ),
    most(
        "worker memory, peak over all rounds",
        pick("memory", "acequia", "peak_mb"),
        64.0,
        "MB",
    ),
];

const fn ratio(what: &'static str, value: Pick, by: Pick, bound: f64) -> Target {
    Target {
        what,
        value,
        by: Some(by),
        at_least: true,
        bound,
        unit: "",
    }
}

const fn most(what: &'static str, value: Pick, bound: f64, unit: &'static str) -> Target {
    Target {
        what,
        value,
        by: None,
        at_least: false,
        bound,
        unit,
    }
}

impl Target {
    /// Spread of the measured value over the runs that have it.
    #[must_use]
    pub fn measured(&self, samples: &[Sample]) -> Option<Spread> {
        let runs = samples.iter().map(|sample| sample.run).max()?;
        let values = (1..=runs).filter_map(|run| {
            let value = self.value.of(samples, run)?;
            match self.by {
                Some(by) => Some(value / by.of(samples, run)?),
                None => Some(value),
            }
        });
        Spread::of(values.collect())
    }

    /// Whether a value is as good as promised.
    #[must_use]
    pub fn is_met(&self, value: f64) -> bool {
        if self.at_least {
            value >= self.bound
        } else {
            value <= self.bound
        }
    }

    /// The promise in words.
    #[must_use]
    pub fn promise(&self) -> String {
        let sign = if self.at_least { '≥' } else { '≤' };
        format!("{sign} {} {}", self.bound, self.unit)
            .trim_end()
            .to_owned()
    }
}

impl Pick {
    fn of(&self, samples: &[Sample], run: u32) -> Option<f64> {
        let mine = |sample: &&Sample| {
            sample.run == run && sample.scenario == self.scenario && sample.case == self.case
        };
        let sample = samples.iter().find(mine)?;
        sample.figures.get(self.figure).copied()
    }
}
