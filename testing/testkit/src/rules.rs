//! The rules of Prometheus and their unit tests, as far as tests ask about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::root;

/// A rule: an alert or a recording.
#[derive(Debug, Clone, Deserialize)]
pub struct Rule {
    /// Name of the alert.
    pub alert: Option<String>,
    /// Name of the recording.
    pub record: Option<String>,
    /// PromQL.
    pub expr: String,
    /// Time for which the condition must hold.
    #[serde(rename = "for")]
    pub wait: Option<String>,
    /// Labels added.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Cases {
    tests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    alert_rule_test: Vec<Expectation>,
}

#[derive(Debug, Deserialize)]
struct Expectation {
    alertname: String,
    exp_alerts: Vec<Fired>,
}

#[derive(Debug, Deserialize)]
struct Fired {
    #[serde(default)]
    exp_labels: BTreeMap<String, serde_json::Value>,
}

/// Every rule, in the order of the files.
///
/// # Errors
/// When a file cannot be read or has another form.
pub fn rules() -> anyhow::Result<Vec<Rule>> {
    let mut all = Vec::new();
    for file in files("prometheus/rules")? {
        let groups: Groups = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        all.extend(groups.groups.into_iter().flat_map(|group| group.rules));
    }
    Ok(all)
}

/// Alerts that a unit test expects to fire, and those that one expects to keep quiet.
///
/// # Errors
/// Same as [`rules`].
pub fn tested() -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut fire, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for expectation in expectations()? {
        let set = if expectation.exp_alerts.is_empty() {
            &mut quiet
        } else {
            &mut fire
        };
        set.insert(expectation.alertname);
    }
    Ok((fire, quiet))
}

fn expectations() -> anyhow::Result<Vec<Expectation>> {
    let mut all = Vec::new();
    for file in files("prometheus/tests")? {
        let cases: Cases = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
        let cases = cases.tests.into_iter();
        all.extend(cases.flat_map(|case| case.alert_rule_test));
    }
    Ok(all)
}

fn files(folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root().join(folder))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

/// The labels of each alert that a unit test expects to fire.
///
/// # Errors
/// Same as [`rules`].
pub fn labels_of_fired() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for expectation in expectations()? {
        for fired in expectation.exp_alerts {
            let labels = all.entry(expectation.alertname.clone()).or_default();
            labels.extend(fired.exp_labels.into_keys());
        }
    }
    Ok(all)
}
