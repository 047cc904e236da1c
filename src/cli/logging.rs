//! Logs go to standard error, so that standard output holds results alone. Spans may go to a collector besides, see
//! [`super::otel`].

use std::io::{IsTerminal, stderr};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, FilterFn, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Below these levels libraries log what they carry: whole messages of WebSockets, and with them tokens and what players say;
/// what is written to Postgres. They hold whatever `log.level` says; where that lets nothing so low through anyway they must
/// not be said, for they would let more through.
const KEPT_OUT: [(&str, LevelFilter); 2] =
    [("tungstenite", LevelFilter::DEBUG), ("tokio_postgres", LevelFilter::INFO)];

/// One of those that see what is logged.
pub(super) type Sink = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging, once in a process.
pub(super) fn start(log: &Log) -> anyhow::Result<()> {
    start_with(vec![lines(log, filter(&log.level)?)])
}

/// The same, and with spans that are sent where the settings say, until what is returned is dropped.
pub(super) fn start_server(log: &Log) -> anyhow::Result<super::otel::Exporter> {
    let (exporter, spans) = super::otel::open(log)?;
    start_with(std::iter::once(lines(log, filter(&log.level)?)).chain(spans).collect())?;
    Ok(exporter)
}

/// The same, with a switch, for those who measure what it costs.
pub(super) fn start_switched(log: &Log) -> anyhow::Result<Switch> {
    let (filter, handle) = reload::Layer::new(filter(&log.level)?);
    start_with(vec![lines(log, filter)])?;
    Ok(Switch { level: log.level.clone(), handle })
}

/// Turns all logs and spans off, and on again.
#[derive(Debug)]
pub(super) struct Switch {
    level: String,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Switch {
    pub fn turn(&self, on: bool) -> anyhow::Result<()> {
        let filter = if on { filter(&self.level)? } else { EnvFilter::try_new("off")? };
        Ok(self.handle.reload(filter)?)
    }

    /// What is let through when it is on.
    pub fn level(&self) -> &str {
        &self.level
    }
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::try_new(level)?;
    let deepest = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    for (library, level) in KEPT_OUT {
        if deepest > level {
            filter = filter.add_directive(format!("{library}={level}").parse()?);
        }
    }
    Ok(filter)
}

/// Lets nothing through that is kept out, however a filter names it.
fn kept_out() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let is_of = |target: &str, library: &str| {
        target.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    filter_fn(move |event| {
        let mut kept_out = KEPT_OUT.iter().filter(|(library, _)| is_of(event.target(), library));
        kept_out.all(|(_, level)| event.level() <= level)
    })
    .with_max_level_hint(LevelFilter::TRACE)
}

/// The lines on standard error.
fn lines(log: &Log, filter: impl Filter<Registry> + Send + Sync + 'static) -> Sink {
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let filter = filter.and(kept_out());
    match log.format {
        LogFormat::Pretty => lines.compact().with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    }
}

fn start_with(sinks: Vec<Sink>) -> anyhow::Result<()> {
    let started = tracing_subscriber::registry().with(sinks).try_init();
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
