//! The memories of one place, and the words that they are found by.

use std::sync::Arc;

use uuid::Uuid;

use super::terms::{Term, terms};
use crate::history::held::Content;
use crate::history::memory::Memory;

/// Memories of a place; past it the oldest go.
pub const MAX_MEMORIES: usize = 256;
/// Bytes of a place; past it the same.
const MAX_BYTES: usize = 512 << 10;
/// How important what happened must be to come to mind by itself.
const UNFORGETTABLE: f32 = 0.8;

/// Where a memory was taken from. What comes from higher up is newer, and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Warm,
    /// The journal or the archive.
    Stored,
    /// It has just happened.
    Fresh,
}

/// A memory with its place in the index.
#[derive(Debug)]
pub struct Held {
    pub id: Uuid,
    pub memory: Arc<Memory>,
    origin: Origin,
    /// Words in it.
    pub words: u32,
    pub unforgettable: bool,
}

/// How often a word is in a memory. Sorted by both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    term: Term,
    pub slot: u16,
    pub count: u16,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Index {
    slots: Vec<Option<Held>>,
    postings: Vec<Posting>,
    memories: usize,
    words: u64,
    /// Of the memories alone.
    bytes: usize,
    /// From where everything was taken that is there.
    pub loaded: Option<Origin>,
}

impl Content for Index {
    fn bytes(&self) -> usize {
        self.bytes
            + self.postings.capacity() * size_of::<Posting>()
            + self.slots.capacity() * size_of::<Option<Held>>()
    }

    fn is_empty(&self) -> bool {
        self.memories == 0
    }
}

impl Index {
    pub fn len(&self) -> usize {
        self.memories
    }

    /// Words of all memories.
    pub fn words(&self) -> u64 {
        self.words
    }

    pub fn slots(&self) -> &[Option<Held>] {
        &self.slots
    }

    /// Where a word occurs.
    pub fn postings(&self, term: Term) -> &[Posting] {
        let start = self.postings.partition_point(|posting| posting.term < term);
        let rest = &self.postings[start..];
        &rest[..rest.partition_point(|posting| posting.term == term)]
    }

    pub fn get(&self, id: Uuid) -> Option<&Arc<Memory>> {
        self.slots.iter().flatten().find(|held| held.id == id).map(|held| &held.memory)
    }

    /// Adds memories; each once, whatever is added again. One that is here stays if it is from higher up.
    pub fn add(&mut self, memories: impl IntoIterator<Item = Arc<Memory>>, origin: Origin) {
        let mut changed = false;
        for memory in memories {
            let same = |slot: &Option<Held>| slot.as_ref().is_some_and(|held| held.id == memory.id);
            let known = self.slots.iter().position(same);
            if let Some(slot) = known {
                if self.slots[slot]
                    .as_ref()
                    .is_some_and(|held| held.origin > origin || *held.memory == *memory)
                {
                    continue;
                }
                self.remove(|at| at == slot);
            }
            changed |= self.insert(memory, origin);
        }
        if changed {
            self.postings.sort_unstable();
            self.keep_within_limits();
        }
    }

    /// Puts a memory into a free slot, and its words at the end of the postings.
    fn insert(&mut self, memory: Arc<Memory>, origin: Origin) -> bool {
        let free = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let Ok(slot) = u16::try_from(free) else { return false };
        let mut found = terms(&memory.text);
        found.extend(terms(&memory.reply));
        found.sort_unstable();
        for same in found.chunk_by(|a, b| a == b) {
            self.postings.push(Posting { term: same[0], slot, count: same.len() as u16 });
        }
        self.memories += 1;
        self.words += found.len() as u64;
        self.bytes += memory.bytes();
        self.slots[free] = Some(Held {
            id: memory.id,
            unforgettable: !memory.is_private()
                && memory.importance.is_some_and(|much| much >= UNFORGETTABLE),
            words: found.len() as u32,
            memory,
            origin,
        });
        true
    }

