//! Which spans are sent, and as what.

use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;

use super::sending::Sender;
use crate::cli::logging::Sink;
use crate::config::Log;

/// What is traced here has a target that begins so.
const OWN: &str = env!("CARGO_CRATE_NAME");
/// How long the last batch may take.
const LAST_BATCH: Duration = Duration::from_secs(5);

/// Sends spans until it is dropped; then those that are not sent yet.
#[derive(Debug)]
pub struct Exporter(Option<SdkTracerProvider>);

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(LAST_BATCH)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// `None`: the settings ask for nothing.
///
/// # Errors
/// The exporter does not take the settings, or there are no certificates to check the collector with.
pub fn open(log: &Log) -> anyhow::Result<(Exporter, Option<Sink>)> {
    if log.otlp_url.is_empty() {
        return Ok((Exporter(None), None));
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender::new().context("spans cannot be sent")?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&log.otlp_url)
        .build()
        .with_context(|| format!("setting log.otlp_url: {}", log.otlp_url))?;
    let resource = Resource::builder()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        // What comes of a frame is sent as a whole or not at all.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(log.otlp_share))))
        .with_resource(resource)
        .build();
    let deepest = if log.otlp_steps { Level::TRACE } else { Level::DEBUG };
    let wanted = move |metadata: &Metadata<'_>| {
        let most = if metadata.is_span() { deepest } else { Level::INFO };
        metadata.target().starts_with(OWN) && *metadata.level() <= most
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(wanted).with_max_level_hint(LevelFilter::from_level(deepest)))
        .boxed();
    Ok((Exporter(Some(provider)), Some(spans)))
}
