use serde::{Deserialize, Serialize};

/// Defaults of a turn.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub max_tokens: u32,
    /// Above 0, at most 2.
    pub temperature: f32,
    /// Above 0, at most 1.
    pub top_p: f32,
    /// At least 0, below 1.
    pub min_p: f32,
    /// 1 to 2; 1: no change.
    pub repetition_penalty: f32,
    /// Texts that end an answer, besides the request's own.
    pub stop: Vec<String>,
    /// For measurements: an answer goes on past its end and its stop texts until `max_tokens`.
    pub ignore_end: bool,
    /// Characters per second.
    pub speech_rate: f32,
    /// Milliseconds that a line waits for the engine at most.
    pub queue_timeout_ms: u64,
    pub window_min: usize,
    /// At least `window_min`.
    pub window_max: usize,
}
