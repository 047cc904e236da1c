//! Settings: one file per concern, `config/default.toml` as their documentation and built-in default.
//!
//! A [`Config`] is made by [`Config::load`] and never changes while the server runs.

mod auth;
mod engine;
mod log;
mod npc;
mod server;
mod session;
mod turn;

pub use auth::{Auth, AuthMode};
pub use engine::{Engine, DecoderKind, Provider};
pub use log::{Log, LogFormat};
pub use npc::{Npc, OnOverload};
pub use server::{Model, Packs, Server, Shutdown};
pub use session::Session;
pub use turn::Turn;

use serde::Deserialize;

/// Every setting of the server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub model: Model,
    pub packs: Packs,
    pub engine: Engine,
    pub turn: Turn,
    pub npc: Npc,
    pub session: Session,
    pub shutdown: Shutdown,
    pub log: Log,
}
