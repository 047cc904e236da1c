//! Places in memory within a bound of bytes; the least recently used go first.

use std::hash::{DefaultHasher, Hash, Hasher};

use lru::LruCache;
use parking_lot::Mutex;

use super::memory::Place;

/// Shards, each with its own lock and its part of the bound. All places of an NPC are in the same one.
const SHARDS: usize = 16;
/// What a place takes besides what is in it, about.
const OVERHEAD: usize = 256;

/// What is held at a place.
pub(super) trait Content: Default {
    /// What it takes, about.
    fn bytes(&self) -> usize;
    /// Nothing is in it that somebody would miss.
    fn is_empty(&self) -> bool;
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Held<C> {
    shards: Vec<Mutex<Shard<C>>>,
}

/// A part of it.
#[derive(Debug)]
pub(super) struct Shard<C> {
    places: LruCache<Place, C>,
    bytes: usize,
    limit: usize,
}

impl<C: Content> Held<C> {
    /// `bytes`: the bound of all together.
    pub fn new(bytes: usize) -> Self {
        let shard = || Mutex::new(Shard { places: LruCache::unbounded(), bytes: 0, limit: bytes / SHARDS });
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect() }
    }

    /// Works on the places of an NPC; nothing else may be asked of `self` meanwhile.
    pub fn of<T>(&self, npc: &str, work: impl FnOnce(&mut Shard<C>) -> T) -> T {
        let mut hasher = DefaultHasher::new();
        npc.hash(&mut hasher);
        work(&mut self.shards[hasher.finish() as usize % SHARDS].lock())
    }

    /// Works on every place and removes what is empty then.
    pub fn each(&self, mut work: impl FnMut(&Place, &mut C)) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let mut bytes = 0;
            let mut empty = Vec::new();
            for (place, content) in &mut shard.places {
                work(place, content);
                if content.is_empty() {
                    empty.push(place.clone());
                } else {
                    bytes += content.bytes() + OVERHEAD;
                }
            }
            for place in empty {
                shard.places.pop(&place);
            }
            shard.bytes = bytes;
        }
    }

    pub fn places(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().places.len()).sum()
    }

    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl<C: Content> Shard<C> {
    /// What is held at a place, which is used by this.
    pub fn get(&mut self, place: &Place) -> Option<&C> {
        self.places.get(place)
    }

    /// The same, which leaves it as long unused as it was.
    pub fn peek(&self, place: &Place) -> Option<&C> {
        self.places.peek(place)
    }

    /// Changes what is held at a place, from nothing if need be. Others make room for it.
    pub fn change(&mut self, place: &Place, work: impl FnOnce(&mut C)) {
        let known = self.places.contains(place);
        let content = self.places.get_or_insert_mut_ref(place, C::default);
        let before = if known { content.bytes() + OVERHEAD } else { 0 };
        work(content);
        self.bytes = (self.bytes + content.bytes() + OVERHEAD).saturating_sub(before);
        while self.bytes > self.limit
            && self.places.len() > 1
            && let Some((_, gone)) = self.places.pop_lru()
        {
            self.bytes = self.bytes.saturating_sub(gone.bytes() + OVERHEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Content for Vec<u8> {
        fn bytes(&self) -> usize {
            self.len()
        }

        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let held = Held::new(SHARDS * 10 * (OVERHEAD + 100));
        let place = |player: usize| Place::with("lucy", &player.to_string());
        let has = |player| held.of("lucy", |shard| shard.peek(&place(player)).is_some());
        for player in 0..10 {
            held.of("lucy", |shard| {
                shard.change(&place(player), |content: &mut Vec<u8>| content.resize(100, 0));
            });
        }
        held.of("lucy", |shard| assert!(shard.get(&place(0)).is_some()));
        held.of("lucy", |shard| shard.change(&place(10), |content| content.resize(150, 0)));
        assert!(has(0) && has(10) && !has(1) && !has(2) && has(3));
        assert_eq!(held.bytes(), 9 * (OVERHEAD + 100) + 50);
        held.of("lucy", |shard| shard.change(&place(11), |content| content.resize(1 << 20, 0)));
        assert_eq!(held.places(), 1, "what is new stays, whatever it takes");
        held.each(|_, content| content.clear());
        assert_eq!((held.places(), held.bytes()), (0, 0));
    }

    #[test]
    fn bytes_are_what_is_held() {
        let held: Held<Vec<u8>> = Held::new(1 << 20);
        for at in 0..300 {
            let npc = format!("npc{}", at % 7);
            held.of(&npc, |shard| {
                shard.change(&Place::world(&npc), |content| content.resize(at * 13 % 97, 0));
            });
        }
        let mut bytes = 0;
        held.each(|_, content| bytes += content.len() + OVERHEAD);
        assert_eq!(held.bytes(), bytes);
    }
}
