//! Structs of metrics.

/// Declares a struct of metrics, and `register`, which makes and registers them. Each entry is a method of
/// [`Registrar`](crate::metrics::Registrar) with its arguments: `received: counters("a_total", "Messages.", &["queue"])`.
/// The sentence of a metric is its help on the page and the documentation of its field.
#[macro_export]
macro_rules! metric_set {
    (@type counter) => { ::prometheus::IntCounter };
    (@type counters) => { ::prometheus::IntCounterVec };
    (@type gauge) => { ::prometheus::Gauge };
    (@type gauges) => { ::prometheus::GaugeVec };
    (@type int_gauge) => { ::prometheus::IntGauge };
    (@type int_gauges) => { ::prometheus::IntGaugeVec };
    (@type histogram) => { ::prometheus::Histogram };
    (@type histograms) => { ::prometheus::HistogramVec };
    (
        $(#[$about:meta])*
        $visible:vis struct $Set:ident {
            $($seen:vis $field:ident: $make:ident($name:literal, $help:literal $(, $more:expr)* $(,)?),)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug)]
        $visible struct $Set {
            $(#[doc = $help] $seen $field: $crate::metric_set!(@type $make),)*
        }

        impl $Set {
            /// Makes and registers all of them.
            ///
            /// # Errors
            /// When a name is taken.
            $visible fn register(
                registrar: &$crate::metrics::Registrar<'_>,
            ) -> ::prometheus::Result<Self> {
                Ok(Self {
                    $($field: registrar.$make($name, $help $(, $more)*)?,)*
                })
            }
        }
    };
}
