//! Which adapters are in memory. A plain struct: no thread, no file, no clock.
//!
//! Memory is promised before it is taken: what is in it, what is being read and what will be read for a request
//! never exceed the budget together. Whoever reads waits until those that leave have left.

use std::collections::HashMap;

/// One registration of an adapter: never used twice, so that keys and values computed under it stay right.
pub type Version = u64;

/// Where an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Will be read; its room is promised. The smallest number is read first.
    Queued(u64),
    /// Is being read; its memory is taken.
    Reading,
    Resident,
    /// Nobody uses it, and its memory is wanted.
    Leaving,
    /// Could not be read; remembered until the requests that wait for it know.
    Failed,
}

#[derive(Debug)]
struct Entry<T> {
    source: T,
    bytes: usize,
    /// Requests that use it.
    pins: usize,
    /// When a request last named it; larger is later.
    used: u64,
    place: Place,
    /// Nobody can name it any more: it leaves as soon as nobody uses it.
    dropped: bool,
}

/// An adapter that a request names.
#[derive(Debug, Clone)]
pub struct Wanted<T> {
    pub version: Version,
    pub bytes: usize,
    /// What it is read from.
    pub source: T,
}

/// What is in use fills the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// See the module's documentation.
#[derive(Debug)]
pub struct Pool<T> {
    budget: usize,
    /// Bytes taken: read, being read, or leaving.
    held: usize,
    clock: u64,
    entries: HashMap<Version, Entry<T>>,
}

