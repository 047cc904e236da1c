//! Wires everything once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::archetype::{PackError, Packs};
use crate::config::Config;
use crate::engine::{Engine, EngineError};
use crate::history::{Hot, HotLimits};
use crate::npc::Npcs;
use crate::turn::Turns;

/// Conversations in the hot tier: enough for every session with a few NPCs each.
const HOT_CONVERSATIONS: usize = 50_000;

/// Where the parts that are no settings lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The model folder.
    pub model: PathBuf,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Packs(#[from] PackError),
    #[error("cannot listen on {address} (server.listen): {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}
