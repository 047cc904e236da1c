use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Training the adapters of archetypes that have none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    /// Whether the first player who meets an archetype without adapters starts it.
    pub auto: bool,
    /// A program in the place of this one's own trainer; empty: none.
    pub trainer: PathBuf,
    /// Rounds over the lines; 0: as many as the trainer finds right.
    pub epochs: u32,
    /// Threads of the trainer.
    pub threads: usize,
    /// Archetypes that may wait.
    pub queue: usize,
    /// MiB that one training may write.
    pub max_mb: u64,
    /// Minutes that the training of one archetype may take.
    pub max_minutes: u64,
    /// MiB of memory that the trainer may take.
    pub max_memory_mb: u64,
}
