//! The registry of chains: which adapters each archetype's characters answer with, which versions of them there are, and
//! which one is in use.
//!
//! A turn's way is explicit: NPC → archetype → chain → the adapter of the task, else the base model. A [`Chain`] never
//! changes. Promoting makes another one and puts it in the place of the last; turns that began go on with what they took
//! ([`Routes`]).

mod change;
mod error;
mod loading;
mod packs;
mod publish;
mod reasons;
mod report;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub use self::error::ChainError;
pub use self::reasons::{Reasons, reason};
pub use self::report::{AdapterReport, CanaryReport, ChainReport, Hosted, InUse, TaskReport};
pub use self::snapshot::{Canary, Chain, Link, Routes, Version};
pub use self::state::StateError;

use self::publish::Publisher;
use self::report::Described;
use self::state::{State, Store};
use crate::archetype::{Pack, Packs, Versions};
use crate::config;
use crate::engine::Engine;
use crate::face::Tables;
use crate::history::WarmError;
use crate::wire::ChainInfo;

/// An archetype: its pack, and what its characters answer with now.
#[derive(Debug)]
pub struct Archetype {
    pub pack: Arc<Pack>,
    chain: RwLock<Arc<Chain>>,
    /// As its folder was seen last.
    versions: RwLock<Arc<Versions>>,
}

impl Archetype {
    fn new(pack: Arc<Pack>, chain: Chain) -> Self {
        let versions = Arc::new(pack.versions.clone());
        Self { pack, chain: RwLock::new(Arc::new(chain)), versions: RwLock::new(versions) }
    }

    /// What its characters answer with now.
    pub fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.chain.read())
    }

    /// The same as one NPC meets it: to be held for a whole turn.
    pub fn routes(&self, npc: &str) -> Routes {
        Routes::new(self.chain(), npc)
    }

    /// What clients are told of it.
    pub fn info(&self, npc: &str) -> ChainInfo {
        ChainInfo { services: self.pack.services.clone(), ..self.routes(npc).info(&self.pack.name) }
    }

    fn versions(&self) -> Arc<Versions> {
        Arc::clone(&self.versions.read())
    }
}

/// What chains are made with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The folder of packs; `None`: those built into the binary, and no others are found later.
    pub folder: Option<PathBuf>,
    /// `None`: adapters take no part.
    pub engine: Option<Engine>,
    /// Bytes for adapters (`engine.adapter_memory_mb`).
    pub memory: usize,
    /// The server's folder; `None`: what is promoted is not kept.
    pub data: Option<PathBuf>,
    /// What other servers know this one by.
    pub server: String,
}

/// All chains of a server. A guard of a lock never leaves a method.
#[derive(Debug)]
pub struct Chains {
    setup: Setup,
    store: Option<Store>,
    tables: Arc<Tables>,
    archetypes: RwLock<BTreeMap<String, Arc<Archetype>>>,
    /// Packs that were dropped into the folder and cannot be used: the reason that was logged.
    refused: Mutex<BTreeMap<String, String>>,
    /// Held while anything changes: one change at a time.
    changing: tokio::sync::Mutex<Changing>,
    /// What the files of versions said, until they change.
    described: Mutex<HashMap<PathBuf, Described>>,
    reasons: Reasons,
    publisher: OnceLock<Publisher>,
    /// Something has changed that others are told of.
    changed: Notify,
    started_ms: u64,
}

/// What only changes touch.
#[derive(Debug, Default)]
struct Changing {
    /// As it is on the disk.
    state: State,
    /// Versions that the engine knows, by their key.
    loaded: HashMap<Arc<str>, Arc<Version>>,
}

