//! The report over all runs, as Markdown and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::json;

use crate::machine::Machine;
use crate::sample::{Sample, Spread};
use crate::scenarios::Scenario;
use crate::targets::TARGETS;

/// Figures: name, heading, decimals.
const COLUMNS: &[(&str, &str, usize)] = &[
    ("messages", "messages", 0),
    ("mean_bytes", "bytes, mean", 0),
    ("rate", "messages/s", 0),
    ("worker_us", "worker or client, CPU per message", 1),
    ("postgresql_us", "PostgreSQL, CPU per message", 1),
    ("rabbitmq_us", "RabbitMQ, CPU per message", 1),
    ("used", "of the machine's CPU", 0),
    ("first_ms", "to the first batch", 0),
    ("core_p50_ms", "core, p50", 1),
    ("core_p95_ms", "p95", 1),
    ("core_p99_ms", "p99", 1),
    ("core_max_ms", "longest", 0),
    ("mart_p50_ms", "mart, p50", 0),
    ("mart_p99_ms", "p99", 0),
    ("peak_mb", "worker, peak memory", 0),
    ("early_mb", "in the first tenth", 0),
    ("late_mb", "in the last tenth", 0),
    ("calls_s", "calls/s", 0),
    ("call_p50_ms", "p50", 2),
    ("call_p99_ms", "p99", 2),
    ("call_max_ms", "longest", 1),
    ("api_us", "server or client, CPU per call", 0),
    ("before_mb", "memory before", 0),
    ("api_mb", "memory", 0),
];

/// Share of the machine that others used, above which figures are in doubt.
const QUIET: f64 = 0.05;

/// All samples, and on what they were taken.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it was begun.
    pub begun: String,
    /// The command that repeats it.
    pub command: String,
    /// Machine, versions, settings.
    pub machine: Machine,
    /// The measured samples.
    pub samples: Vec<Sample>,
}

impl Report {
    /// The report as JSON: machine, samples, medians and spread, targets.
    ///
    /// # Errors
    /// None in practice.
    pub fn json(&self) -> serde_json::Result<String> {
        let mut cases: BTreeMap<String, BTreeMap<&str, Spread>> = BTreeMap::new();
        for sample in &self.samples {
            let spreads = cases
                .entry(format!("{}/{}", sample.scenario, sample.case))
                .or_default();
            for figure in sample.figures.keys() {
                if let Some(spread) = self.spread(sample.scenario, &sample.case, figure) {
                    spreads.insert(figure, spread);
                }
            }
        }
        let targets: Vec<_> = TARGETS
            .iter()
            .filter_map(|target| {
                let measured = target.measured(&self.samples)?;
                Some(json!({
                    "what": target.what, "promise": target.promise(), "measured": measured,
                    "met": target.is_met(measured.median),
                }))
            })
            .collect();
        serde_json::to_string_pretty(&json!({
            "begun": self.begun, "command": self.command, "machine": self.machine,
            "cases": cases, "targets": targets, "samples": self.samples,
        }))
    }

    fn spread(&self, scenario: &str, case: &str, figure: &str) -> Option<Spread> {
        let mine = self
            .samples
            .iter()
            .filter(|sample| sample.scenario == scenario && sample.case == case);
        Spread::of(
            mine.filter_map(|sample| sample.figures.get(figure).copied())
                .collect(),
        )
    }

    /// The report as Markdown: the machine, a table for each scenario, the targets.
    #[must_use]
    pub fn markdown(&self, scenarios: &[&Scenario]) -> String {
        let mut text = self.head();
        for scenario in scenarios {
            self.table(&mut text, scenario);
        }
        self.targets(&mut text);
        self.doubts(&mut text);
        text
    }

    fn head(&self) -> String {
        let machine = &self.machine;
        let versions: Vec<String> = machine
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        format!(
            "`{}`, begun {}, on {} ({} cores, {} GB, {}) with {}. Medians; in brackets the lowest and the highest run.\n",
            self.command,
            self.begun,
            machine.processor,
            machine.cores,
            machine.memory_gb,
            machine.system,
            versions.join(", ")
        )
    }

