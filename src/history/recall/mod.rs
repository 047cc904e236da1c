//! What an NPC remembers for a line.
//!
//! Who was there is looked at before anything else: a memory lies at the places of those who may hear of it, and only two
//! places are looked at for a line. What is found there counts by its words (BM25), how important it was, and how long
//! ago. Everything is in memory, and the same memories give the same answer everywhere.

mod index;
mod score;
mod telling;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

pub use index::{MAX_MEMORIES, Origin};
pub use telling::{Recalled, tell};

use self::index::Index;
use super::held::Held;
use super::memory::{Memory, Place};

/// A line that is to be answered.
#[derive(Debug)]
pub struct Line<'a> {
    pub npc: &'a str,
    /// What the NPC is now: what it said when it was something else it does not remember.
    pub archetype: &'a str,
    pub player: &'a str,
    /// Who hears the answer besides the player.
    pub audience: &'a [String],
    pub text: &'a str,
    /// What the prompt shows in any case.
    pub shown: HashSet<Uuid>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

impl Line<'_> {
    /// Whether a memory may be in the prompt of this line.
    fn allows(&self, memory: &Memory) -> bool {
        memory.may_be_told(self.npc, self.player, self.audience)
            && memory.is_memorable()
            && (memory.npc != self.npc || memory.archetype == self.archetype)
            && !self.shown.contains(&memory.id)
    }
}

/// How much is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecallStats {
    pub places: usize,
    pub bytes: usize,
}

/// See the module's documentation. No method waits.
#[derive(Debug)]
pub struct Recall {
    held: Held<Index>,
}

impl Recall {
    /// `bytes`: what all memories and their index may take, about.
    pub fn new(bytes: usize) -> Self {
        Self { held: Held::new(bytes) }
    }

    /// Adds what has just happened, or has changed.
    pub fn remember(&self, memory: &Arc<Memory>) {
        for place in memory.places() {
            self.held.of(&place.npc, |shard| {
                shard.change(&place, |index| index.add([Arc::clone(memory)], Origin::Fresh));
            });
        }
    }

    /// Adds what an NPC knows that may concern a player, and notes that there is no more where it was taken from.
    pub fn fill(&self, npc: &str, player: &str, memories: &[Arc<Memory>], origin: Origin) {
        let of = |private| {
            let place = memories.iter().filter(move |memory| memory.is_private() == private);
            // What is read from outside is taken where it belongs alone.
            place.filter(|memory| memory.may_be_told(npc, player, &[])).cloned().collect::<Vec<_>>()
        };
        let (private, world) = (of(true), of(false));
        self.held.of(npc, |shard| {
            for (place, memories) in [(Place::with(npc, player), private), (Place::world(npc), world)] {
                shard.change(&place, |index| {
                    index.add(memories, origin);
                    index.loaded = index.loaded.max(Some(origin));
                });
            }
        });
    }

    /// Whether what an NPC knows that may concern a player is here, as this tier or one below it had it.
    pub fn is_loaded(&self, npc: &str, player: &str, from: Origin) -> bool {
        self.held.of(npc, |shard| {
            [Place::with(npc, player), Place::world(npc)]
                .iter()
                .all(|place| shard.peek(place).is_some_and(|index| index.loaded >= Some(from)))
        })
    }

    /// A memory of an NPC and a player.
    pub fn get(&self, npc: &str, player: &str, id: Uuid) -> Option<Arc<Memory>> {
        let find = |place: &Place| {
            self.held.of(npc, |shard| shard.peek(place).and_then(|index| index.get(id).cloned()))
        };
        find(&Place::with(npc, player)).or_else(|| find(&Place::world(npc)))
    }

    /// What comes to an NPC's mind for a line, the first thing first; nothing that may not be told.
    pub fn search(&self, line: &Line) -> Vec<Arc<Memory>> {
        let query = score::query(line.text);
        self.held.of(line.npc, |shard| {
            let (private, world) = (Place::with(line.npc, line.player), Place::world(line.npc));
            // Both are used by this; the borrows must not be at the same time.
            let used = [shard.get(&private).is_some(), shard.get(&world).is_some()];
            let indexes: Vec<&Index> = [private, world]
                .iter()
                .zip(used)
                .filter_map(|(place, held)| held.then(|| shard.peek(place)).flatten())
                .collect();
            score::best(&indexes, &query, line)
        })
    }

    /// Forgets everything that a player took part in.
    pub fn forget_player(&self, player: &str) {
        self.held.each(|place, index| {
            if place.player.as_deref() == Some(player) {
                index.forget(|_| true);
            } else if index.forget(|memory| memory.took_part(player)) {
                // What others said is stored without the name.
                index.loaded = None;
            }
        });
    }

    pub fn stats(&self) -> RecallStats {
        RecallStats { places: self.held.places(), bytes: self.held.bytes() }
    }
}
