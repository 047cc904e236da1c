use serde::{Deserialize, Serialize};

/// What was said, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Records that wait for the journal.
    pub queue: usize,
    /// Records in one transaction.
    pub batch: usize,
    pub write_timeout_ms: u64,
    /// The journal's size; 0: no limit but the disk's.
    pub max_mb: u64,
}
