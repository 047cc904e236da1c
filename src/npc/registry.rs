//! Every NPC that there is: those in use in memory, all of them in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard, RwLockReadGuard};

use super::erased::Erasures;
use super::saving::Saver;
use super::{Npc, NpcError, check_traits};
use crate::chain::{Archetype, Chains};
use crate::config;
use crate::history::{History, NpcRecord, NpcState};
use crate::wire::{ErrorCode, NpcJoin, NpcJoined};

/// So many NPCs can be fetched or made at the same time.
const LOCKS: usize = 64;

/// The NPCs. No reference into the map leaves a method.
#[derive(Debug)]
pub struct Npcs {
    chains: Arc<Chains>,
    config: config::Npc,
    pub(super) history: Arc<History>,
    /// Those that somebody uses, or used lately.
    pub(super) map: DashMap<String, Arc<Npc>>,
    /// Held while an NPC is fetched or made, by its id: of two who make one, the first decides who it is.
    making: [Mutex<()>; LOCKS],
    clock: AtomicU64,
    pub(super) saver: Saver,
    pub(super) erasures: Erasures,
}

impl Npcs {
    pub fn new(chains: Arc<Chains>, config: config::Npc, history: Arc<History>) -> Self {
        let making = std::array::from_fn(|_| Mutex::default());
        let saver = Saver::new(Arc::clone(&history));
        let erasures = Erasures::default();
        Self {
            chains,
            config,
            history,
            map: DashMap::new(),
            making,
            clock: AtomicU64::new(0),
            saver,
            erasures,
        }
    }

    /// Meets an NPC, and makes it if it is new and `may_create`. A new one is on the disk when this returns.
    ///
    /// # Errors
    /// `unknown_npc` for a new id without an archetype, `forbidden` if it may not be made, `unknown_archetype`,
    /// `bad_payload` for a definition that differs from the NPC's, `overloaded` when no more NPCs can be held,
    /// `storage_failed`.
    pub async fn join(&self, join: &NpcJoin, may_create: bool) -> Result<NpcJoined, NpcError> {
        if let Some(joined) = self.meet(join) {
            return joined;
        }
        let _making = self.lock(&join.npc).await;
        // Who is erased meanwhile is not brought back by it.
        let still = self.saver.still().await;
        if let Some(joined) = self.meet(join) {
            return joined;
        }
        let npc = if let Some(npc) = self.stored(&join.npc).await? {
            npc.check(join)?;
            self.make_room(&still).await?;
            npc
        } else {
            let (record, archetype) = self.create(join, may_create).await?;
            // Nobody is forgotten, and nothing is written, for an NPC that will not be.
            self.make_room(&still).await?;
            let npc = Npc::new(record, archetype);
            let stored = self.history.journal().put_npc(&npc.record()).await;
            stored.map_err(|error| NpcError::storage(&join.npc, &error))?;
            npc
        };
        npc.joined.fetch_add(1, Ordering::AcqRel);
        npc.last_used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let joined = npc.told();
        self.map.insert(join.npc.clone(), Arc::new(npc));
        Ok(joined)
    }

    /// Joins an NPC that is in memory; `None`: it is not.
    fn meet(&self, join: &NpcJoin) -> Option<Result<NpcJoined, NpcError>> {
        // The entry is held while it is counted, so that the NPC cannot be forgotten in between.
        let Entry::Occupied(entry) = self.map.entry(join.npc.clone()) else { return None };
        let npc = entry.get();
        Some(npc.check(join).map(|()| {
            npc.joined.fetch_add(1, Ordering::AcqRel);
            npc.last_used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            npc.told()
        }))
    }

    /// NPCs in memory.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Those of them whose changes are yet to be stored.
    pub fn unsaved(&self) -> usize {
        self.saver.waiting()
    }

    /// The archetypes that NPCs are of, and what each answers with.
    pub fn chains(&self) -> &Arc<Chains> {
        &self.chains
    }

    /// A session that had joined leaves.
    pub fn leave(&self, id: &str) {
        if let Some(npc) = self.map.get(id) {
            let joined = &npc.joined;
            // Never below zero, whatever the caller does.
            let _ = joined.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        }
    }

    /// The NPC with this id, if it is in memory, as every NPC is that somebody has joined.
    pub fn get(&self, id: &str) -> Option<Arc<Npc>> {
        self.map.get(id).map(|npc| {
            npc.last_used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            Arc::clone(&npc)
        })
    }

    /// The NPC with this id, wherever it is.
    ///
    /// # Errors
    /// `storage_failed`, `unknown_archetype`.
    pub async fn find(&self, id: &str) -> Result<Option<Arc<Npc>>, NpcError> {
        match self.get(id) {
            Some(npc) => Ok(Some(npc)),
            None => Ok(self.stored(id).await?.map(Arc::new)),
        }
    }

