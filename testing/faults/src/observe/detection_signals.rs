//! Which panels and alerts show a fault, and how soon.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_testkit::rules::rules;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::prometheus::Prometheus;
use super::runbook_actions::runbook_action_of;
use super::settings::TimeScale;
use crate::environment::TestEnv;
use crate::report::Outcome;

/// A panel of the overview, the signal to be seen in it, and an expression that grows when it is.
const PANELS: &[(&str, &str, &str)] = &[
    ("Ready", "not ready", "count(acequia_ready == 0)"),
    (
        "Workers up",
        "one is away",
        "count(up{job=\"acequia-worker\"} == 0)",
    ),
    (
        "Interruptions",
        "worker starts",
        "sum(changes(process_start_time_seconds{job=\"acequia-worker\"}[2m]))",
    ),
    (
        "Interruptions",
        "consuming interrupted",
        "sum(acequia_amqp_disconnects_total)",
    ),
    (
        "Interruptions",
        "connections that failed",
        "sum(acequia_amqp_connection_attempts_total{outcome=\"failure\"}) \
         + sum(acequia_database_connection_attempts_total{outcome=\"failure\"})",
    ),
    (
        "Who answers",
        "a server does not",
        "count(up{job!=\"acequia-worker\"} == 0)",
    ),
    ("Who answers", "PostgreSQL does not", "count(pg_up == 0)"),
    (
        "Who answers",
        "state of the database unknown",
        "count(acequia_database_readable == 0)",
    ),
    (
        "Answers of the servers",
        "broker above 50 ms",
        "count(max(rate(acequia_broker_ping_duration_seconds_sum[10s]) \
         / (rate(acequia_broker_ping_duration_seconds_count[10s]) > 0)) > 0.05)",
    ),
    (
        "Answers of the servers",
        "database above 50 ms",
        "count(max(rate(acequia_database_ping_duration_seconds_sum[10s]) \
         / (rate(acequia_database_ping_duration_seconds_count[10s]) > 0)) > 0.05)",
    ),
    (
        "Retries and failures",
        "staging",
        "sum(acequia_batch_retries_total)",
    ),
    (
        "Retries and failures",
        "loops",
        "sum(acequia_loop_failures_total)",
    ),
    (
        "Duplicates and redeliveries",
        "redelivered",
        "sum(acequia_redelivered_messages_total)",
    ),
    (
        "Duplicates and redeliveries",
        "more than 10 duplicates a second",
        "count(sum(rate(acequia_duplicate_messages_total[20s])) > 10)",
    ),
    (
        "Dead-lettered",
        "one",
        "sum(acequia_quarantined_messages_total{code=\"delivery_limit\"})",
    ),
    (
        "Broker's alarms",
        "one",
        "sum({__name__=~\"rabbitmq_alarms_.+\"})",
    ),
    (
        "Oldest staged batch",
        "above 2 s",
        "count(acequia_oldest_staged_age_seconds > 2)",
    ),
    (
        "End-to-end p95",
        "above 1 s",
        "count(histogram_quantile(0.95, sum by (le) \
         (rate(acequia_end_to_end_duration_seconds_bucket[20s]))) > 1)",
    ),
    (
        "Quarantined by code",
        "more than 10 a second",
        "count(sum(rate(acequia_quarantined_messages_total[20s])) > 10)",
    ),
];
/// Has a value when messages were taken between two scrapes.
const FLOWS: &str = "sum(rate(acequia_received_messages_total[20s])) > 0";
/// Time limit of a start.
const CALM_WITHIN: Duration = Duration::from_secs(60);
/// How long is looked at least: two scrapes of workers, and what follows from them.
const LOOKS_FOR: Duration = Duration::from_secs(10);
/// Time between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// The rules as they are; only looked at more often.
const TIME_SCALE: TimeScale = TimeScale {
    pace: 1,
    every: 1000,
    // A page comes within 3 s, however the database is.
    workers: 3500,
};

