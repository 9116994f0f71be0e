//! Metrics of the archive.

use acequia_archive::session::Interrupted;
use acequia_contracts::Domain;
use acequia_telemetry::metrics::Registrar;
use prometheus::{IntCounterVec, Result};

/// Outcomes of a run.
const OUTCOMES: [&str; 3] = ["ok", "failed", "interrupted"];

/// Metrics of the archive loop.
#[derive(Debug)]
pub struct Archive {
    runs: IntCounterVec,
}

impl Archive {
    pub(super) fn new(registrar: &Registrar<'_>, domains: &[&'static Domain]) -> Result<Self> {
        let runs = registrar.counters(
            "acequia_archive_runs_total",
            "Runs of the archive loop: by schedule, and to bring back what late rows wait for.",
            &["domain", "kind", "outcome"],
        )?;
        for domain in domains {
            for kind in ["archive", "restore"] {
                for outcome in OUTCOMES {
                    runs.with_label_values(&[domain.name, kind, outcome]);
                }
            }
        }
        Ok(Self { runs })
    }

    /// A run has ended.
    pub fn ended<T>(&self, domain: &str, kind: &str, outcome: &anyhow::Result<T>) {
        let outcome = match outcome {
            Ok(_) => "ok",
            Err(error) if error.is::<Interrupted>() => "interrupted",
            Err(_) => "failed",
        };
        self.runs.with_label_values(&[domain, kind, outcome]).inc();
    }
}
