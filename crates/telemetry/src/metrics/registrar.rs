//! Makes metrics and registers them.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, Result,
};

/// Makes metrics of one registry. Every method fails when the name is taken.
#[derive(Debug)]
pub struct Registrar<'a>(&'a Registry);

#[allow(clippy::missing_errors_doc)]
impl<'a> Registrar<'a> {
    /// For a registry.
    #[must_use]
    pub const fn new(registry: &'a Registry) -> Self {
        Self(registry)
    }

    /// Registers a metric that is made already.
    pub fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    /// Counters that differ in their labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of whole numbers.
    pub fn int_gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    /// Gauges of whole numbers.
    pub fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    /// Gauges.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options)?)
    }

    /// Histograms.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }
}

/// Observes the same value `times` times: a value of a batch counts for each of its
/// messages.
pub fn observe(histogram: &Histogram, value: f64, times: u64) {
    let local = histogram.local();
    for _ in 0..times {
        local.observe(value);
    }
    local.flush();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_taken_once() {
        let registry = Registry::new();
        let registrar = Registrar::new(&registry);
        registrar.counter("a_total", "A.").unwrap();
        assert!(registrar.gauge("a_total", "B.").is_err());
    }

    #[test]
    fn a_value_counts_as_often_as_it_is_observed() {
        let registry = Registry::new();
        let histogram = Registrar::new(&registry)
            .histogram("a_seconds", "A.", &[1.0, 2.0])
            .unwrap();
        observe(&histogram, 1.5, 3);
        observe(&histogram, 0.5, 0);
        let page = crate::metrics::page(&registry).unwrap();
        assert!(page.contains("a_seconds_bucket{le=\"1\"} 0\n"), "{page}");
        assert!(page.contains("a_seconds_bucket{le=\"2\"} 3\n"), "{page}");
        assert!(page.contains("a_seconds_sum 4.5\n"), "{page}");
    }
}
