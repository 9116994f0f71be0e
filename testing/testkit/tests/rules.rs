//! Alerts are complete: words, runbook, tests, metrics that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;

use acequia_testkit::metrics::Spec;
use acequia_testkit::root;
use acequia_testkit::rules::{Rule, labels_of_fired, rules, tested};
use serde_json::Value;

fn alerts() -> Vec<(String, Rule)> {
    let rules = rules().unwrap().into_iter();
    let alerts: Vec<_> = rules
        .filter_map(|rule| Some((rule.alert.clone()?, rule)))
        .collect();
    assert!(!alerts.is_empty());
    alerts
}

/// Newer exporters and servers have other names: the panels ask for both.
#[test]
fn panels_of_postgresql_ask_for_old_and_new_names() {
    let panels = root().join("grafana/src/platform/postgresql.yml");
    let panels = std::fs::read_to_string(panels).unwrap();
    for name in [
        "pg_stat_database_active_time{",
        "pg_stat_database_active_time_seconds_total{",
        "pg_stat_bgwriter_checkpoints_timed_total[",
        "pg_stat_checkpointer_num_timed_total[",
    ] {
        assert!(panels.contains(name), "{name}");
    }
}

/// Whoever is woken by an alert finds a page that says what to do.
#[test]
fn every_alert_has_its_runbook() {
    const HEADINGS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];
    let alerts = alerts();
    for (alert, rule) in &alerts {
        let page = format!("docs/runbooks/{alert}.md");
        assert_eq!(rule.annotations["runbook_url"], page);
        let text = std::fs::read_to_string(root().join(&page)).expect(&page);
        assert!(text.starts_with(&format!("# {alert}\n")), "{page}");
        let headings: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(headings, HEADINGS, "{page}");
    }
    let there = std::fs::read_dir(root().join("docs/runbooks")).unwrap();
    assert_eq!(there.count(), alerts.len(), "a runbook of no alert");
}

#[test]
fn every_alert_has_its_words() {
    for (alert, rule) in alerts() {
        let severity = rule.labels["severity"].as_str();
        assert!(["critical", "warning"].contains(&severity), "{alert}");
        for text in ["summary", "description"] {
            assert!(
                rule.annotations[text].ends_with(['.', ')']),
                "{alert}: {text}"
            );
        }
        assert!(
            rule.annotations["dashboard_url"].starts_with("/d/"),
            "{alert}"
        );
    }
}

#[test]
fn every_alert_is_tested_both_ways() {
    let names: BTreeSet<String> = alerts().into_iter().map(|(alert, _)| alert).collect();
    let (fire, quiet) = tested().unwrap();
    let never: Vec<_> = names.difference(&fire).collect();
    assert!(never.is_empty(), "no test fires {never:?}");
    let always: Vec<_> = names.difference(&quiet).collect();
    assert!(always.is_empty(), "no test keeps {always:?} quiet");
    // promtool calls an alert that does not exist quiet.
    let nobody: Vec<_> = fire
        .union(&quiet)
        .filter(|name| !names.contains(*name))
        .collect();
    assert!(nobody.is_empty(), "tests of no alert: {nobody:?}");
}

/// A renamed metric would disarm an alert without a word.
#[test]
fn rules_use_metrics_that_exist() {
    let spec = Spec::read().unwrap();
    let metrics = spec.groups.iter().flat_map(|group| &group.metrics);
    let known: BTreeSet<&str> = metrics.map(|metric| metric.name.as_str()).collect();
    let rules = rules().unwrap();
    let recorded: BTreeSet<&str> = rules
        .iter()
        .filter_map(|rule| rule.record.as_deref())
        .collect();
    for rule in &rules {
        let words = rule
            .expr
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        for word in words {
            let found = if word.contains(':') {
                recorded.contains(word)
            } else if word.starts_with("acequia_") {
                let stem = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|part| word.strip_suffix(part));
                known.contains(word) || stem.is_some_and(|stem| known.contains(stem))
            } else {
                true
            };
            let name = rule.alert.as_ref().or(rule.record.as_ref());
            assert!(found, "{name:?} uses {word}, which nobody makes");
        }
    }
}

/// A fault that has passed before anybody could look wakes nobody.
#[test]
fn every_alert_waits_a_moment() {
    for (alert, rule) in alerts() {
        assert!(rule.wait.is_some(), "{alert} has no `for`");
    }
}

/// The alerts that a list of Alertmanager's matchers means; every one when it names none.
fn meant(matchers: &Value, alerts: &[(String, Rule)]) -> Vec<String> {
    let named: Vec<_> = matchers
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|matcher| matcher.as_str().unwrap().strip_prefix("alertname="))
        .flat_map(|names| names.trim_matches(['~', '"']).split('|').map(str::to_owned))
        .collect();
    for name in &named {
        assert!(alerts.iter().any(|(alert, _)| alert == name), "{name}");
    }
    if named.is_empty() {
        return alerts.iter().map(|(alert, _)| alert.clone()).collect();
    }
    named
}

/// An inhibition of an alert that is gone would never be noticed, nor one by a label that one side
/// lacks; and a warning must not keep back what somebody has to be woken for.
#[test]
fn inhibitions_keep_back_what_says_nothing_new_and_no_more() {
    let alerts = alerts();
    let critical = |name: &str| {
        let (_, rule) = alerts.iter().find(|(alert, _)| alert == name).unwrap();
        rule.labels["severity"] == "critical"
    };
    let labels = labels_of_fired().unwrap();
    let file = root().join("prometheus/alertmanager.yml");
    let settings: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let inhibitions = settings["inhibit_rules"].as_array().unwrap();
    assert!(!inhibitions.is_empty());
    for inhibition in inhibitions {
        let sources = meant(&inhibition["source_matchers"], &alerts);
        let targets = meant(&inhibition["target_matchers"], &alerts);
        for (source, target) in sources
            .iter()
            .flat_map(|source| targets.iter().map(move |target| (source, target)))
        {
            assert!(
                critical(source) || !critical(target),
                "{source} is a warning and keeps back {target}"
            );
            for label in inhibition["equal"].as_array().into_iter().flatten() {
                let label = label.as_str().unwrap();
                for alert in [source, target] {
                    let has = labels[alert].contains(label);
                    assert!(
                        has,
                        "{source} keeps {target} back by {label}: {alert} has none"
                    );
                }
            }
        }
    }
}