    /// Removes the memories in some slots.
    fn remove(&mut self, which: impl Fn(usize) -> bool) {
        self.postings.retain(|posting| !which(usize::from(posting.slot)));
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if which(at)
                && let Some(held) = slot.take()
            {
                self.memories -= 1;
                self.words -= u64::from(held.words);
                self.bytes = self.bytes.saturating_sub(held.memory.bytes());
            }
        }
    }

    /// Removes the memories that are of this kind; tells whether there were any.
    pub fn forget(&mut self, which: impl Fn(&Memory) -> bool) -> bool {
        let gone: Vec<bool> =
            self.slots.iter().map(|slot| slot.as_ref().is_some_and(|held| which(&held.memory))).collect();
        let any = gone.contains(&true);
        if any {
            self.remove(|slot| gone[slot]);
        }
        any
    }

    /// An eighth at once, so that a full place does not look for its oldest every time.
    fn keep_within_limits(&mut self) {
        while self.memories > 1 && (self.memories > MAX_MEMORIES || self.bytes > MAX_BYTES) {
            let mut ids: Vec<Uuid> = self.slots.iter().flatten().map(|held| held.id).collect();
            let keep = MAX_MEMORIES - MAX_MEMORIES / 8;
            let go = ids.len().saturating_sub(keep).max(ids.len() / 8).max(1);
            let (_, newest_to_go, _) = ids.select_nth_unstable(go - 1);
            let newest_to_go = *newest_to_go;
            self.forget(|memory| memory.id <= newest_to_go);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::memory::tests::told;

    fn hello(text: &str) -> Arc<Memory> {
        Arc::new(told("lucy", "anna", text))
    }

    /// The texts in which a word occurs.
    fn found(index: &Index, word: &str) -> Vec<String> {
        let texts = index.postings(terms(word)[0]).iter().filter_map(|posting| {
            index.slots()[usize::from(posting.slot)].as_ref().map(|held| held.memory.text.clone())
        });
        let mut texts: Vec<_> = texts.collect();
        texts.sort();
        texts
    }

    fn is_consistent(index: &Index) {
        let mut again = Index::default();
        again.add(index.slots.iter().flatten().map(|held| Arc::clone(&held.memory)), Origin::Fresh);
        assert_eq!((again.memories, again.words, again.bytes), (index.memories, index.words, index.bytes));
        assert_eq!(again.postings.len(), index.postings.len());
        assert!(index.postings.is_sorted());
    }

    #[test]
    fn memories_are_found_by_their_words() {
        let mut index = Index::default();
        index.add(["A silver ring.", "The well is deep.", "Rings in the well."].map(hello), Origin::Stored);
        assert_eq!(found(&index, "ring"), ["A silver ring.", "Rings in the well."]);
        assert_eq!(found(&index, "castle"), [""; 0]);
        index.forget(|memory| memory.text.contains("well"));
        assert_eq!((found(&index, "ring").len(), found(&index, "well").len(), index.len()), (1, 0, 1));
        is_consistent(&index);
        index.add([hello("A deep well.")], Origin::Stored);
        assert_eq!(found(&index, "well"), ["A deep well."]);
        is_consistent(&index);
    }

    #[test]
    fn what_is_newer_stays() {
        let mut index = Index::default();
        let whole = told("lucy", "anna", "A ring.");
        let heard = |reply: &str| Arc::new(Memory { reply: reply.into(), ..whole.clone() });
        let reply = |index: &Index| index.get(whole.id).map(|memory| memory.reply.clone());
        index.add([heard("from warm")], Origin::Warm);
        index.add([heard("stored")], Origin::Stored);
        assert_eq!(reply(&index).as_deref(), Some("stored"));
        index.add([heard("fresh")], Origin::Fresh);
        index.add([heard("stored"), heard("stored")], Origin::Stored);
        index.add([heard("from warm")], Origin::Warm);
        assert_eq!((reply(&index).as_deref(), index.len()), (Some("fresh"), 1));
        index.add([heard("amended")], Origin::Fresh);
        assert_eq!(reply(&index).as_deref(), Some("amended"));
        is_consistent(&index);
    }

    #[test]
    fn the_oldest_go_when_a_place_is_full() {
        let mut index = Index::default();
        let all: Vec<_> =
            (0..3 * MAX_MEMORIES).map(|at| hello(&format!("Number n{at} of the castle."))).collect();
        for memory in &all {
            index.add([Arc::clone(memory)], Origin::Fresh);
            assert!(index.len() <= MAX_MEMORIES);
        }
        assert!(index.len() >= MAX_MEMORIES / 2);
        assert!(index.get(all[0].id).is_none());
        let newest = &all[all.len() - MAX_MEMORIES / 2..];
        assert!(newest.iter().all(|memory| index.get(memory.id).is_some()));
        is_consistent(&index);
        let mut large = Index::default();
        large.add((0..20).map(|at| hello(&format!("{at} {}", "long ".repeat(20_000)))), Origin::Stored);
        assert!(large.len() < 20 && large.len() > 1 && large.bytes <= MAX_BYTES, "{}", large.bytes);
        is_consistent(&large);
    }
}
