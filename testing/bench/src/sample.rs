//! The figures of one run of one case.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::cpu::Cpu;

/// The figures of one case in one run.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Scenario.
    pub scenario: &'static str,
    /// Case of the scenario.
    pub case: String,
    /// Number of the run, from 1.
    pub run: u32,
    /// Figures by name; `report::COLUMNS` says what they are.
    pub figures: BTreeMap<&'static str, f64>,
}

impl Sample {
    /// A sample without figures; the runner fills in scenario and run.
    #[must_use]
    pub fn new(case: impl Into<String>) -> Self {
        Self {
            scenario: "",
            case: case.into(),
            run: 0,
            figures: BTreeMap::new(),
        }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.figures.insert(name, value);
        self
    }

    /// Adds messages, seconds and their rate.
    #[must_use]
    pub fn throughput(self, messages: usize, took: Duration) -> Self {
        let (messages, seconds) = (messages as f64, took.as_secs_f64());
        self.with("messages", messages)
            .with("seconds", seconds)
            .with("rate", messages / seconds)
    }

    /// Adds the CPU microseconds per message of each program; after [`Sample::throughput`].
    #[must_use]
    pub fn cpu(self, cpu: Cpu) -> Self {
        let of = |name| self.figures.get(name).copied().unwrap_or(f64::NAN);
        let (messages, seconds) = (of("messages"), of("seconds"));
        let micros = |seconds: f64| seconds * 1e6 / messages;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let ours = cpu.workers + cpu.postgresql + cpu.rabbitmq + cpu.bench;
        let foreign = (cpu.machine - ours).max(0.0);
        self.with("worker_us", micros(cpu.workers))
            .with("postgresql_us", micros(cpu.postgresql))
            .with("rabbitmq_us", micros(cpu.rabbitmq))
            .with(
                "all_us",
                micros(cpu.workers + cpu.postgresql + cpu.rabbitmq),
            )
            .with("used", ours / (seconds * cores) * 100.0)
            .with("used_seconds", ours)
            .with("foreign_seconds", foreign)
            .with("foreign", foreign / (seconds * cores))
    }

    /// The most telling figures, for a progress line.
    #[must_use]
    pub fn line(&self) -> String {
        let figures: Vec<String> = self
            .figures
            .iter()
            .filter(|(name, _)| **name != "messages" && !name.ends_with("seconds"))
            .map(|(name, value)| {
                let decimals = if *value < 100.0 { 2 } else { 0 };
                format!("{name} {value:.decimals$}")
            })
            .collect();
        format!("{}: {}", self.case, figures.join(", "))
    }
}

/// The middle of some values, the lowest and the highest.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// Middle value, or the mean of the two middle ones.
    pub median: f64,
    /// Lowest.
    pub lowest: f64,
    /// Highest.
    pub highest: f64,
    /// Their number.
    pub runs: usize,
}

impl Spread {
    /// Of some values; `None` when there is none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let runs = values.len();
        let upper = *values.get(runs / 2)?;
        let median = if runs.is_multiple_of(2) {
            f64::midpoint(values[runs / 2 - 1], upper)
        } else {
            upper
        };
        Some(Self {
            median,
            lowest: values[0],
            highest: values[runs - 1],
            runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        let found = spread.map(|spread| (spread.median, spread.lowest, spread.highest));
        assert_eq!(found, Some((2.5, 1.0, 4.0)));
        let odd = Spread::of(vec![9.0, 1.0, f64::NAN, 5.0]).map(|spread| spread.median);
        assert_eq!(odd, Some(5.0));
        assert!(Spread::of(vec![]).is_none());
    }
}
