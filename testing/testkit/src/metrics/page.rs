//! A page in Prometheus' text format, taken apart.

use std::collections::BTreeMap;

use anyhow::Context;

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    /// The metrics by their names.
    pub families: BTreeMap<String, Family>,
}

/// A metric on a page.
#[derive(Debug, Default)]
pub struct Family {
    /// Its text.
    pub help: String,
    /// Its type.
    pub kind: String,
    /// Its lines.
    pub series: Vec<Series>,
}

/// A line.
#[derive(Debug)]
pub struct Series {
    /// Name, with the suffix of a histogram's parts.
    pub name: String,
    /// Labels, `le` too.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Page {
    /// Takes a page apart.
    ///
    /// # Errors
    /// At the first line that is not of the format.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut page = Self::default();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let read = if let Some(rest) = line.strip_prefix("# HELP ") {
                rest.split_once(' ').map(|(name, help)| {
                    page.family(name).help = help.to_owned();
                })
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                rest.split_once(' ').map(|(name, kind)| {
                    name.clone_into(&mut current);
                    page.family(name).kind = kind.to_owned();
                })
            } else {
                series(line).map(|series| page.family(&current).series.push(series))
            };
            read.with_context(|| format!("not understood: {line}"))?;
        }
        Ok(page)
    }

    /// The value of a line, if it is there. `labels` are all of its labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = self.families.get(name).or_else(|| {
            let parts = ["_bucket", "_sum", "_count"];
            let stem = parts.iter().find_map(|part| name.strip_suffix(part))?;
            self.families.get(stem)
        })?;
        let same = |series: &&Series| {
            series.name == name
                && series.labels.len() == labels.len()
                && labels
                    .iter()
                    .all(|(key, value)| series.labels.get(*key).is_some_and(|is| is == value))
        };
        family.series.iter().find(same).map(|series| series.value)
    }

    fn family(&mut self, name: &str) -> &mut Family {
        self.families.entry(name.to_owned()).or_default()
    }
}

/// `name{label="value",...} 1.5`
fn series(line: &str) -> Option<Series> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (head, ""),
    };
    let mut found = BTreeMap::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (at, '"') => break at,
                (_, other) => value.push(other),
            }
        };
        found.insert(key.trim_start_matches(',').to_owned(), value);
        rest = &after[end + 1..];
    }
    Some(Series {
        name: name.to_owned(),
        labels: found,
        value: value.replace("Inf", "inf").parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_is_taken_apart() {
        let text = "# HELP a_seconds A.\n# TYPE a_seconds histogram\n\
            a_seconds_bucket{x=\"q\\\"1\",le=\"+Inf\"} 2\na_seconds_sum{x=\"q\\\"1\"} 1.5\n";
        let page = Page::parse(text).unwrap();
        assert_eq!(page.families["a_seconds"].kind, "histogram");
        assert_eq!(page.value("a_seconds_sum", &[("x", "q\"1")]), Some(1.5));
        let labels = [("le", "+Inf"), ("x", "q\"1")];
        assert_eq!(page.value("a_seconds_bucket", &labels), Some(2.0));
        assert_eq!(page.value("a_seconds_sum", &[]), None);
        assert!(Page::parse("no value").is_err());
    }
}
