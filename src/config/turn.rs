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
    /// What is told besides the line.
    pub tracks: Vec<Track>,
    /// Milliseconds that the end of a line waits for the tracks' answers at most.
    pub tracks_timeout_ms: u64,
    /// An action that is less likely is not proposed; 0 to 1.
    pub action_floor: f32,
    pub window_min: usize,
    /// At least `window_min`.
    pub window_max: usize,
}

/// What a turn does besides speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    Emotion,
    Face,
    Action,
    Social,
    Goal,
}