/// Observations of a fault.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// Seconds from the fault to the panel.
    pub panels: BTreeMap<String, f64>,
    /// Seconds from the fault until the condition of an alert held.
    pub alerts: BTreeMap<String, f64>,
    /// Signals for people who do not look at Prometheus.
    pub told: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    values: BTreeMap<String, f64>,
    struck: Option<(Instant, BTreeMap<String, f64>)>,
    seen: Seen,
}

/// Looks at panels and alerts all the time.
#[derive(Debug)]
pub struct Observer {
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Begins to look, when all is well and, if messages flow already, Prometheus has seen them.
    ///
    /// # Errors
    /// When Prometheus does not start, or not all is well.
    pub async fn over(
        environment: &TestEnv,
        workers: &[String],
        flows: bool,
    ) -> anyhow::Result<Self> {
        let prometheus = Prometheus::start(environment, workers, TIME_SCALE).await?;
        // Signs while everything starts do not come from the fault.
        let begun = Instant::now();
        loop {
            let mut calm = prometheus.value("min(acequia_ready) * min(up)").await?;
            if flows && prometheus.value(FLOWS).await?.is_none() {
                calm = None;
            }
            let pending = prometheus.alerts("pending").await?;
            if calm == Some(1.0) && pending.is_empty() {
                break;
            }
            anyhow::ensure!(begun.elapsed() < CALM_WITHIN, "not calm: {pending:?}");
            tokio::time::sleep(EVERY).await;
        }
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let task = tokio::spawn(async move {
            loop {
                look(&prometheus, &shared).await;
                tokio::time::sleep(EVERY).await;
            }
        });
        Ok(Self { state, task })
    }

    /// The fault begins. Only the first one of a scenario counts.
    pub fn strike(&self) {
        let mut state = lock(&self.state);
        if state.struck.is_none() {
            state.struck = Some((Instant::now(), state.values.clone()));
        }
    }

