//! Data quality, as far as this process checked it. The latest results are gauges of the database.

use acequia_contracts::Domain;
use acequia_store::quality::Checked;
use acequia_telemetry::metric_set;
use acequia_telemetry::metrics::Registrar;
use prometheus::Result;
use tracing::{info, warn};

use super::WORK;

const SEVERITIES: [&str; 2] = ["warn", "error"];
const OUTCOMES: [&str; 4] = ["pass", "warn", "fail", "error"];

metric_set! {
    /// Metrics of the check loop.
    pub struct Quality {
        seconds: histograms(
            "acequia_check_duration_seconds",
            "One run of the rules of a domain.",
            &["domain"], WORK,
        ),
        results: counters(
            "acequia_dq_results_total",
            "Results of rules, by severity and outcome.",
            &["domain", "severity", "outcome"],
        ),
    }
}

impl Quality {
    pub(super) fn new(registrar: &Registrar<'_>, domains: &[&'static Domain]) -> Result<Self> {
        let metrics = Self::register(registrar)?;
        for domain in domains {
            metrics.seconds.with_label_values(&[domain.name]);
            for severity in SEVERITIES {
                for outcome in OUTCOMES {
                    metrics
                        .results
                        .with_label_values(&[domain.name, severity, outcome]);
                }
            }
        }
        Ok(metrics)
    }

    /// The rules of a domain ran.
    pub fn checked(&self, domain: &str, results: &[Checked]) {
        let mut failed = 0;
        let mut milliseconds = 0.0;
        for result in results {
            milliseconds += result.duration_ms;
            self.results
                .with_label_values(&[domain, &result.severity, &result.outcome])
                .inc();
            if result.outcome != "pass" {
                failed += 1;
                warn!(
                    event = "dq.failed",
                    domain,
                    rule = result.rule,
                    severity = result.severity,
                    outcome = result.outcome,
                    failing = result.failing_count,
                    "data quality rule not passed"
                );
            }
        }
        info!(
            event = "dq.checked",
            domain,
            rules = results.len(),
            failed,
            "checked"
        );
        self.seconds
            .with_label_values(&[domain])
            .observe(milliseconds / 1000.0);
    }
}
