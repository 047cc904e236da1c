//! Wires everything once.

mod provision;
mod registrar;

pub use provision::trainer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::chain::{ChainError, Chains, Setup};
use crate::config::{self, AuthMode, Config};
use crate::engine::{Backend, Engine, EngineError, Script};
use crate::history::{Archive, ArchiveError, History, HistoryError, HotLimits, JournalError, WarmError};
use crate::http::{self, Door, Readiness, Tls, TlsError};
use crate::models::{Models, ModelsError};
use crate::npc::Npcs;
use crate::provision::Provisioner;
use crate::session::{Authenticator, Gateway, KeyError};
use crate::turn::{Hook, HookError, SetupError, Turns};
use crate::wire::EngineKind;

/// Conversations in the hot tier: enough for every session with a few NPCs each.
const HOT_CONVERSATIONS: usize = 50_000;

/// How long turns may take to end after the engine.
const LAST_TURNS: Duration = Duration::from_secs(5);

/// How long the journal may take for what became of NPCs last.
const LAST_CHANGES: Duration = Duration::from_secs(5);

/// How long what is done for an archetype may take to stop where it is.
const LAST_STEP: Duration = Duration::from_secs(5);

/// How long Redis may take for what happened last.
const LAST_MEMORIES: Duration = Duration::from_secs(2);

/// How often it is looked whether the engine lives.
const ENGINE_WATCH: Duration = Duration::from_secs(1);

/// Where the parts that are no settings lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The model folder.
    pub model: PathBuf,
}