impl Chains {
    /// Reads the packs and loads the adapters that are in use. One that cannot be loaded is logged, and the version
    /// before it is used, or none.
    ///
    /// # Errors
    /// [`ChainError::Packs`] and [`ChainError::Look`] for a pack that is wrong, [`ChainError::State`].
    pub async fn open(setup: Setup) -> Result<Arc<Self>, ChainError> {
        let packs = Packs::load(setup.folder.as_deref())?;
        let store = setup.data.as_deref().map(Store::new);
        let state = store.as_ref().map(Store::read).transpose()?.unwrap_or_default();
        let chains = Self::new(setup, store, state)?;
        let mut changing = chains.changing.lock().await;
        for pack in packs.iter() {
            chains.check_look(pack)?;
            let archetype = chains.assemble(&mut changing, Arc::clone(pack)).await;
            chains.archetypes.write().insert(pack.name.clone(), Arc::new(archetype));
        }
        drop(changing);
        Ok(Arc::new(chains))
    }

    /// Chains of packs that answer with the base model alone.
    ///
    /// # Errors
    /// [`ChainError::Look`].
    pub fn generic(packs: &Packs) -> Result<Arc<Self>, ChainError> {
        let chains = Self::new(Setup::default(), None, State::new())?;
        for pack in packs.iter() {
            chains.check_look(pack)?;
            let archetype = Archetype::new(Arc::clone(pack), Chain::default());
            chains.archetypes.write().insert(pack.name.clone(), Arc::new(archetype));
        }
        Ok(Arc::new(chains))
    }

    fn new(setup: Setup, store: Option<Store>, state: State) -> Result<Self, ChainError> {
        Ok(Self {
            setup,
            store,
            tables: Tables::built_in()?,
            archetypes: RwLock::default(),
            refused: Mutex::default(),
            changing: tokio::sync::Mutex::new(Changing { state, ..Changing::default() }),
            described: Mutex::default(),
            reasons: Reasons::default(),
            publisher: OnceLock::new(),
            changed: Notify::new(),
            started_ms: now_ms(),
        })
    }

    /// Chains with the adapters of the packs, as if an engine had loaded them.
    ///
    /// # Panics
    /// Never: nothing is read.
    #[cfg(test)]
    pub(crate) fn unchecked(packs: &Packs) -> Arc<Self> {
        let chains = Self::new(Setup::default(), None, State::new()).unwrap();
        for pack in packs.iter() {
            let link = |(task, adapter): (_, &crate::archetype::PackAdapter)| {
                let promoted = Some(Arc::new(tests::version(adapter)));
                (task, Link { promoted, canary: None })
            };
            let links = pack.adapters().into_iter().map(link).collect();
            let archetype = Archetype::new(Arc::clone(pack), Chain { links, since_ms: 0 });
            chains.archetypes.write().insert(pack.name.clone(), Arc::new(archetype));
        }
        Arc::new(chains)
    }

    /// Tells Redis of the chains from now on, if one is set.
    ///
    /// # Errors
    /// [`WarmError`] for settings of Redis that cannot be used. That it is away is none.
    pub fn publish(self: &Arc<Self>, config: &config::History) -> Result<(), WarmError> {
        if let Some(publisher) = Publisher::start(config, self)? {
            // There is one already only if this is called twice, and then that one goes on.
            drop(self.publisher.set(publisher));
        }
        Ok(())
    }

    /// Who hosts which chain, by archetype; `None`: no Redis is set, or it does not answer.
    pub async fn hosts(&self) -> Option<BTreeMap<String, Vec<Hosted>>> {
        self.publisher.get()?.hosts().await
    }

    /// Takes back what was said in Redis.
    pub async fn close(&self) {
        if let Some(publisher) = self.publisher.get() {
            publisher.close().await;
        }
    }

    /// An archetype that is known.
    pub fn get(&self, name: &str) -> Option<Arc<Archetype>> {
        self.archetypes.read().get(name).cloned()
    }

    /// All archetypes that are known, in alphabetical order.
    pub fn all(&self) -> Vec<Arc<Archetype>> {
        self.archetypes.read().values().cloned().collect()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.archetypes.read().keys().cloned().collect()
    }

    /// Why turns were answered with what they were.
    pub fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// The folder that packs are dropped into.
    pub fn folder(&self) -> Option<&Path> {
        self.setup.folder.as_deref()
    }

    /// Packs that lie in the folder and cannot be used, and why.
    pub fn refused(&self) -> BTreeMap<String, String> {
        self.refused.lock().clone()
    }
}

/// Milliseconds since 1970, UTC.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
