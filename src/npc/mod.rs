//! Who the NPCs are, and one mailbox for each.

mod feeling;
mod mailbox;
mod registry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Mutex;

use self::feeling::{Mood, Temper};

pub use feeling::{Feeling, Probs};
pub use mailbox::Place;
pub use registry::Npcs;

use crate::archetype::Pack;
use crate::history::{JournalError, NpcRecord};
use crate::wire::{ChainInfo, ChainTask, ErrorCode, NpcInfo, NpcJoin, NpcJoined};

/// Why an NPC could not be joined.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct NpcError {
    pub code: ErrorCode,
    pub message: String,
    pub field: Option<&'static str>,
}

impl NpcError {
    /// The store could not say who an NPC is, or could not keep one. What exactly failed is for the log.
    fn storage(npc: &str, error: &JournalError) -> Self {
        tracing::error!(npc, %error, "an npc could not be read or stored");
        let message = "who this NPC is cannot be read or stored now; try again".to_owned();
        Self { code: ErrorCode::StorageFailed, message, field: None }
    }

    fn of(code: ErrorCode, field: &'static str, message: String) -> Self {
        Self { code, message, field: Some(field) }
    }
}

/// An NPC.
#[derive(Debug)]
pub struct Npc {
    pub info: NpcInfo,
    pub pack: Arc<Pack>,
    /// As the first join gave it; what it does comes with the NPC's mind.
    personality: Option<BTreeMap<String, f32>>,
    /// What is left of what it felt; gone when it leaves memory.
    mood: parking_lot::Mutex<Mood>,
    mailbox: Arc<Mutex<()>>,
    waiting: AtomicUsize,
    /// Sessions that have joined.
    joined: AtomicUsize,
    last_used: AtomicU64,
}

impl Npc {
    /// An NPC as it is stored, with its archetype's pack.
    fn new(record: NpcRecord, pack: Arc<Pack>) -> Self {
        let NpcRecord { id, archetype, name, seed, state } = record;
        Self {
            info: NpcInfo { id, name, archetype, seed, ..NpcInfo::default() },
            pack,
            personality: state.personality,
            mood: parking_lot::Mutex::default(),
            mailbox: Arc::default(),
            waiting: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            last_used: AtomicU64::new(0),
        }
    }

    /// What it feels where the model says `probs`, at a time in milliseconds since 1970.
    pub fn feel(&self, probs: Probs, at_ms: u64) -> Feeling {
        self.mood.lock().feel(probs, Temper::default(), at_ms)
    }

    fn is_unused(&self) -> bool {
        self.joined.load(Ordering::Acquire) == 0 && self.waiting.load(Ordering::Acquire) == 0
    }

    /// What its answers are made with.
    pub fn chain(&self) -> ChainInfo {
        let tasks: BTreeMap<_, _> = self
            .pack
            .adapters
            .iter()
            .map(|(task, adapter)| {
                let chain = ChainTask { adapter: adapter.id.clone(), version: adapter.version.clone() };
                (task.to_string(), chain)
            })
            .collect();
        ChainInfo { archetype: self.pack.name.clone(), generic: tasks.is_empty(), tasks, services: None }
    }

    /// What those who join it are told.
    pub fn told(&self) -> NpcJoined {
        NpcJoined { npc: self.info.clone(), relationship: None, face: None, chain: self.chain() }
    }

    /// Checks that a join's definition, where it gives one, is this NPC's.
    fn check(&self, join: &NpcJoin) -> Result<(), NpcError> {
        let differs = |field| {
            Err(NpcError {
                code: ErrorCode::BadPayload,
                message: format!("npc {:?} exists with another {field}", self.info.id),
                field: Some(field),
            })
        };
        if join.archetype.as_ref().is_some_and(|a| *a != self.info.archetype) {
            return differs("archetype");
        }
        if join.name.as_ref().is_some_and(|n| *n != self.info.name) {
            return differs("name");
        }
        if join.seed.is_some_and(|s| s != self.info.seed) {
            return differs("seed");
        }
        if join.personality.is_some() && join.personality != self.personality {
            return differs("personality");
        }
        Ok(())
    }
}