/// Why the server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Of the packs and what is promoted of their adapters.
    #[error(transparent)]
    Chains(#[from] ChainError),
    /// Of `auth.keys`.
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address} (server.listen): {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    /// Of `server.data`.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Of `history.postgres_url` and what belongs to it. That Postgres is away is none.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Of the warm tier; names its setting.
    #[error(transparent)]
    Warm(#[from] WarmError),
    /// Of `moderation.url` and what belongs to it.
    #[error(transparent)]
    Moderation(#[from] HookError),
    /// Of `models.file`; names it.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// Of what turns are made with.
    #[error(transparent)]
    Turns(#[from] SetupError),
    /// Of what is stored of provisioning.
    #[error("provisioning: {0}")]
    Provision(std::io::Error),
    #[error("a part of the start stopped: {0}")]
    Loader(String),
    #[error("the engine's thread ended by itself")]
    EngineGone,
}

/// A server that is ready: its model is loaded and its port is open.
#[derive(Debug)]
pub struct App {
    door: Door,
    address: SocketAddr,
    gateway: Arc<Gateway>,
    turns: Arc<Turns>,
    engine: Backend,
    provisioner: Option<Arc<Provisioner>>,
}

impl App {
    /// Reads the files of keys and certificates that the settings name, so that a bad one is found before anything is
    /// fetched or loaded.
    ///
    /// # Errors
    /// [`StartError::Keys`], [`StartError::Tls`], [`StartError::Archive`].
    pub fn check(config: &Config) -> Result<(), StartError> {
        Authenticator::new(&config.auth)?;
        Tls::load(&config.server)?;
        Archive::check(&config.history)?;
        Hook::new(&config.moderation)?;
        Models::new(&config.models)?;
        Ok(())
    }

    /// Loads everything and opens the port. `paths`: where the model lies; `None`: a script answers in its place.
    ///
    /// # Errors
    /// [`StartError`]. An adapter that cannot be loaded is no reason not to start: it is logged and left out.
    pub async fn start(config: Config, paths: Option<Paths>) -> Result<Self, StartError> {
        // First, so that a port in use or a bad key is found before the model is read.
        let auth = Arc::new(Authenticator::new(&config.auth)?);
        let tls = Tls::load(&config.server)?;
        if config.auth.mode == AuthMode::Jwt {
            tracing::info!(keys = ?auth.key_names(), "tokens are checked with these keys");
        }
        if config.auth.mode == AuthMode::Jwt && tls.is_none() && !config.server.listen.ip().is_loopback() {
            tracing::warn!(
                "tokens come in the clear: set server.tls_cert, or let only a proxy with TLS reach this port"
            );
        }
        let address = config.server.listen;
        let listen = |source| StartError::Listen { address, source };
        let listener = http::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let history = open_history(&config).await?;
        let mut setup = Setup {
            folder: Some(config.packs.path.clone()).filter(|folder| !folder.as_os_str().is_empty()),
            engine: None,
            memory: config.engine.adapter_memory_mb << 20,
            data: Some(config.server.data.clone()),
            server: history.journal().identity().to_string(),
        };
        let served = paths.as_ref().map(|paths| paths.model.clone());
        let (engine, kind) = if let Some(paths) = paths {
            let engine = start_engine(paths, config.engine.clone()).await?;
            setup.engine = Some(engine.clone());
            (Backend::Model(engine), EngineKind::Model)
        } else {
            // Adapters take no part in a script, and no client is told that they did.
            (Backend::Scripted(Script::start(&config.engine)?), EngineKind::Scripted)
        };
        let chains = Chains::open(setup).await?;
        chains.publish(&config.history)?;
        let npcs = Arc::new(Npcs::new(Arc::clone(&chains), config.npc.clone(), Arc::clone(&history)));
        let turns = Turns::new(engine.clone(), Arc::clone(&npcs), history, &config)?;
        let config = Arc::new(config);
        let gateway = Gateway::new(Arc::clone(&config), auth, Arc::clone(&turns), npcs, kind);
        let door = Door::new(listener, tls);
        // A script has no use for adapters.
        let provisioner = if let Some(model) = served {
            let registry = Arc::new(registrar::Registry(chains));
            let provisioner = provision::open(&config, &model, registry).await?;
            gateway.provision_with(Arc::clone(&provisioner));
            Some(provisioner)
        } else {
            None
        };
        Ok(Self { door, address, gateway, turns, engine, provisioner })
    }

    /// Where it listens: the port that was given, or the one that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What runs turns.
    pub fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// The engine, for those who watch it.
    pub fn engine(&self) -> &Backend {
        &self.engine
    }

    /// Serves until `shutdown` is cancelled, then drains and stops the engine.
    ///
    /// # Errors
    /// [`StartError::EngineGone`] if the engine's thread ended by itself: whoever watches the process should
    /// start it again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartError> {
        let engine = self.engine.clone();
        let watched = self.engine.clone();
        let stop = shutdown.child_token();
        let (ending, stopped) = (stop.clone(), stop.clone());
        tokio::spawn(async move {
            while watched.is_running() && !ending.is_cancelled() {
                tokio::time::sleep(ENGINE_WATCH).await;
            }
            if !ending.is_cancelled() {
                tracing::error!("the engine's thread has ended; the server goes down");
                ending.cancel();
            }
        });
        let provisioning = self.provisioner.map(|provisioner| tokio::spawn(provisioner.run(stop.clone())));
        let readiness = Readiness::new(move || engine.is_running());
        if let Err(error) = http::serve(self.door, self.gateway, readiness, stop).await {
            tracing::error!(%error, "the server stopped");
        }
        stopped.cancel();
        if let Some(provisioning) = provisioning
            && tokio::time::timeout(LAST_STEP, provisioning).await.is_err()
        {
            tracing::warn!("provisioning was still in a step when the server stopped");
        }
        let engine = self.engine;
        // A join error means that stopping panicked; the process ends all the same.
        drop(tokio::task::spawn_blocking(move || engine.stop()).await);
        // The turns that nobody waits for any more are stored too, if they do not take long.
        if tokio::time::timeout(LAST_TURNS, self.turns.idle()).await.is_err() {
            tracing::warn!("turns were still ending when the server stopped");
        }
        let turns = self.turns;
        if tokio::time::timeout(LAST_CHANGES, turns.npcs().close()).await.is_err() {
            tracing::warn!("what became of NPCs in the last seconds was not stored");
        }
        if tokio::time::timeout(LAST_MEMORIES, turns.npcs().chains().close()).await.is_err() {
            tracing::warn!("Redis still says that this server hosts its chains, for an hour at most");
        }
        if tokio::time::timeout(LAST_MEMORIES, turns.history().warm().flush()).await.is_err() {
            tracing::warn!("the last memories were not written to Redis");
        }
        drop(tokio::task::spawn_blocking(move || turns.history().close()).await);
        if shutdown.is_cancelled() { Ok(()) } else { Err(StartError::EngineGone) }
    }
}

/// Opens the journal, which blocks.
async fn open_history(config: &Config) -> Result<Arc<History>, StartError> {
    let limits = HotLimits {
        conversations: HOT_CONVERSATIONS,
        window_min: config.turn.window_min,
        window_max: config.turn.window_max,
    };
    let (data, config) = (config.server.data.clone(), config.history.clone());
    let opened = tokio::task::spawn_blocking(move || History::open(&data, &config, limits)).await;
    opened.map_err(|error| StartError::Loader(error.to_string()))?.map_err(|error| match error {
        HistoryError::Archive(error) => error.into(),
        HistoryError::Journal(error) => error.into(),
        HistoryError::Warm(error) => error.into(),
        error => StartError::Loader(error.to_string()),
    })
}

/// Reads the model, which blocks, and starts its thread.
async fn start_engine(paths: Paths, config: config::Engine) -> Result<Engine, StartError> {
    let start = move || Engine::start(&paths.model, &paths.library, &config);
    let started = tokio::task::spawn_blocking(start).await;
    Ok(started.map_err(|error| StartError::Loader(error.to_string()))??)
}