    pub(super) async fn lock(&self, id: &str) -> MutexGuard<'_, ()> {
        // Any digest would do.
        let lock = default_seed(id) % LOCKS as u64;
        self.making[lock as usize].lock().await
    }

    /// An NPC from the store.
    pub(super) async fn stored(&self, id: &str) -> Result<Option<Npc>, NpcError> {
        let found = self.history.journal().npc(id).await.map_err(|error| NpcError::storage(id, &error))?;
        let Some(record) = found else { return Ok(None) };
        let archetype = self.chains.find(&record.archetype).await.map_err(|error| NpcError::pack(&error))?;
        let archetype = archetype.ok_or_else(|| {
            let archetype = &record.archetype;
            let message =
                format!("npc {id:?} is of archetype {archetype:?}, and there is no pack for it any more");
            NpcError::of(ErrorCode::UnknownArchetype, "npc", message)
        })?;
        let npc = Npc::new(record, archetype);
        self.erasures.take_out_of(&mut npc.mind.lock());
        Ok(Some(npc))
    }

    /// The archetype of an NPC that is to be made, if it may be. One that is not known may have come since.
    async fn archetype_of_new(&self, join: &NpcJoin, may_create: bool) -> Result<Arc<Archetype>, NpcError> {
        let npc = &join.npc;
        let Some(archetype) = &join.archetype else {
            let message = format!("there is no npc {npc:?}; a new one needs an archetype");
            return Err(NpcError::of(ErrorCode::UnknownNpc, "npc", message));
        };
        if !may_create {
            let message = format!(
                "there is no npc {npc:?}; making one needs the scope director, or create among the server's \
                 auth.play_grants"
            );
            return Err(NpcError::of(ErrorCode::Forbidden, "archetype", message));
        }
        let found = self.chains.find(archetype).await.map_err(|error| NpcError::pack(&error))?;
        found.ok_or_else(|| {
            let names = self.chains.names().join(", ");
            let message = format!("there is no pack for archetype {archetype:?}; there are: {names}");
            NpcError::of(ErrorCode::UnknownArchetype, "archetype", message)
        })
    }

    async fn create(
        &self,
        join: &NpcJoin,
        may_create: bool,
    ) -> Result<(NpcRecord, Arc<Archetype>), NpcError> {
        let archetype = self.archetype_of_new(join, may_create).await?;
        let pack = &archetype.pack;
        check_traits(join)?;
        let seed = join.seed.unwrap_or_else(|| default_seed(&join.npc));
        let name = match &join.name {
            Some(name) => name.clone(),
            None if pack.names.is_empty() => pack.title.clone(),
            None => pack.names[(seed % pack.names.len() as u64) as usize].clone(),
        };
        let record = NpcRecord {
            id: join.npc.clone(),
            archetype: pack.name.clone(),
            name,
            seed,
            state: NpcState { personality: join.personality.clone(), ..NpcState::default() },
        };
        Ok((record, archetype))
    }

    /// If as many NPCs are in memory as may be: forgets the least recently used one that nobody has joined and that
    /// answers nobody. It comes back from the store.
    async fn make_room(&self, still: &RwLockReadGuard<'_, ()>) -> Result<(), NpcError> {
        if self.map.len() < self.config.max_npcs || self.forget_one() {
            return Ok(());
        }
        // One that waits for the store need not.
        if let Some(npc) = self.least(Npc::is_left) {
            self.saver.save_now(still, &npc).await;
            if self.forget_one() {
                return Ok(());
            }
        }
        Err(NpcError {
            code: ErrorCode::Overloaded,
            message: format!("{} NPCs are in use, as many as npc.max_npcs allows", self.config.max_npcs),
            field: None,
        })
    }

    fn forget_one(&self) -> bool {
        let oldest = self.least(Npc::is_unused);
        oldest.and_then(|oldest| self.map.remove_if(&oldest.info.id, |_, npc| npc.is_unused())).is_some()
    }

    /// The least recently used NPC of some.
    fn least(&self, of: impl Fn(&Npc) -> bool) -> Option<Arc<Npc>> {
        let some = self.map.iter().filter(|npc| of(npc));
        some.min_by_key(|npc| npc.last_used.load(Ordering::Relaxed)).map(|npc| Arc::clone(&npc))
    }
}

/// The same id gives the same seed on every server. Below 2⁵³, so that JSON clients keep every digit.
fn default_seed(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(bytes) & ((1 << 53) - 1)
}
