//! Who the NPCs are, what becomes of them, and one mailbox for each.

mod becoming;
mod body;
mod draw;
mod effect;
mod erased;
mod feeling;
mod goals;
mod mailbox;
mod mind;
mod personality;
mod phrase;
mod registry;
mod relationship;
mod saving;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;

pub use body::{Body, MAX_SCARS, Scar, Side, Wart};
pub use feeling::{Feeling, Probs};
pub use goals::Goals;
pub use mailbox::Place;
pub use mind::{Happening, IMPORTANCE, Mind};
pub use personality::{MAX_DRIFT, Personality};
pub use registry::Npcs;
pub use relationship::{MAX_PLAYERS, Relationships, Shift, toward_strangers};

use crate::archetype::{Pack, Trait};
use crate::chain::{Archetype, ChainError, Routes};
use crate::history::{JournalError, NpcRecord};
use crate::wire::{ErrorCode, NpcInfo, NpcJoin, NpcJoined};

/// Why an NPC could not be joined.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct NpcError {
    pub code: ErrorCode,
    pub message: String,
    pub field: Option<String>,
}

impl NpcError {
    /// The store could not say who an NPC is, or could not keep one. What exactly failed is for the log.
    fn storage(npc: &str, error: &JournalError) -> Self {
        tracing::error!(npc, %error, "an npc could not be read or stored");
        let message = "who this NPC is cannot be read or stored now; try again".to_owned();
        Self { code: ErrorCode::StorageFailed, message, field: None }
    }

    /// An archetype has a pack that cannot be used.
    fn pack(error: &ChainError) -> Self {
        Self::of(ErrorCode::UnknownArchetype, "archetype", error.to_string())
    }

    fn of(code: ErrorCode, field: &str, message: String) -> Self {
        Self { code, message, field: Some(field.to_owned()) }
    }
}

/// An NPC.
#[derive(Debug)]
pub struct Npc {
    /// What never changes of it.
    pub info: NpcInfo,
    pub pack: Arc<Pack>,
    /// What all of its kind answer with.
    archetype: Arc<Archetype>,
    /// As the first join gave it.
    personality: Option<BTreeMap<String, f32>>,
    /// No guard leaves a method.
    mind: parking_lot::Mutex<Mind>,
    /// The store does not have the last change of the mind.
    unsaved: AtomicBool,
    /// Those who are bringing it to the store, and whose turn it is.
    saving: AtomicUsize,
    writing: Mutex<()>,
    mailbox: Arc<Mutex<()>>,
    waiting: AtomicUsize,
    /// Sessions that have joined.
    joined: AtomicUsize,
    last_used: AtomicU64,
}

/// Milliseconds since 1970, UTC.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

impl Npc {
    /// An NPC as it is stored, of a known archetype.
    fn new(record: NpcRecord, kind: Arc<Archetype>) -> Self {
        let NpcRecord { id, archetype, name, seed, state } = record;
        let pack = Arc::clone(&kind.pack);
        Self {
            info: NpcInfo { id, name, archetype, seed, ..NpcInfo::default() },
            archetype: kind,
            personality: state.personality.clone(),
            mind: parking_lot::Mutex::new(Mind::new(seed, Arc::clone(&pack), state)),
            pack,
            unsaved: AtomicBool::new(false),
            saving: AtomicUsize::new(0),
            writing: Mutex::default(),
            mailbox: Arc::default(),
            waiting: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            last_used: AtomicU64::new(0),
        }
    }

    /// Looks into its mind. Short: nobody else does meanwhile. To change it: [`Npcs::change`].
    pub fn read<T>(&self, look: impl FnOnce(&Mind) -> T) -> T {
        look(&self.mind.lock())
    }

    /// To be stored, as it is now.
    fn record(&self) -> NpcRecord {
        let NpcInfo { id, name, archetype, seed, .. } = &self.info;
        let state = self.mind.lock().to_state(self.personality.clone());
        NpcRecord { id: id.clone(), archetype: archetype.clone(), name: name.clone(), seed: *seed, state }
    }

    /// What it feels where the model says `probs`, at a time in milliseconds since 1970.
    pub fn feels(&self, probs: Probs, at_ms: u64) -> Feeling {
        let (mood, sensitivity) = self.read(|mind| (mind.mood(at_ms), mind.personality().intensity()));
        Feeling::new(probs, mood, sensitivity)
    }

    /// Whether nobody needs it.
    fn is_left(&self) -> bool {
        self.joined.load(Ordering::Acquire) == 0 && self.waiting.load(Ordering::Acquire) == 0
    }

    /// Whether it may be forgotten: the store has all of it.
    fn is_unused(&self) -> bool {
        self.is_left() && self.saving.load(Ordering::Acquire) == 0 && !self.unsaved.load(Ordering::Acquire)
    }

    /// What its answers are made with from now on. A turn takes it once: what is promoted meanwhile is for the next one.
    pub fn routes(&self) -> Routes {
        self.archetype.routes(&self.info.id)
    }

    /// What everybody is told who joins it; what it thinks of whom is for them alone.
    pub fn told(&self) -> NpcJoined {
        let npc = self.read(|mind| NpcInfo {
            personality: Some(mind.personality().values().by_key()),
            body: Some(mind.body().to_map()),
            goals: Some(mind.goals(now_ms())),
            ..self.info.clone()
        });
        NpcJoined { npc, relationship: None, face: None, chain: self.archetype.info(&self.info.id) }
    }

    /// Checks that a join's definition, where it gives one, is this NPC's.
    fn check(&self, join: &NpcJoin) -> Result<(), NpcError> {
        check_traits(join)?;
        let differs = |field| {
            let message = format!("npc {:?} exists with another {field}", self.info.id);
            Err(NpcError::of(ErrorCode::BadPayload, field, message))
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

/// Checks that the traits that a join gives are among the fifty.
fn check_traits(join: &NpcJoin) -> Result<(), NpcError> {
    let mut keys = join.personality.iter().flatten().map(|(key, _)| key);
    let Some(unknown) = keys.find(|key| key.parse::<Trait>().is_err()) else { return Ok(()) };
    let message = format!(
        "there is no trait {unknown:?}; there are fifty, such as \"neo_trust\", which the documentation lists"
    );
    Err(NpcError::of(ErrorCode::BadPayload, &format!("personality.{unknown}"), message))
}
