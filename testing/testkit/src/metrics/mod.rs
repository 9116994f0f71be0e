//! The specification of the metrics, `prometheus/metrics.yml`, against a real page.

mod compare;
mod markdown;
mod page;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use compare::Sources;
pub use page::{Family, Page, Series};

/// The file.
const SPEC: &str = "prometheus/metrics.yml";

/// Every metric of the programs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Edges of histograms, by name.
    pub buckets: BTreeMap<String, Vec<f64>>,
    /// The metrics.
    pub groups: Vec<Group>,
}

/// Metrics about one thing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Heading.
    pub title: String,
    /// worker, publisher, api, or all.
    pub program: String,
    /// Their common subject.
    pub about: String,
    /// The metrics.
    pub metrics: Vec<Metric>,
}

/// A metric.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// counter, gauge or histogram.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its labels and their values.
    pub labels: BTreeMap<String, Values>,
    /// The unit of the values.
    pub unit: String,
    /// Name of its edges.
    pub buckets: Option<String>,
    /// The text on the page.
    pub help: String,
    /// Question of an operator that it answers.
    pub question: String,
    /// `database` when it describes the database and not the process.
    pub state: Option<String>,
    /// When its series appear, if not at the start.
    pub appears: Option<String>,
    /// Its labels depend on each other.
    #[serde(default)]
    pub dependent: bool,
}

/// The values that a label may have.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// These.
    List(Vec<String>),
    /// The values that the source of this name has.
    Source(String),
}

impl Spec {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or has another form.
    pub fn read() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(crate::root().join(SPEC))?;
        Ok(serde_saphyr::from_str(&text)?)
    }

    /// The metrics of a program.
    pub fn of<'a>(&'a self, program: &'a str) -> impl Iterator<Item = &'a Metric> {
        self.groups
            .iter()
            .filter(move |group| group.program == program || group.program == "all")
            .flat_map(|group| &group.metrics)
    }
}
