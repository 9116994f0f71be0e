//! The project's settings and rules of Prometheus for a test.
//!
//! Rules are shortened by one mechanical change: every length of time in them is divided by the same
//! number, be it `for`, `keep_firing_for`, a range as `[5m]`, or an `offset`. Thresholds are left
//! alone, those in seconds too. With 60 an hour is a minute, and what holds for five minutes
//! holds for five seconds.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};

use acequia_testkit::root;

/// How much faster than in production.
#[derive(Debug, Clone, Copy)]
pub struct TimeScale {
    /// Lengths of time in rules are divided by this.
    pub pace: u32,
    /// Milliseconds between scrapes and between evaluations.
    pub every: u32,
    /// Milliseconds between scrapes of workers, and how long one may take.
    pub workers: u32,
}

/// Every rule file, by name, with its lengths of time divided.
///
/// # Errors
/// When a file cannot be read.
pub fn scaled(scale: TimeScale) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("prometheus/rules"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy();
        let mut rules: Value = read(&format!("rules/{name}"))?;
        let groups = rules["groups"].as_array_mut().context("groups")?;
        // No API runs beside the workers of these tests: it would be missed from the start.
        groups.retain(|group| group["name"] != "acequia-api");
        for group in rules["groups"].as_array_mut().context("groups")? {
            group["interval"] = json!(interval(scale));
            for rule in group["rules"].as_array_mut().context("rules")? {
                for key in ["for", "keep_firing_for"] {
                    if let Some(length) = rule[key].as_str() {
                        rule[key] = json!(divided(length, scale.pace)?);
                    }
                }
                let expression = rule["expr"].as_str().context("expr")?;
                rule["expr"] = json!(expression_divided(expression, scale.pace)?);
            }
        }
        files.insert(name.into_owned(), rules);
    }
    Ok(files)
}

/// The settings with these targets in place of those of the file; jobs without one are left out.
pub(super) fn settings(
    scale: TimeScale,
    targets: &BTreeMap<&str, Vec<String>>,
    vhost: &str,
) -> anyhow::Result<Value> {
    let mut settings = read("prometheus.yml")?;
    settings["global"] = json!({
        "scrape_interval": interval(scale),
        "scrape_timeout": interval(scale),
        "evaluation_interval": interval(scale),
    });
    settings["rule_files"] = json!(["rules/*.yml"]);
    if let Some(settings) = settings.as_object_mut() {
        settings.remove("alerting");
    }
    let jobs = settings["scrape_configs"].as_array_mut();
    let jobs = jobs.context("scrape_configs")?;
    jobs.retain_mut(|job| {
        let Some(targets) = job["job_name"].as_str().and_then(|name| targets.get(name)) else {
            return false;
        };
        job["static_configs"] = json!([{ "targets": targets }]);
        if let Some(job) = job.as_object_mut() {
            job.remove("dns_sd_configs");
        }
        if job["job_name"] == "acequia-worker" {
            job["scrape_interval"] = json!(format!("{}ms", scale.workers));
            job["scrape_timeout"] = json!(format!("{}ms", scale.workers));
        }
        // Its exporter thinks for a second before it says that the database is away.
        if job["job_name"] == "postgresql" {
            job["scrape_interval"] = json!("2500ms");
            job["scrape_timeout"] = json!("2500ms");
        }
        // Other tests have queues of the same names on the same broker.
        if job["params"].is_object() {
            job["params"]["vhost"] = json!([vhost]);
        }
        true
    });
    Ok(settings)
}

fn read(name: &str) -> anyhow::Result<Value> {
    let file = root().join("prometheus").join(name);
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(serde_saphyr::from_str(&text)?)
}

fn interval(scale: TimeScale) -> String {
    format!("{}ms", scale.every)
}

/// `[5m]`, `[28d:5m]` and `offset 1w` in an expression.
fn expression_divided(expression: &str, pace: u32) -> anyhow::Result<String> {
    let mut divided_parts = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find('[') {
        let (before, after) = rest.split_at(start + 1);
        let end = after.find(']').context("a bracket that ends")?;
        let (inside, after) = after.split_at(end);
        divided_parts.push_str(&offsets_divided(before, pace)?);
        // A class of characters in a regular expression is no range.
        let ranges: Option<Vec<String>> = inside
            .split(':')
            .map(|range| divided(range, pace).ok())
            .collect();
        match ranges {
            Some(ranges) => divided_parts.push_str(&ranges.join(":")),
            None => divided_parts.push_str(inside),
        }
        rest = after;
    }
    divided_parts.push_str(&offsets_divided(rest, pace)?);
    Ok(divided_parts)
}

fn offsets_divided(text: &str, pace: u32) -> anyhow::Result<String> {
    const OFFSET: &str = "offset ";
    let Some(start) = text.find(OFFSET) else {
        return Ok(text.to_owned());
    };
    let (before, after) = text.split_at(start + OFFSET.len());
    let end = after
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(after.len());
    let (length, rest) = after.split_at(end);
    let rest = offsets_divided(rest, pace)?;
    Ok(format!("{before}{}{rest}", divided(length, pace)?))
}

fn divided(length: &str, pace: u32) -> anyhow::Result<String> {
    let split = length
        .find(|c: char| !c.is_ascii_digit())
        .with_context(|| format!("{length} has no unit"))?;
    let (number, unit) = length.split_at(split);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        other => anyhow::bail!("{other} is no unit"),
    };
    let milliseconds = number.parse::<u64>()? * unit * 1000;
    Ok(format!("{}ms", milliseconds / u64::from(pace)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lengths_of_time_are_divided_and_nothing_else_is() {
        let of = |text: &str| expression_divided(text, 60).unwrap();
        assert_eq!(of("rate(x[5m]) > 60"), "rate(x[5000ms]) > 60");
        assert_eq!(
            of("increase(x[1h] offset 1w)"),
            "increase(x[60000ms] offset 10080000ms)"
        );
        assert_eq!(
            of("max_over_time(x[1d:5m])"),
            "max_over_time(x[1440000ms:5000ms])"
        );
        assert_eq!(
            of(r#"x{queue=~"acequia[.].+"}"#),
            r#"x{queue=~"acequia[.].+"}"#
        );
        assert_eq!(divided("2m", 60).unwrap(), "2000ms");
    }

    #[test]
    fn every_rule_file_can_be_hurried() {
        let files = scaled(TimeScale {
            pace: 60,
            every: 500,
            workers: 500,
        })
        .unwrap();
        assert!(files.len() >= 2);
        let text = serde_json::to_string(&files).unwrap();
        assert!(!text.contains("[5m]") && text.contains("[5000ms]"));
    }
}
