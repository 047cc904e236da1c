//! Spans for an OpenTelemetry Collector: OTLP over HTTP, batches of protobuf. What they are is in `docs/tracing.md`.
//!
//! Only what this program itself traces is sent, and of events those of level info and above: nothing that a player says
//! is in either.

#[cfg(feature = "otel")]
mod sending;
#[cfg(feature = "otel")]
mod spans;

#[cfg(feature = "otel")]
pub(super) use self::spans::{Exporter, open};
#[cfg(not(feature = "otel"))]
pub(super) use self::without::{Exporter, open};

#[cfg(not(feature = "otel"))]
mod without {
    use crate::cli::logging::Sink;
    use crate::config::Log;

    /// Sends nothing.
    #[derive(Debug)]
    pub struct Exporter;

    /// The settings are known to ask for nothing.
    #[allow(clippy::unnecessary_wraps)] // As the one that can fail.
    pub fn open(_: &Log) -> anyhow::Result<(Exporter, Option<Sink>)> {
        Ok((Exporter, None))
    }
}
