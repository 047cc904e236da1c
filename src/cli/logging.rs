//! Logs go to standard error, so that standard output holds results alone.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// With `trace` the WebSocket library logs whole messages, and with them tokens and what players say, and with `debug` two
/// lines for every close, also where `log.level` is higher. It holds whatever that says.
const NO_MESSAGES: &str = "tungstenite=info";

/// Starts logging, once in a process.
pub(super) fn start(log: &Log) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&log.level)?.add_directive(NO_MESSAGES.parse()?))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let started = match log.format {
        LogFormat::Pretty => builder.compact().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
