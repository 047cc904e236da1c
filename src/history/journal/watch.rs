//! How the journal is, for those who watch it.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::{Journal, Shared};
use crate::metrics::JournalMetrics;

/// Milliseconds since 1970, UTC.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// When a row came, by its id.
pub(super) fn moment_ms(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

/// Bytes of the journal's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalSize {
    pub database: u64,
    /// The write-ahead log.
    pub log: u64,
}

impl Shared {
    /// How long the oldest row has waited that the archive does not have, in milliseconds.
    fn oldest_ms(&self, now_ms: u64) -> u64 {
        let oldest = self.oldest_ms.load(Ordering::Acquire);
        let waits = oldest > 0 && self.waiting.load(Ordering::Acquire) > 0;
        if waits { now_ms.saturating_sub(oldest) } else { 0 }
    }
}

impl Journal {
    pub fn metrics(&self) -> &JournalMetrics {
        &self.shared.metrics
    }

    /// Records and NPCs that wait to be written.
    pub fn queued(&self) -> usize {
        self.queue.saturating_sub(self.room.available_permits())
    }

    /// How many may.
    pub fn queue_limit(&self) -> usize {
        self.queue
    }

    /// Queries that wait for one of the threads that read.
    pub fn queries(&self) -> usize {
        self.reader.lock().as_ref().map_or(0, |reader| reader.waiting())
    }

    /// Asks the disk.
    pub fn size(&self) -> JournalSize {
        let bytes = |path: &std::path::Path| path.metadata().map_or(0, |metadata| metadata.len());
        let log = self.path.with_extension("sqlite-wal");
        JournalSize { database: bytes(&self.path), log: bytes(&log) }
    }

    /// How long the oldest row has waited that the archive does not have, in milliseconds; 0: none does, or that is not
    /// known.
    pub fn archive_lag_ms(&self) -> u64 {
        self.shared.oldest_ms(now_ms())
    }

    /// The drain has read what is the oldest row now that it has to move; `None`: there is none.
    pub(in crate::history) fn oldest_is(&self, id: Option<Uuid>) {
        self.shared.oldest_ms.store(id.map_or(0, moment_ms), Ordering::Release);
    }
}
