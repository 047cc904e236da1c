//! Counters by names that come from outside.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::kinds::Counter;

/// Where names beyond the bound are counted.
const OTHER: &str = "other";

/// A counter for each of the first names, and one for all others.
#[derive(Debug)]
pub struct ByName {
    most: usize,
    named: RwLock<BTreeMap<Box<str>, Counter>>,
    other: Counter,
}

impl ByName {
    /// `most`: names that are counted apart.
    pub fn new(most: usize) -> Self {
        Self { most, named: RwLock::default(), other: Counter::default() }
    }

    pub fn inc(&self, name: &str) {
        if name == OTHER {
            return self.other.inc();
        }
        if let Some(counter) = self.named.read().get(name) {
            return counter.inc();
        }
        let mut named = self.named.write();
        if named.len() < self.most || named.contains_key(name) {
            named.entry(name.into()).or_default().inc();
        } else {
            self.other.inc();
        }
    }

    /// Every name with its count, the others last.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let named = self.named.read();
        let named = named.iter().map(|(name, counter)| (name.to_string(), counter.get()));
        named.chain([(OTHER.to_owned(), self.other.get())]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let counts = ByName::new(2);
        for name in ["ghoul", "other", "banshee", "ghoul", "lich", "wraith", "banshee"] {
            counts.inc(name);
        }
        let expected = [("banshee", 2), ("ghoul", 2), (OTHER, 3)];
        assert_eq!(counts.counts(), expected.map(|(name, count)| (name.to_owned(), count)));
    }
}
