//! Sending spans to a collector: OTLP, http/protobuf, from a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// How long the collector may take for one request, unless the variables say otherwise, in milliseconds.
const WITHIN: Duration = Duration::from_secs(10);
const TIMEOUTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The provider that the variables ask for; the exporter and the sampler read the others themselves.
pub fn provider(
    service: &'static str,
    allowed: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<Option<SdkTracerProvider>> {
    let Some((name, endpoint)) = ENDPOINTS
        .into_iter()
        .find_map(|name| Some((name, var(name)?)))
    else {
        return Ok(None);
    };
    if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || var("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
    {
        return Ok(None);
    }
    for name in [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ] {
        if let Some(protocol) = var(name).filter(|protocol| protocol != "http/protobuf") {
            bail!("{name}: there is no {protocol}, use http/protobuf (port 4318 of a collector)");
        }
    }
    allowed(&endpoint).context(name)?;
    let secure = endpoint.starts_with("https");
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(secure)?)
        .build()
        .map_err(|error| anyhow::anyhow!("traces: {error}"))?;
    let named = var("OTEL_SERVICE_NAME").is_some()
        || var("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|text| text.contains("service.name="));
    let mut resource = Resource::builder();
    if !named {
        resource = resource.with_service_name(service);
    }
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build(),
    ))
}

/// A client that blocks: it has a thread of its own, and no task waits for it.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    failing: AtomicBool,
}

impl Client {
    fn new(secure: bool) -> anyhow::Result<Self> {
        let within = TIMEOUTS
            .into_iter()
            .find_map(|name| var(name)?.parse().ok())
            .map_or(WITHIN, Duration::from_millis);
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(within))
            .http_status_as_error(false)
            .max_redirects(0);
        if secure {
            config = config.tls_config(
                TlsConfig::builder()
                    .unversioned_rustls_crypto_provider(Arc::new(
                        rustls::crypto::ring::default_provider(),
                    ))
                    .root_certs(RootCerts::Specific(Arc::new(authorities()?)))
                    .build(),
            );
        }
        Ok(Self {
            agent: config.build().into(),
            failing: AtomicBool::new(false),
        })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let response = self.agent.run(Request::from_parts(parts, &body[..]))?;
        let (parts, mut body) = response.into_parts();
        let body = body.read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }

    /// Reported once, not every time that spans are lost.
    fn told(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let reason = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let before = self.failing.swap(reason.is_some(), Ordering::Relaxed);
        match reason {
            Some(error) if !before => {
                tracing::warn!(event = "traces.lost", error, "the collector takes no spans");
            }
            None if before => {
                tracing::info!(event = "traces.sent", "the collector takes spans again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.send(request);
        self.told(&outcome);
        outcome
    }
}

/// Authorities that may have signed the collector's certificate.
fn authorities() -> anyhow::Result<Vec<Certificate<'static>>> {
    const NAMES: [&str; 2] = [
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    ];
    let der = match NAMES.into_iter().find_map(|name| Some((name, var(name)?))) {
        Some((name, file)) => CertificateDer::pem_file_iter(&file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("{name}: cannot read {file}"))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    Ok(der
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect())
}
