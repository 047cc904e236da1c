//! The warm tier in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::KEPT;
use crate::history::held::{Content, Held};
use crate::history::memory::{Memory, Place};

/// Bytes of a place; past it the oldest go, as when there are too many.
const MAX_BYTES: usize = 1 << 20;

/// The memories of a place, oldest first.
#[derive(Debug, Default)]
struct Kept {
    memories: BTreeMap<Uuid, Arc<Memory>>,
    bytes: usize,
    written: Option<Instant>,
}

impl Content for Kept {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.memories.is_empty()
    }
}

impl Kept {
    fn put(&mut self, memory: &Arc<Memory>) {
        self.bytes += memory.bytes();
        if let Some(old) = self.memories.insert(memory.id, Arc::clone(memory)) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
        while self.memories.len() > KEPT || self.bytes > MAX_BYTES && self.memories.len() > 1 {
            let Some((_, gone)) = self.memories.pop_first() else { break };
            self.bytes = self.bytes.saturating_sub(gone.bytes());
        }
        self.written = Some(Instant::now());
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_over(&self, life: Duration) -> bool {
        self.written.is_none_or(|written| written.elapsed() >= life)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Local {
    held: Held<Kept>,
    life: Duration,
}

impl Local {
    /// `bytes`: what all memories may take; past it those that were not used for the longest time go.
    pub fn new(bytes: usize, life: Duration) -> Self {
        Self { held: Held::new(bytes), life }
    }

    pub fn put(&self, memory: &Arc<Memory>) {
        for place in memory.places() {
            self.held.of(&place.npc, |shard| {
                shard.change(&place, |kept| {
                    if kept.is_over(self.life) {
                        kept.clear();
                    }
                    kept.put(memory);
                });
            });
        }
    }

    pub fn read(&self, npc: &str, player: &str) -> Vec<Arc<Memory>> {
        let mut found = Vec::new();
        self.held.of(npc, |shard| {
            for place in [Place::with(npc, player), Place::world(npc)] {
                let kept = shard.get(&place).filter(|kept| !kept.is_over(self.life));
                found.extend(kept.into_iter().flat_map(|kept| kept.memories.values().cloned()));
            }
        });
        found
    }

    pub fn forget_player(&self, player: &str) {
        self.held.each(|_, kept| {
            kept.memories.retain(|_, memory| !memory.took_part(player));
            kept.bytes = kept.memories.values().map(|memory| memory.bytes()).sum();
        });
    }
}
