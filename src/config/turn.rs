use serde::Deserialize;

/// Defaults of a turn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub max_tokens: u32,
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub speech_rate: f32,
    pub window_min: usize,
    pub window_max: usize,
}
