//! What a model is asked.

use crate::engine::{Message, Sampling};

/// A line that wants an answer.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub archetype: &'a str,
    /// The persona, what was said, and the line.
    pub messages: &'a [Message],
    pub sampling: &'a Sampling,
    pub stop: &'a [String],
    pub max_tokens: u32,
    /// As the local base counts them.
    pub prompt_tokens: u32,
}
