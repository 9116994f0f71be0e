//! Alerts are complete: words, runbook, tests, metrics that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;

use acequia_testkit::metrics::Spec;
use acequia_testkit::root;
use acequia_testkit::rules::{Rule, rules, tested};

fn alerts() -> Vec<(String, Rule)> {
    let rules = rules().unwrap().into_iter();
    let alerts: Vec<_> = rules
        .filter_map(|rule| Some((rule.alert.clone()?, rule)))
        .collect();
    assert!(!alerts.is_empty());
    alerts
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

/// An inhibition of an alert that is gone would never be noticed.
#[test]
fn inhibitions_name_alerts_that_exist() {
    let names: BTreeSet<String> = alerts().into_iter().map(|(alert, _)| alert).collect();
    let file = root().join("prometheus/alertmanager.yml");
    let settings: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let inhibitions = settings["inhibit_rules"].as_array().unwrap();
    assert!(!inhibitions.is_empty());
    for inhibition in inhibitions {
        for key in ["source_matchers", "target_matchers"] {
            let matcher = inhibition[key][0].as_str().unwrap();
            let listed = matcher.split(['"', '|']).skip(1);
            for name in listed.filter(|name| !name.is_empty()) {
                assert!(names.contains(name), "{matcher}");
            }
        }
    }
}
