//! Logs go to standard error, so that standard output holds results alone.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Below this the WebSocket library logs whole messages, and with them tokens and what players say. It holds whatever
/// `log.level` says; where that lets nothing so low through anyway it must not be said, for it would let more through.
const NO_MESSAGES: &str = "tungstenite=debug";

/// Starts logging, once in a process.
pub(super) fn start(log: &Log) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&log.level)?;
    if filter.max_level_hint().is_none_or(|level| level > LevelFilter::DEBUG) {
        filter = filter.add_directive(NO_MESSAGES.parse()?);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let started = match log.format {
        LogFormat::Pretty => builder.compact().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