impl<T: Clone> Pool<T> {
    /// `budget` in bytes.
    pub fn new(budget: usize) -> Self {
        Self { budget, held: 0, clock: 0, entries: HashMap::new() }
    }

    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Bytes taken now.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Adapters whose memory is taken.
    pub fn resident(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_held()).count()
    }

    /// Pins every adapter of a request and promises room for those that are not in memory, for which the least
    /// recently used ones leave. All of them or none.
    pub fn acquire(&mut self, wanted: &[Wanted<T>]) -> Result<(), Full> {
        let mut wanted: Vec<&Wanted<T>> = wanted.iter().collect();
        wanted.sort_by_key(|w| w.version);
        wanted.dedup_by_key(|w| w.version);
        let absent = |w: &&Wanted<T>| !self.entries.get(&w.version).is_some_and(Entry::is_promised);
        let needed = wanted.iter().copied().filter(absent).map(|w| w.bytes).sum();
        let versions: Vec<Version> = wanted.iter().map(|w| w.version).collect();
        self.make_room(needed, &versions)?;
        for w in wanted {
            self.clock += 1;
            let clock = self.clock;
            let entry = self.entries.entry(w.version).or_insert_with(|| Entry {
                source: w.source.clone(),
                bytes: w.bytes,
                pins: 0,
                used: clock,
                place: Place::Queued(clock),
                dropped: false,
            });
            match entry.place {
                Place::Failed => entry.place = Place::Queued(clock),
                // It has not left yet.
                Place::Leaving => entry.place = Place::Resident,
                Place::Queued(_) | Place::Reading | Place::Resident => {}
            }
            entry.pins += 1;
            entry.used = clock;
        }
        Ok(())
    }

    /// Marks the least recently used adapters as leaving until `needed` bytes can be promised.
    fn make_room(&mut self, needed: usize, spare: &[Version]) -> Result<(), Full> {
        let promised: usize = self.entries.values().filter(|e| e.is_promised()).map(|e| e.bytes).sum();
        let mut excess = (promised + needed).saturating_sub(self.budget);
        let idle = |(version, entry): &(&Version, &Entry<T>)| {
            entry.place == Place::Resident && entry.pins == 0 && !spare.contains(version)
        };
        let mut idle: Vec<(u64, Version, usize)> =
            self.entries.iter().filter(idle).map(|(v, entry)| (entry.used, *v, entry.bytes)).collect();
        idle.sort_unstable();
        let mut leaving = Vec::new();
        for (_, version, bytes) in idle {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            leaving.push(version);
        }
        if excess > 0 {
            return Err(Full);
        }
        for version in leaving {
            if let Some(entry) = self.entries.get_mut(&version) {
                entry.place = Place::Leaving;
            }
        }
        Ok(())
    }

    /// A request no longer uses these; each once, however often its mix names it.
    pub fn unpin(&mut self, versions: &[Version]) {
        for version in versions {
            let Some(entry) = self.entries.get_mut(version) else { continue };
            entry.pins = entry.pins.saturating_sub(1);
            self.settle(*version);
        }
    }

    /// What becomes of an adapter that nobody uses.
    fn settle(&mut self, version: Version) {
        let Some(entry) = self.entries.get_mut(&version) else { return };
        if entry.pins > 0 {
            return;
        }
        match entry.place {
            Place::Queued(_) | Place::Failed => drop(self.entries.remove(&version)),
            Place::Resident if entry.dropped => entry.place = Place::Leaving,
            Place::Reading | Place::Resident | Place::Leaving => {}
        }
    }

    /// The adapter to read next, if its memory is free by now; its memory is taken from here on.
    pub fn next_to_read(&mut self) -> Option<(Version, T)> {
        let queued = self.entries.iter().filter_map(|(version, entry)| match entry.place {
            Place::Queued(at) => Some((at, *version)),
            _ => None,
        });
        let (_, version) = queued.min()?;
        let entry = self.entries.get_mut(&version)?;
        if self.held + entry.bytes > self.budget {
            return None;
        }
        self.held += entry.bytes;
        entry.place = Place::Reading;
        Some((version, entry.source.clone()))
    }

    /// Takes memory for an adapter that has just been read and that nobody asked for, if it is free anyway.
    pub fn take_free(&mut self, wanted: Wanted<T>) -> bool {
        let promised: usize = self.entries.values().filter(|e| e.is_promised()).map(|e| e.bytes).sum();
        if promised.max(self.held) + wanted.bytes > self.budget || self.entries.contains_key(&wanted.version)
        {
            return false;
        }
        self.clock += 1;
        self.held += wanted.bytes;
        let Wanted { version, bytes, source } = wanted;
        let place = Place::Reading;
        self.entries
            .insert(version, Entry { source, bytes, pins: 0, used: self.clock, place, dropped: false });
        true
    }

    /// An adapter that was being read is in memory.
    pub fn arrived(&mut self, version: Version) {
        if let Some(entry) = self.entries.get_mut(&version)
            && entry.place == Place::Reading
        {
            entry.place = Place::Resident;
            self.settle(version);
        }
    }

    /// An adapter that was being read could not be.
    pub fn failed(&mut self, version: Version) {
        if let Some(entry) = self.entries.get_mut(&version)
            && entry.place == Place::Reading
        {
            self.held -= entry.bytes;
            entry.place = Place::Failed;
            self.settle(version);
        }
    }

    /// Whether a request that waits for it waits in vain.
    pub fn has_failed(&self, version: Version) -> bool {
        self.entries.get(&version).is_none_or(|entry| entry.place == Place::Failed)
    }

    /// Nobody can name it any more.
    pub fn drop_version(&mut self, version: Version) {
        if let Some(entry) = self.entries.get_mut(&version) {
            entry.dropped = true;
            self.settle(version);
        }
    }

    /// Whether it takes memory, or will.
    pub fn knows(&self, version: Version) -> bool {
        self.entries.contains_key(&version)
    }

    /// Those that leave; their memory counts until [`Self::gone`].
    pub fn leaving(&self) -> Vec<Version> {
        let leaving = self.entries.iter().filter(|(_, entry)| entry.place == Place::Leaving);
        leaving.map(|(version, _)| *version).collect()
    }

    /// An adapter that left takes no memory any more.
    pub fn gone(&mut self, version: Version) {
        if self.entries.get(&version).is_some_and(|entry| entry.place == Place::Leaving)
            && let Some(entry) = self.entries.remove(&version)
        {
            self.held -= entry.bytes;
        }
    }
}

