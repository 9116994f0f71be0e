//! A page against the specification, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Family, Metric, Page, Spec, Values};

/// The values that the sources of labels hold, by the sources' names.
pub type Sources = BTreeMap<&'static str, Vec<String>>;

impl Spec {
    /// Where a program's page and the specification differ; empty when they do not. What the file
    /// says appears later must be there, too.
    #[must_use]
    pub fn differences(&self, program: &str, page: &Page, sources: &Sources) -> Vec<String> {
        let mut found = Vec::new();
        let known: BTreeSet<&str> = self
            .of(program)
            .map(|metric| metric.name.as_str())
            .collect();
        for name in page.families.keys() {
            if !known.contains(name.as_str()) {
                found.push(format!("{name} is on the page, not in the specification"));
            }
        }
        for metric in self.of(program) {
            match page.families.get(&metric.name) {
                Some(family) => self.compare(metric, family, sources, &mut found),
                None => found.push(format!("{} is not on the page", metric.name)),
            }
        }
        found
    }

    fn compare(
        &self,
        metric: &Metric,
        family: &Family,
        sources: &Sources,
        found: &mut Vec<String>,
    ) {
        let name = &metric.name;
        let mut same = |what: &str, page: &str, spec: &str| {
            if page != spec {
                found.push(format!("{name}: {what} is {page:?}, not {spec:?}"));
            }
        };
        same("the type", &family.kind, &metric.kind);
        same("the text", &family.help, &metric.help);
        let mut edges: BTreeMap<Vec<&str>, Vec<f64>> = BTreeMap::new();
        let mut combinations = BTreeSet::new();
        for series in &family.series {
            let mut keys: Vec<&String> = series.labels.keys().collect();
            keys.retain(|key| metric.kind != "histogram" || *key != "le");
            if !keys.iter().copied().eq(metric.labels.keys()) {
                found.push(format!("{name}: labels {keys:?}"));
                continue;
            }
            let values: Vec<&str> = keys
                .iter()
                .map(|key| series.labels[*key].as_str())
                .collect();
            if let Some(edge) = series.labels.get("le")
                && metric.kind == "histogram"
            {
                let edge = edge.replace("Inf", "inf").parse().unwrap_or(f64::NAN);
                edges.entry(values.clone()).or_default().push(edge);
            }
            combinations.insert(values);
        }
        found.extend(values(metric, &combinations, sources));
        if let Some(buckets) = &metric.buckets {
            let mut expected = self.buckets.get(buckets).cloned().unwrap_or_default();
            expected.push(f64::INFINITY);
            for (labels, edges) in &edges {
                if *edges != expected {
                    found.push(format!(
                        "{name}{labels:?}: edges {edges:?}, not {expected:?}"
                    ));
                }
            }
            if edges.is_empty() {
                found.push(format!("{name} has no buckets"));
            }
        }
    }
}

/// Values that must not be, and combinations that must.
fn values(metric: &Metric, there: &BTreeSet<Vec<&str>>, sources: &Sources) -> Vec<String> {
    let nothing = Vec::new();
    let allowed: Vec<&Vec<String>> = metric
        .labels
        .values()
        .map(|values| match values {
            Values::List(list) => list,
            Values::Source(source) => sources.get(source.as_str()).unwrap_or(&nothing),
        })
        .collect();
    let mut found = Vec::new();
    for (position, (label, allowed)) in metric.labels.keys().zip(&allowed).enumerate() {
        let there: BTreeSet<&str> = there.iter().map(|values| values[position]).collect();
        let allowed: BTreeSet<&str> = allowed.iter().map(String::as_str).collect();
        if !there.is_subset(&allowed) {
            let more: Vec<_> = there.difference(&allowed).collect();
            found.push(format!("{}: {label} is {more:?}", metric.name));
        }
        if !allowed.is_subset(&there) {
            let less: Vec<_> = allowed.difference(&there).collect();
            found.push(format!("{}: no series with {label} {less:?}", metric.name));
        }
    }
    // An entity belongs to one domain: a product would ask for all of them in each.
    let product = metric.dependent
        || (metric.labels.contains_key("domain") && metric.labels.contains_key("entity"));
    let expected: usize = allowed.iter().map(|values| values.len()).product();
    if !product && there.len() != expected {
        let name = &metric.name;
        found.push(format!("{name}: {} series of {expected}", there.len()));
    }
    found
}
