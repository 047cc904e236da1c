//! What the journal may hold, so that a fresh turn needs no look into it.

use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

use fastbloom::AtomicBloomFilter;

use super::record::IdempotencyKey;

/// 16 MiB. At ten million turns less than one fresh turn in a hundred is looked up in vain; with
/// more of them more are, and nothing else changes.
const BITS: usize = 1 << 27;
const EXPECTED: usize = 10_000_000;

/// A Bloom filter: says "no" only of what is not stored. It begins empty, and says "perhaps" of everything until the
/// journal was read once ([`Self::complete`]).
#[derive(Debug)]
pub struct Known {
    filter: AtomicBloomFilter,
    complete: AtomicBool,
}

impl Default for Known {
    fn default() -> Self {
        let filter = AtomicBloomFilter::with_num_bits(BITS).expected_items(EXPECTED);
        Self { filter, complete: AtomicBool::new(false) }
    }
}

impl Known {
    /// Called before a turn is written: what is stored is known at every moment.
    pub fn add_turn(&self, key: &IdempotencyKey) {
        self.filter.insert(&('t', key));
    }

    pub fn add_conversation(&self, npc: &str, player: &str) {
        self.filter.insert(&('c', npc, player));
    }

    /// Everything that was stored before is known now.
    pub fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub fn may_have_turn(&self, key: &IdempotencyKey) -> bool {
        self.may_have(&('t', key))
    }

    pub fn may_have_conversation(&self, npc: &str, player: &str) -> bool {
        self.may_have(&('c', npc, player))
    }

    fn may_have(&self, item: &impl Hash) -> bool {
        !self.is_complete() || self.filter.contains(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::turn_key;

    #[test]
    fn no_is_said_only_when_everything_is_known() {
        let (known, key) = (Known::default(), turn_key("anna", "n", "t"));
        assert!(known.may_have_turn(&key) && known.may_have_conversation("n", "anna"));
        known.complete();
        assert!(!known.may_have_turn(&key) && !known.may_have_conversation("n", "anna"));
        known.add_turn(&key);
        known.add_conversation("n", "anna");
        assert!(known.may_have_turn(&key) && known.may_have_conversation("n", "anna"));
        assert!(!known.may_have_conversation("anna", "n"));
    }
}
