//! The contract between the scheduler and whatever computes logits.

use std::sync::Arc;

use super::EngineError;
use super::adapter::Adapter;
use super::logits::Logits;

/// One token of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepToken {
    /// Which sequence it belongs to: below [`Decoder::sequences`].
    pub sequence: usize,
    /// Where it stands in its sequence: below [`Decoder::context`].
    pub position: usize,
    pub token: u32,
    pub wants_logits: bool,
}

/// The adapters of one sequence: y = Wx + Σᵢ gᵢ·sᵢ·Bᵢ(Aᵢx).
pub type ResolvedMix = Vec<(Arc<Adapter>, f32)>;

/// A flat list of tokens to compute at once: prefill chunks and single decode tokens side by side.
///
/// The tokens of one sequence stand together, in ascending and gapless positions; the first continues what
/// the sequence holds, or starts anywhere before that: what stood at the later positions is then forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub tokens: &'a [StepToken],
    /// The mix of each sequence, by sequence number; read only for sequences that have tokens here.
    pub mixes: &'a [Arc<ResolvedMix>],
}

/// How much a step computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepWork {
    pub tokens: usize,
    /// Tokens whose logits are wanted.
    pub logits: usize,
    /// Sum over the tokens of the positions that each looks at, its own included.
    pub attended: usize,
    /// Sum over the sequences of the positions that any of their tokens looks at: what is read of the KV cache.
    pub read: usize,
    /// Sum over the tokens of their adapters.
    pub mixed: usize,
}

impl Step<'_> {
    pub fn work(&self) -> StepWork {
        let mut work = StepWork { tokens: self.tokens.len(), ..StepWork::default() };
        for token in self.tokens {
            work.logits += usize::from(token.wants_logits);
            work.attended += token.position + 1;
            work.mixed += self.mixes.get(token.sequence).map_or(0, |mix| mix.len());
        }
        for own in self.tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            work.read += own.last().map_or(0, |last| last.position + 1);
        }
        work
    }
}

/// Memory of keys and values, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvUse {
    /// What sequences hold, those that are kept included.
    pub used: usize,
    pub limit: usize,
}

/// Computes steps. Not shared: one thread owns it.
///
/// Whoever drives it sees to it that pages suffice: a sequence of n tokens takes ⌈n / [`Decoder::page_tokens`]⌉ of
/// them, less those that it shares, and one more while it goes on from the middle of a shared one.
pub trait Decoder: Send {
    /// How many sequences it can hold: those that are computed, and those that are kept to go on later.
    fn sequences(&self) -> usize;

    /// Tokens that share a page of the KV cache; a sequence takes whole pages.
    fn page_tokens(&self) -> usize;

    /// Pages that no sequence has.
    fn free_pages(&self) -> usize;

    /// The memory of keys and values; `None`: that is not known.
    fn kv(&self) -> Option<KvUse> {
        None
    }

    /// How many tokens a sequence can hold.
    fn context(&self) -> usize;

    /// How many logits a position has.
    fn vocab_size(&self) -> usize;

    /// Makes exactly these adapters usable in mixes. Costs time in proportion to their size.
    fn set_adapters(&mut self, resident: &[Arc<Adapter>]) -> Result<(), EngineError>;

    /// Forgets a sequence.
    fn release(&mut self, sequence: usize);

    /// Makes the sequence `to` begin with the first `tokens` tokens of `from`, instead of what it held. Returns how
    /// many it shares: 0 where the decoder cannot.
    fn share(&mut self, from: usize, to: usize, tokens: usize) -> usize;

    /// Computes a step and writes the logits of the tokens that want them into `logits`, in their order,
    /// [`Decoder::vocab_size`] each. After an error the sequences of the step hold nothing that can be used.
    fn step(&mut self, step: Step<'_>, logits: &mut Logits) -> Result<(), EngineError>;
}
