//! Settings: one file per concern, `config/default.toml` as their documentation and built-in default.
//!
//! A [`Config`] is made by [`Config::load`] or a [`Loader`] and never changes while the server runs.

mod auth;
mod engine;
mod error;
mod file;
mod history;
mod load;
mod log;
mod models;
mod moderation;
mod npc;
mod provision;
mod range;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod turn;

use std::path::Path;

pub use auth::{Auth, AuthMode, PlayGrant};
pub use engine::{AdapterPrecision, DecoderKind, Engine, EngineKind, KvPrecision, Provider};
pub use error::{ConfigError, Origin};
pub use file::read_file;
pub use history::History;
pub use load::Loader;
pub use log::{Log, LogFormat};
pub use models::{Models, Priority};
pub use moderation::{Direction, Moderation, OnFailure};
pub use npc::{BargeIn, Npc, OnOverload};
pub use provision::Provision;
pub use server::{MetricsAccess, Model, Packs, Server, Shutdown};
pub use session::Session;
pub use turn::{Track, Turn};

use serde::{Deserialize, Serialize};

/// Every setting of the server.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub model: Model,
    pub packs: Packs,
    pub provision: Provision,
    pub models: Models,
    pub engine: Engine,
    pub turn: Turn,
    pub npc: Npc,
    pub moderation: Moderation,
    pub history: History,
    pub session: Session,
    pub shutdown: Shutdown,
    pub log: Log,
}

impl Config {
    /// The settings of `config/default.toml`, then `file`, then the variables of `env` that start with
    /// `NPC_GATEWAY__`, then `sets` (`section.key=value`); what comes later wins.
    ///
    /// # Errors
    /// A [`ConfigError`] names the first setting that is unknown, of the wrong type or outside its range, and
    /// where it came from.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let mut loader = Loader::new()?;
        if let Some(file) = file {
            loader = loader.file(file)?;
        }
        loader = loader.env(env)?;
        for set in sets {
            loader = loader.assignment("--set", set)?;
        }
        loader.finish()
    }

    /// Checks what one setting's type and range cannot say. The error is the setting's name and what is
    /// wanted of it.
    fn validate(&self) -> Result<(), (&'static str, String)> {
        let Self { server, auth, engine, turn, history, log, .. } = self;
        history.check_redis()?;
        if auth.mode == AuthMode::Dev && !server.listen.ip().is_loopback() {
            return Err((
                "server.listen",
                "a loopback address such as 127.0.0.1, because auth.mode = \"dev\" trusts everybody".into(),
            ));
        }
        if auth.mode == AuthMode::Jwt && auth.keys.as_os_str().is_empty() {
            return Err(("auth.keys", "a folder with a key, because auth.mode is \"jwt\"".into()));
        }
        for (name, texts) in [("auth.issuers", &auth.issuers), ("auth.audiences", &auth.audiences)] {
            if texts.iter().any(String::is_empty) {
                return Err((name, "a list of texts that are not empty".into()));
            }
        }
        match (server.tls_cert.as_os_str().is_empty(), server.tls_key.as_os_str().is_empty()) {
            (true, false) => {
                return Err(("server.tls_cert", "set when server.tls_key is: TLS needs both".into()));
            }
            (false, true) => {
                return Err(("server.tls_key", "set when server.tls_cert is: TLS needs both".into()));
            }
            _ => {}
        }
        if !server.allowed_origins.iter().all(|origin| is_origin(origin)) {
            return Err((
                "server.allowed_origins",
                "a list of origins such as \"https://game.example\": a scheme, a host and maybe a port"
                    .into(),
            ));
        }
        if server.data.as_os_str().is_empty() {
            return Err(("server.data", "a folder".into()));
        }
        let twice = |(at, provider)| engine.providers[..at].contains(provider);
        if engine.providers.is_empty() || engine.providers.iter().enumerate().any(twice) {
            return Err(("engine.providers", "at least one provider, each once".into()));
        }
        if turn.max_tokens as usize >= engine.context {
            return Err((
                "turn.max_tokens",
                format!("less than engine.context, which is {}", engine.context),
            ));
        }
        if turn.stop.len() > 8 || turn.stop.iter().any(|stop| !(1..=64).contains(&stop.chars().count())) {
            return Err(("turn.stop", "at most 8 texts of 1 to 64 characters".into()));
        }
        if turn.window_min > turn.window_max {
            return Err((
                "turn.window_min",
                format!("at most turn.window_max, which is {}", turn.window_max),
            ));
        }
        if let Some(wanted) = history::bad_postgres_url(&history.postgres_url) {
            return Err(("history.postgres_url", wanted));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log.level) {
            return Err(("log.level", format!("a tracing filter such as \"info\": {error}")));
        }
        if let Some(wanted) = log.bad_otlp_url() {
            return Err(("log.otlp_url", wanted));
        }
        Ok(())
    }
}

/// Whether `text` is what a browser sends as `Origin`: `scheme://host[:port]`.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|host| {
        !host.is_empty() && !host.contains(|c: char| matches!(c, '/' | '?' | '#' | '@') || c.is_whitespace())
    })
}