impl<T> Entry<T> {
    /// Its room is promised: it is in memory to stay, or will be.
    fn is_promised(&self) -> bool {
        matches!(self.place, Place::Queued(_) | Place::Reading | Place::Resident)
    }

    fn is_held(&self) -> bool {
        matches!(self.place, Place::Reading | Place::Resident | Place::Leaving)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{Full, Place, Pool, Version, Wanted};

    fn wanted(version: Version, bytes: usize) -> Wanted<()> {
        Wanted { version, bytes, source: () }
    }

    /// Reads everything that is promised, letting go of what leaves.
    fn read_all(pool: &mut Pool<()>) -> Vec<Version> {
        let mut read = Vec::new();
        loop {
            pool.leaving().into_iter().for_each(|version| pool.gone(version));
            let Some((version, ())) = pool.next_to_read() else { return read };
            pool.arrived(version);
            read.push(version);
        }
    }

    /// A request that is done at once; what was read for it.
    fn use_once(pool: &mut Pool<()>, version: Version) -> Vec<Version> {
        pool.acquire(&[wanted(version, 1)]).unwrap();
        let read = read_all(pool);
        pool.unpin(&[version]);
        read
    }

    #[test]
    fn the_least_recently_used_leaves_first() {
        let mut pool = Pool::new(3);
        for version in [1, 2, 3] {
            assert_eq!(use_once(&mut pool, version), [version]);
        }
        assert!(use_once(&mut pool, 1).is_empty());
        // 2 is now the oldest.
        assert_eq!(use_once(&mut pool, 4), [4]);
        assert!(use_once(&mut pool, 3).is_empty());
        assert!(use_once(&mut pool, 1).is_empty());
        assert_eq!(use_once(&mut pool, 2), [2]);
        assert_eq!((pool.held(), pool.resident()), (3, 3));
    }

    #[test]
    fn what_is_in_use_stays_and_a_request_gets_all_or_nothing() {
        let mut pool = Pool::new(3);
        pool.acquire(&[wanted(1, 1), wanted(2, 1)]).unwrap();
        read_all(&mut pool);
        assert_eq!(pool.acquire(&[wanted(2, 1), wanted(3, 1), wanted(4, 1)]), Err(Full));
        // Nothing was promised to it.
        pool.acquire(&[wanted(3, 1)]).unwrap();
        assert_eq!(read_all(&mut pool), [3]);
        pool.unpin(&[1, 2]);
        pool.acquire(&[wanted(4, 1), wanted(5, 1)]).unwrap();
        assert_eq!(read_all(&mut pool), [4, 5]);
        assert!(!pool.knows(1) && !pool.knows(2));
    }

    #[test]
    fn nothing_is_read_before_what_leaves_has_left() {
        let mut pool = Pool::new(1);
        use_once(&mut pool, 1);
        pool.acquire(&[wanted(2, 1)]).unwrap();
        assert_eq!((pool.next_to_read(), pool.leaving()), (None, vec![1]));
        pool.gone(1);
        assert_eq!(pool.next_to_read(), Some((2, ())));
    }

    #[test]
    fn one_that_was_to_leave_comes_back_without_being_read() {
        let mut pool = Pool::new(2);
        use_once(&mut pool, 1);
        use_once(&mut pool, 2);
        pool.acquire(&[wanted(3, 1)]).unwrap();
        assert_eq!(pool.leaving(), [1]);
        // 2 leaves in its place.
        pool.acquire(&[wanted(1, 1)]).unwrap();
        assert_eq!(pool.leaving(), [2]);
        assert_eq!(read_all(&mut pool), [3]);
    }

    #[test]
    fn a_dropped_one_stays_as_long_as_it_is_used() {
        let mut pool = Pool::new(2);
        pool.acquire(&[wanted(1, 1), wanted(2, 1)]).unwrap();
        pool.drop_version(2);
        assert_eq!(read_all(&mut pool), [1, 2]);
        pool.drop_version(1);
        assert!(pool.leaving().is_empty());
        pool.unpin(&[1, 2]);
        assert_eq!(pool.leaving().len(), 2);
    }

    #[test]
    fn a_failure_frees_the_room_and_the_next_request_tries_again() {
        let mut pool = Pool::new(1);
        pool.acquire(&[wanted(1, 1)]).unwrap();
        assert_eq!(pool.next_to_read(), Some((1, ())));
        pool.failed(1);
        assert!(pool.has_failed(1) && pool.held() == 0);
        pool.acquire(&[wanted(1, 1)]).unwrap();
        pool.unpin(&[1]);
        assert!(!pool.has_failed(1));
        assert_eq!(read_all(&mut pool), [1]);
        // Nobody waits for what is abandoned before it is read.
        pool.unpin(&[1]);
        pool.acquire(&[wanted(2, 1)]).unwrap();
        pool.unpin(&[2]);
        assert_eq!((read_all(&mut pool), pool.knows(2)), (Vec::new(), false));
    }

    proptest! {
        /// Whatever is asked for, read, dropped and given back: no more memory is taken than the budget, what is in
        /// use is in memory or on its way there, and the counts are those of a plain list.
        #[test]
        fn the_budget_holds(
            budget in 1_usize..20,
            steps in prop::collection::vec((0_usize..6, 0_u64..12, 0_u64..12, 0_usize..8), 1..200),
        ) {
            let size = |version: Version| 1 + (version % 5) as usize;
            let mut pool: Pool<()> = Pool::new(budget);
            let mut users: Vec<Vec<Version>> = Vec::new();
            let mut reading: Vec<Version> = Vec::new();
            for (what, a, b, at) in steps {
                match what {
                    0 | 1 => {
                        let mix: Vec<_> = if what == 0 { vec![a] } else { vec![a, b, a] };
                        let dropped = |v: &Version| pool.entries.get(v).is_some_and(|e| e.dropped);
                        if mix.iter().any(dropped) {
                            continue;
                        }
                        let list: Vec<_> = mix.iter().map(|v| wanted(*v, size(*v))).collect();
                        let used: usize = users.iter().flatten().collect::<std::collections::BTreeSet<_>>()
                            .into_iter().map(|v| size(*v)).sum();
                        let mut own = mix;
                        own.sort_unstable();
                        own.dedup();
                        let needed: usize = own.iter().map(|v| size(*v)).sum();
                        let result = pool.acquire(&list);
                        if result.is_ok() {
                            users.push(own);
                        } else {
                            // Only because of what is in use, or is being read.
                            let busy: usize = reading.iter().map(|v| size(*v)).sum();
                            prop_assert!(used + busy + needed > budget);
                        }
                    }
                    2 => {
                        if let Some((version, ())) = pool.next_to_read() {
                            reading.push(version);
                        }
                    }
                    3 if !reading.is_empty() => {
                        let version = reading.remove(at % reading.len());
                        if b == 0 { pool.failed(version) } else { pool.arrived(version) }
                    }
                    4 if !users.is_empty() => {
                        let own = users.remove(at % users.len());
                        pool.unpin(&own);
                    }
                    5 => {
                        if b == 0 { pool.drop_version(a) }
                        pool.leaving().into_iter().for_each(|version| pool.gone(version));
                    }
                    _ => {}
                }
                prop_assert!(pool.held() <= budget);
                let held: usize = pool.entries.values().filter(|e| e.is_held()).map(|e| e.bytes).sum();
                prop_assert_eq!(held, pool.held());
                let promised: usize = pool.entries.values().filter(|e| e.is_promised()).map(|e| e.bytes).sum();
                prop_assert!(promised <= budget);
                let mut pins: HashMap<Version, usize> = HashMap::new();
                users.iter().flatten().for_each(|v| *pins.entry(*v).or_default() += 1);
                for (version, count) in pins {
                    let entry = &pool.entries[&version];
                    prop_assert_eq!(entry.pins, count);
                    prop_assert!(entry.place != Place::Leaving);
                }
            }
        }
    }
}