    /// The observations; for a fault that is over soon, those in the scrapes after it.
    pub async fn seen(&self) -> Seen {
        let struck = lock(&self.state).struck.as_ref().map(|(at, _)| *at);
        if let Some(struck) = struck {
            tokio::time::sleep(LOOKS_FOR.saturating_sub(struck.elapsed())).await;
        }
        lock(&self.state).seen.clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(prometheus: &Prometheus, state: &Mutex<State>) {
    let mut now = BTreeMap::new();
    for (panel, signal, expression) in PANELS {
        if let Ok(value) = prometheus.value(expression).await {
            now.insert(format!("{panel}: {signal}"), value.unwrap_or(0.0));
        }
    }
    let pending = prometheus.alerts("pending").await.unwrap_or_default();
    let firing = prometheus.alerts("firing").await.unwrap_or_default();
    let alerts = pending.into_iter().chain(firing);
    let alerts: BTreeMap<String, f64> = alerts.map(|alert| (alert, 1.0)).collect();
    let mut state = lock(state);
    if let Some((begun, before)) = &state.struck {
        let after = begun.elapsed().as_secs_f64();
        let new =
            |(name, value): &(&String, &f64)| **value > before.get(*name).copied().unwrap_or(0.0);
        let panels: Vec<String> = now
            .iter()
            .filter(new)
            .map(|(name, _)| name.clone())
            .collect();
        let alerts: Vec<String> = alerts
            .iter()
            .filter(new)
            .map(|(name, _)| name.clone())
            .collect();
        for name in panels {
            state.seen.panels.entry(name).or_insert(after);
        }
        for name in alerts {
            state.seen.alerts.entry(name).or_insert(after);
        }
    }
    // A value that is away for a moment has not become less.
    state.values.extend(now);
    state.values.extend(alerts);
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A page with the table in its place, which two comments mark; without them, the table alone. Rows
/// of the page for scenarios that the table has not stay as they are.
#[must_use]
pub fn placed(page: &str, table: &str) -> String {
    const BEGIN: &str =
        "<!-- faults: written by scripts/faults.sh --observe docs/observability.md -->\n";
    const END: &str = "<!-- /faults -->";
    let parts = page.split_once(BEGIN);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    match parts {
        Some((before, (old, after))) => {
            format!("{before}{BEGIN}{}{END}{after}", merged(old, table))
        }
        None => table.to_owned(),
    }
}

/// The rows of both, in the order of the scenarios; where both have one, the new one.
fn merged(old: &str, new: &str) -> String {
    let mut rows: Vec<&str> = new.lines().collect();
    let measured: Vec<&str> = rows.iter().copied().filter_map(scenario_of).collect();
    let kept = |row: &&str| scenario_of(row).is_some_and(|name| !measured.contains(&name));
    rows.extend(old.lines().filter(kept));
    let place = |row: &&str| {
        let name = scenario_of(row);
        (crate::all().iter()).position(|scenario| name == Some(scenario.name))
    };
    rows.sort_by_key(place);
    rows.join("\n") + "\n"
}

/// The scenario of a row: the last word in quotes of its first cell. Headings have none.
fn scenario_of(row: &str) -> Option<&str> {
    let (_, name) = row.split('|').nth(1)?.rsplit_once("(`")?;
    Some(name.split_once("`)")?.0)
}

/// The outcomes as the table of docs/observability.md.
///
/// # Errors
/// When the rules cannot be read.
pub fn table(outcomes: &[Outcome]) -> anyhow::Result<String> {
    let rules = rules()?;
    let mut table = String::from(
        "| fault | on the overview, after | alerts: condition holds after, then `for` | what to do |\n\
         |---|---|---|---|\n",
    );
    for outcome in outcomes {
        let Some(seen) = &outcome.seen else { continue };
        let mut panels: Vec<(&String, &f64)> = seen.panels.iter().collect();
        panels.sort_by(|a, b| a.1.total_cmp(b.1));
        let panels = panels
            .into_iter()
            .take(4)
            .map(|(name, after)| format!("{name}, {after:.1} s"));
        let panels: Vec<String> = panels.chain(seen.told.iter().cloned()).collect();
        let mut alerts: Vec<(&String, &f64)> = seen.alerts.iter().collect();
        alerts.sort_by(|a, b| a.1.total_cmp(b.1));
        let alerts: Vec<String> = alerts
            .into_iter()
            .map(|(name, after)| {
                let rule = rules.iter().find(|rule| rule.alert.as_ref() == Some(name));
                let wait = rule.and_then(|rule| rule.wait.as_deref()).unwrap_or("0");
                format!("{name} {after:.1} s + {wait}")
            })
            .collect();
        let or_none = |list: Vec<String>| match list.len() {
            0 => "none".to_owned(),
            _ => list.join("<br>"),
        };
        // Writing to a text cannot fail.
        let _ = writeln!(
            table,
            "| {} (`{}`) | {} | {} | {} |",
            outcome.fault,
            outcome.name,
            or_none(panels),
            or_none(alerts),
            runbook_action_of(&outcome.name)
        );
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PANELS, placed, scenario_of};

    /// The table promises that the overview alone is enough.
    #[test]
    fn every_panel_is_on_the_overview() {
        let source = include_str!("../../../../grafana/src/pipeline/pipeline-overview.yml");
        let titles: BTreeSet<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("  - ")?.split_once(": "))
            .map(|(_, title)| title)
            .collect();
        for (panel, _, _) in PANELS {
            assert!(titles.contains(panel), "{panel} is not one of {titles:?}");
        }
    }

    #[test]
    fn the_table_goes_to_its_place() {
        let page = include_str!("../../../../docs/observability.md");
        let row = "| PostgreSQL (`stop`) (`disk-full`) | new |";
        let new = placed(page, &format!("| fault |\n|---|\n{row}\n"));
        let rows = |page: &str| {
            page.lines()
                .filter(|row| scenario_of(row).is_some())
                .count()
        };
        assert!(rows(&new) > 20, "no place in the page");
        assert_eq!(rows(&new), rows(page));
        assert!(new.contains(row) && new.contains("(`cluster-node-kill`) |"));
        assert_eq!(new.matches("(`disk-full`)").count(), 1);
        assert_eq!(placed(&new, &format!("| fault |\n|---|\n{row}\n")), new);
        assert_eq!(placed("", "| new |\n"), "| new |\n");
    }
}
