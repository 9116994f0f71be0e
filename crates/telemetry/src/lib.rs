//! The log, the metrics, the traces and the health of every program.
//!
//! Traces go from the publisher, through broker and worker, to the marts. Off, and costing nothing, unless
//! the usual variables of OpenTelemetry name a collector.

mod carrier;
mod export;
pub mod health;
mod log;
pub mod metrics;
mod rate_limited_log;

use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::{
    Link, Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use carrier::{extract, inject, of_text, to_text};
pub use log::{LogArgs, LogFormat};
pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::{SpanContext, SpanKind, Status};
pub use rate_limited_log::{RateLimitedLog, Told};

/// Maximum number of links of a span. A batch may have thousands of messages, and collectors cut off longer lists.
pub const MOST_LINKS: usize = 128;

/// The destination of spans.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A span. It ends when it is dropped.
pub struct Span(opentelemetry_sdk::trace::Span);

/// The beginning of a span.
#[derive(Debug)]
pub struct Start {
    /// Name, of few values.
    pub name: String,
    /// Kind.
    pub kind: SpanKind,
    /// When.
    pub at: SystemTime,
    /// The span of which it is a part.
    pub parent: Option<SpanContext>,
    /// The spans that it comes from; the first [`MOST_LINKS`] are kept.
    pub links: Vec<SpanContext>,
    /// Its attributes.
    pub attributes: Vec<KeyValue>,
}

impl Traces {
    /// As the variables say; `None` when none names a collector, or tracing is switched off.
    /// `service` is the name unless they give another one; `allowed` decides whether spans may be
    /// sent to the collector's URL.
    ///
    /// # Errors
    /// When they ask for something that is not there, and the refusal of `allowed`.
    pub fn from_env(
        service: &'static str,
        allowed: impl FnOnce(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(provider) = export::provider(service, allowed)? else {
            return Ok(None);
        };
        let tracer = provider.tracer("acequia");
        Ok(Some(Self { provider, tracer }))
    }

    /// Starts a span.
    #[must_use]
    pub fn start(&self, start: Start) -> Span {
        let links = start.links.into_iter().take(MOST_LINKS);
        let builder = self
            .tracer
            .span_builder(start.name)
            .with_kind(start.kind)
            .with_start_time(start.at)
            .with_links(links.map(Link::with_context).collect())
            .with_attributes(start.attributes);
        let context = match start.parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Span(builder.start_with_context(&self.tracer, &context))
    }

    /// Sends the remaining spans. Blocks until it is done, or until it has taken too long.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(event = "traces.lost", %error, "spans were not sent");
        }
    }
}

impl Span {
    /// The context by which other spans refer to it.
    #[must_use]
    pub fn context(&self) -> SpanContext {
        self.0.span_context().clone()
    }

    /// Adds what was found out.
    pub fn set(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        self.0.set_attributes(attributes);
    }

    /// Marks it as failed, by a reason that holds no data.
    pub fn fail(&mut self, reason: String) {
        self.0.set_status(Status::error(reason));
    }

    /// A span of the log: lines inside it carry the ids of this one.
    #[must_use]
    pub fn of_log(&self) -> tracing::Span {
        let context = self.0.span_context();
        // On the level of errors, so that no filter takes the ids from a line that it lets pass.
        tracing::error_span!("trace", trace_id = %context.trace_id(), span_id = %context.span_id())
    }
}
