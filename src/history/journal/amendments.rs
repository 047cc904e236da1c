//! What was heard after a turn's end, on its way into the journal.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::history::record::Heard;

/// Records that are amended at the same time at most. What comes beyond them is not taken: it is one of many
/// `playback` frames, and another one follows.
const MAX: usize = 100_000;

/// The newest of what is known for each record.
#[derive(Debug, Default)]
pub(super) struct Amendments {
    waiting: Mutex<HashMap<Uuid, Heard>>,
}

impl Amendments {
    /// Notes how a record changes; tells whether the writer has to be woken. `heard` is asked under the lock, so that
    /// of two at the same time the later one stays. False if there is no room.
    pub fn add(&self, id: Uuid, heard: impl FnOnce() -> Heard) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX && !waiting.contains_key(&id) {
            tracing::warn!(%id, "too many records change at once: what was heard of this one is not noted");
            return false;
        }
        waiting.insert(id, heard());
        waiting.len() == 1
    }

    pub fn take(&self) -> Vec<(Uuid, Heard)> {
        self.waiting.lock().drain().collect()
    }

    /// Those that could not be written; what came meanwhile is newer.
    pub fn put_back(&self, amendments: Vec<(Uuid, Heard)>) {
        let mut waiting = self.waiting.lock();
        for (id, heard) in amendments {
            if let Entry::Vacant(entry) = waiting.entry(id) {
                entry.insert(heard);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }
}
