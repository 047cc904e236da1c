//! What a sequence holds, and whose it may become.

use super::mix::MixKey;

/// A kept sequence that is this much longer than what is shared is left as it is: the tail is another line, or the
/// same one tokenized a little differently after its end.
const TAIL: usize = 8;

/// The tokens whose keys and values the decoder holds for a sequence that no request has.
#[derive(Debug)]
pub struct Kept {
    pub tokens: Vec<u32>,
    pub mix: MixKey,
    /// When a request last had it; larger is later.
    pub used: u64,
}

/// How many tokens two sequences begin with alike.
pub fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Kept {
    /// Whether a request that shares the first `tokens` tokens may go on in this very sequence.
    pub fn may_be_continued(&self, tokens: usize) -> bool {
        self.tokens.len() <= tokens + TAIL
    }
}