    fn table(&self, text: &mut String, scenario: &Scenario) {
        let mut cases: Vec<&str> = Vec::new();
        for sample in &self.samples {
            if sample.scenario == scenario.name && !cases.contains(&sample.case.as_str()) {
                cases.push(&sample.case);
            }
        }
        if cases.is_empty() {
            return;
        }
        let columns = COLUMNS
            .iter()
            .filter(|column| scenario.columns.contains(&column.0));
        let columns: Vec<_> = columns.collect();
        let _ = write!(
            text,
            "\n**{}**: {}\n\n| case |",
            scenario.name, scenario.about
        );
        for (_, heading, _) in &columns {
            let _ = write!(text, " {heading} |");
        }
        let _ = write!(
            text,
            " runs |\n|---|{}---:|\n",
            "---:|".repeat(columns.len())
        );
        for case in cases {
            let _ = write!(text, "| {case} |");
            let mut runs = 0;
            for (figure, _, decimals) in &columns {
                let Some(spread) = self.spread(scenario.name, case, figure) else {
                    text.push_str(" – |");
                    continue;
                };
                runs = runs.max(spread.runs);
                let _ = write!(text, " {} |", cell(figure, spread, *decimals));
            }
            let _ = writeln!(text, " {runs} |");
        }
    }

    fn targets(&self, text: &mut String) {
        let mut begun = false;
        for target in TARGETS {
            let Some(spread) = target.measured(&self.samples) else {
                continue;
            };
            if !begun {
                text.push_str(
                    "\n| promised | measured, median (lowest–highest) | promise | kept |\n|---|---:|---:|---|\n",
                );
                begun = true;
            }
            let decimals = if spread.median < 10.0 { 2 } else { 0 };
            let kept = if target.is_met(spread.median) {
                "yes"
            } else {
                "**no**"
            };
            let _ = writeln!(
                text,
                "| {} | {} {} ({}–{}) | {} | {kept} |",
                target.what,
                number(spread.median, decimals),
                target.unit,
                number(spread.lowest, decimals),
                number(spread.highest, decimals),
                target.promise()
            );
        }
    }

    /// A machine that others use too gives other figures.
    fn doubts(&self, text: &mut String) {
        let foreign = self
            .samples
            .iter()
            .filter_map(|sample| sample.figures.get("foreign").copied());
        let most = foreign.fold(0.0_f64, f64::max);
        if most > QUIET {
            let _ = writeln!(
                text,
                "\nThe machine was not quiet: in one of the runs other programs used {:.0} % of it.",
                most * 100.0
            );
        }
    }
}

fn cell(figure: &str, spread: Spread, decimals: usize) -> String {
    let units = [
        ("used", " %"),
        ("_us", " µs"),
        ("_ms", " ms"),
        ("_mb", " MB"),
    ];
    let unit = units.iter().find(|(end, _)| figure.ends_with(end));
    let unit = unit.map_or("", |(_, unit)| unit);
    let median = number(spread.median, decimals);
    // Two bounds in every column would hide the figures.
    if spread.lowest == spread.highest || figure.ends_with("_us") || figure == "used" {
        return format!("{median}{unit}");
    }
    let (lowest, highest) = (
        number(spread.lowest, decimals),
        number(spread.highest, decimals),
    );
    format!("{median}{unit} ({lowest}–{highest})")
}

/// A number with commas between thousands.
fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && digit.is_ascii_digit() && !grouped.ends_with('-')
        {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

/// Puts a text between the two marks of a document: `<!-- bench:begin -->` and
/// `<!-- bench:end -->`.
///
/// # Errors
/// When the document does not have both, in this order.
pub fn replace_block(document: &str, block: &str) -> anyhow::Result<String> {
    const BEGIN: &str = "<!-- bench:begin -->\n";
    const END: &str = "<!-- bench:end -->";
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("it has no line {}", BEGIN.trim()))?;
    let Some((_, after)) = rest.split_once(END) else {
        bail!("it has no line {END} behind {}", BEGIN.trim());
    };
    Ok(format!("{before}{BEGIN}{block}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{number, replace_block};

    #[test]
    fn thousands_have_commas() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(123.456, 1), "123.5");
        assert_eq!(number(-1234.0, 0), "-1,234");
    }

    #[test]
    fn only_the_block_is_replaced() {
        let document = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nz\n";
        let new = replace_block(document, "new\n").ok();
        let expected = "a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nz\n";
        assert_eq!(new.as_deref(), Some(expected));
        assert!(replace_block("a\n", "new\n").is_err());
    }
}
