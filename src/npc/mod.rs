//! Who the NPCs are, and one mailbox for each: an NPC answers one line at a time, in the order of arrival.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::archetype::{Pack, Packs};
use crate::config;
use crate::history::Hot;
use crate::wire::{ChainInfo, ChainTask, ErrorCode, NpcInfo, NpcJoin, NpcJoined};

/// Why an NPC could not be joined.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct NpcError {
    pub code: ErrorCode,
    pub message: String,
    pub field: Option<&'static str>,
}

/// An NPC.
#[derive(Debug)]
pub struct Npc {
    pub info: NpcInfo,
    pub pack: Arc<Pack>,
    /// As the first join gave it; what it does comes with the NPC's mind.
    personality: Option<BTreeMap<String, f32>>,
    mailbox: Arc<Mutex<()>>,
    waiting: AtomicUsize,
    /// Sessions that have joined.
    joined: AtomicUsize,
    last_used: AtomicU64,
}

/// A line's place in the mailbox of an NPC, given back when it is dropped.
pub struct Place {
    npc: Arc<Npc>,
    queued: Queued,
    /// It counts among the lines that wait or are answered.
    counts: bool,
}

/// A place in the queue of a lock.
enum Queued {
    Waiting(Pin<Box<dyn Future<Output = OwnedMutexGuard<()>> + Send>>),
    /// Held for its end: the guard is never read.
    Reached {
        _guard: OwnedMutexGuard<()>,
    },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("npc", &self.npc.info.id).finish_non_exhaustive()
    }
}

impl Place {
    /// Waits until every earlier line is answered; from then on it is this one's turn until it is dropped.
    pub async fn reached(&mut self) {
        if let Queued::Waiting(lock) = &mut self.queued {
            let guard = lock.await;
            self.queued = Queued::Reached { _guard: guard };
        }
    }
}

impl Place {
    /// The line is answered: there is room for another one, whose turn comes when this place is dropped.
    pub fn vacate(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.npc.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.vacate();
    }
}

impl Npc {
    /// Takes a place in the mailbox; `None` if `limit` lines wait or are answered already. Lines are answered
    /// in the order of these calls.
    pub fn take_place(self: &Arc<Self>, limit: usize) -> Option<Place> {
        self.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1))
            .ok()?;
        // Tokio's mutex is fair from the first poll on. Polled here, not in the task that will wait: tasks do
        // not start in the order in which they were spawned.
        let mut lock = Box::pin(Arc::clone(&self.mailbox).lock_owned());
        let queued = match lock.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(guard) => Queued::Reached { _guard: guard },
            Poll::Pending => Queued::Waiting(lock),
        };
        Some(Place { npc: Arc::clone(self), queued, counts: true })
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

/// Every NPC that is known. No reference into the map leaves a method.
#[derive(Debug)]
pub struct Npcs {
    packs: Arc<Packs>,
    config: config::Npc,
    hot: Arc<Hot>,
    map: DashMap<String, Arc<Npc>>,
    clock: AtomicU64,
}

impl Npcs {
    /// `hot` forgets an NPC's conversations with it.
    pub fn new(packs: Arc<Packs>, config: config::Npc, hot: Arc<Hot>) -> Self {
        Self { packs, config, hot, map: DashMap::new(), clock: AtomicU64::new(0) }
    }

    /// Meets an NPC, and makes it if it is new.
    ///
    /// # Errors
    /// `unknown_npc` for a new id without an archetype, `unknown_archetype`, `bad_payload` for a definition
    /// that differs from the NPC's, `overloaded` when no more NPCs can be held.
    pub fn join(&self, join: &NpcJoin) -> Result<NpcJoined, NpcError> {
        self.enter(join, true)
    }

    /// Meets an NPC that exists.
    ///
    /// # Errors
    /// As [`Self::join`], and `forbidden` for a definition of a new one.
    pub fn join_existing(&self, join: &NpcJoin) -> Result<NpcJoined, NpcError> {
        self.enter(join, false)
    }

