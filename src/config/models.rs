use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What answers for archetypes without adapters.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// The remote models; empty: there are none.
    pub file: PathBuf,
    pub priority: Priority,
    /// What a million tokens of the local base cost.
    pub local_cost: f64,
    /// How good it is.
    pub local_quality: f64,
    /// Milliseconds that remote models have together for the first word.
    pub first_word_ms: u64,
    /// Milliseconds between two words.
    pub stall_ms: u64,
    /// How often a model is asked again that failed before its first word.
    pub retries: u32,
    /// Failures in a row after which a model is left alone.
    pub breaker_failures: u32,
    /// Milliseconds for which it is.
    pub breaker_open_ms: u64,
    /// Seconds after which what was measured counts no more.
    pub remeasure_s: u64,
}

/// What the choice among models is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// The one that answers soonest.
    Latency,
    /// The cheapest.
    Cost,
    /// The best.
    Quality,
    /// All three alike.
    Balanced,
}
