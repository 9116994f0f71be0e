//! The process itself: version, memory, runtime, log.

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Counter, Gauge, Registry, Result};
use tokio::runtime::Handle;

use super::Registrar;
use super::log::Counters;

/// Metrics that every program has about itself.
#[derive(Debug)]
pub struct Process {
    workers: Gauge,
    tasks: Gauge,
    queued: Gauge,
    busy: Counter,
}

impl Process {
    /// Registers everything; `component` names the program.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry, component: &str, version: &str) -> Result<Self> {
        let registrar = Registrar::new(registry);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        registrar
            .int_gauges(
                "acequia_build_info",
                "Constant 1; the version is in the label.",
                &["component", "version"],
            )?
            .with_label_values(&[component, version])
            .set(1);
        if let Some(counters) = Counters::of_process() {
            registrar.register(counters.events.clone())?;
            registrar.register(counters.panics.clone())?;
            registrar.register(counters.dropped.clone())?;
        }
        Ok(Self {
            workers: registrar.gauge(
                "acequia_tokio_workers",
                "Threads of the runtime that run tasks.",
            )?,
            tasks: registrar.gauge("acequia_tokio_alive_tasks", "Tasks alive in the runtime.")?,
            queued: registrar.gauge(
                "acequia_tokio_global_queue_depth",
                "Tasks that wait in the runtime's global queue.",
            )?,
            busy: registrar.register(Counter::new(
                "acequia_tokio_busy_seconds_total",
                "Time that the runtime's threads were busy, all together.",
            )?)?,
        })
    }

    /// Looks at the log and at the runtime of the calling task, before the page is written.
    pub fn look(&self) {
        if let Some(counters) = Counters::of_process() {
            counters.look();
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let runtime = runtime.metrics();
        let busy: Duration = (0..runtime.num_workers())
            .map(|worker| runtime.worker_total_busy_duration(worker))
            .sum();
        self.workers.set(runtime.num_workers() as f64);
        self.tasks.set(runtime.num_alive_tasks() as f64);
        self.queued.set(runtime.global_queue_depth() as f64);
        // The runtime's own count never falls.
        let more = busy.as_secs_f64() - self.busy.get();
        self.busy.inc_by(more.max(0.0));
    }
}