    fn enter(&self, join: &NpcJoin, may_create: bool) -> Result<NpcJoined, NpcError> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if !self.map.contains_key(&join.npc) {
            // Checked first: nobody is forgotten for an NPC that will not be.
            self.pack_of_new(join, may_create)?;
            if self.map.len() >= self.config.max_npcs {
                self.make_room()?;
            }
        }
        let npc = match self.map.entry(join.npc.clone()) {
            Entry::Occupied(entry) => {
                entry.get().check(join)?;
                // Counted while the entry is held, so that it cannot be forgotten in between.
                entry.get().joined.fetch_add(1, Ordering::AcqRel);
                Arc::clone(entry.get())
            }
            Entry::Vacant(entry) => {
                let npc = Arc::new(self.create(join, may_create)?);
                npc.joined.fetch_add(1, Ordering::AcqRel);
                entry.insert(Arc::clone(&npc));
                npc
            }
        };
        npc.last_used.store(now, Ordering::Relaxed);
        Ok(npc.told())
    }

    /// A session that had joined leaves.
    pub fn leave(&self, id: &str) {
        if let Some(npc) = self.map.get(id) {
            let joined = &npc.joined;
            // Never below zero, whatever the caller does.
            let _ = joined.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        }
    }

    /// The NPC with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Npc>> {
        self.map.get(id).map(|npc| {
            npc.last_used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            Arc::clone(&npc)
        })
    }

    /// The pack of an NPC that is to be made, if it may be.
    fn pack_of_new(&self, join: &NpcJoin, may_create: bool) -> Result<&Arc<Pack>, NpcError> {
        let refused = |code, field, message| Err(NpcError { code, message, field: Some(field) });
        let npc = &join.npc;
        let Some(archetype) = &join.archetype else {
            let message = format!("there is no npc {npc:?}; a new one needs an archetype");
            return refused(ErrorCode::UnknownNpc, "npc", message);
        };
        if !may_create {
            let message = format!(
                "there is no npc {npc:?}; making one needs the scope director, or create among the server's \
                 auth.play_grants"
            );
            return refused(ErrorCode::Forbidden, "archetype", message);
        }
        let Some(pack) = self.packs.get(archetype) else {
            let names = self.packs.names().collect::<Vec<_>>().join(", ");
            let message = format!("there is no pack for archetype {archetype:?}; there are: {names}");
            return refused(ErrorCode::UnknownArchetype, "archetype", message);
        };
        Ok(pack)
    }

    fn create(&self, join: &NpcJoin, may_create: bool) -> Result<Npc, NpcError> {
        let pack = self.pack_of_new(join, may_create)?;
        let seed = join.seed.unwrap_or_else(|| default_seed(&join.npc));
        let name = match &join.name {
            Some(name) => name.clone(),
            None if pack.names.is_empty() => pack.title.clone(),
            None => pack.names[(seed % pack.names.len() as u64) as usize].clone(),
        };
        Ok(Npc {
            info: NpcInfo {
                id: join.npc.clone(),
                name,
                archetype: pack.name.clone(),
                seed,
                ..NpcInfo::default()
            },
            pack: Arc::clone(pack),
            personality: join.personality.clone(),
            mailbox: Arc::default(),
            waiting: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            last_used: AtomicU64::new(0),
        })
    }

    /// Forgets the least recently used NPC that nobody has joined and that answers nobody, and what was said
    /// with it: its id may come back as somebody else.
    fn make_room(&self) -> Result<(), NpcError> {
        let oldest = self
            .map
            .iter()
            .filter(|npc| npc.is_unused())
            .min_by_key(|npc| npc.last_used.load(Ordering::Relaxed))
            .map(|npc| npc.key().clone());
        let gone = oldest.and_then(|id| self.map.remove_if(&id, |_, npc| npc.is_unused()));
        if let Some((id, _)) = gone {
            self.hot.forget_npc(&id);
            return Ok(());
        }
        Err(NpcError {
            code: ErrorCode::Overloaded,
            message: format!("{} NPCs are in use, as many as npc.max_npcs allows", self.config.max_npcs),
            field: None,
        })
    }
}

/// The same id gives the same seed on every server. Below 2⁵³, so that JSON clients keep every digit.
fn default_seed(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(bytes) & ((1 << 53) - 1)
}
