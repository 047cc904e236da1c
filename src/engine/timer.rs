//! The decoder alone, timed step by step: what the planner's step times are fitted to.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use npc_onnx::ModelFile;

use super::adapter::{Adapter, Reader};
use super::checks::bad;
use super::decoder::{ResolvedMix, Step, StepToken, StepWork};
use super::logits::Logits;
use super::sampler::Sampler;
use super::{EngineError, Opened, Sampling};
use crate::config;

/// Tokens of a past that are computed at once.
const FILL: usize = 128;

/// Tokens of the text between where two sequences begin.
const APART: usize = 37;

/// Tokens of one sequence in a step that is timed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPart {
    pub sequence: usize,
    /// Tokens that the sequence holds before.
    pub past: usize,
    /// Tokens to compute; at least 1.
    pub tokens: usize,
    /// Whether the last one's logits are wanted; a token is then drawn from them.
    pub wants_logits: bool,
    /// Adapters of the sequence, by the order in which they were loaded.
    pub adapters: Vec<usize>,
}

/// A model that no engine runs. Every step takes the whole machine, so nothing else should run beside it.
pub struct StepTimer {
    opened: Opened,
    reader: Reader,
    adapters: Vec<Arc<Adapter>>,
    /// By sequence.
    mixes: Vec<Arc<ResolvedMix>>,
    /// Tokens that each sequence holds.
    held: Vec<usize>,
    sampler: Sampler,
    /// What sequences hold: parts of a text, each from another place.
    text: Vec<u32>,
    logits: Logits,
    tokens: Vec<StepToken>,
}

impl std::fmt::Debug for StepTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepTimer").field("adapters", &self.adapters.len()).finish_non_exhaustive()
    }
}

impl StepTimer {
    /// Opens a model folder as [`Engine::start`](super::Engine::start) does. Blocks while the model is read. `text`: what
    /// sequences hold; what it is matters, for a model that knows how it goes on leaves fewer tokens to draw from.
    ///
    /// # Errors
    /// As [`Engine::start`](super::Engine::start), and [`EngineError::BadRequest`] for a sampling out of its ranges or a
    /// text without tokens.
    pub fn open(
        model_dir: &Path,
        library: &Path,
        config: &config::Engine,
        sampling: Sampling,
        text: &str,
    ) -> Result<Self, EngineError> {
        sampling.check()?;
        let opened = Opened::open(model_dir, library, config)?;
        let text = opened.tokenizer.encode_text(text);
        if text.is_empty() {
            return Err(bad("text", "empty", "some words"));
        }
        let reader = opened.reader(config);
        let mixes = vec![Arc::default(); opened.decoder.sequences()];
        Ok(Self {
            held: vec![0; mixes.len()],
            opened,
            reader,
            adapters: Vec::new(),
            mixes,
            sampler: Sampler::new(sampling),
            text,
            logits: Logits::default(),
            tokens: Vec::new(),
        })
    }

    /// What `model.toml` says of the model.
    pub fn model(&self) -> &ModelFile {
        &self.opened.model
    }

    /// What computes: `native` or `portable`.
    pub fn decoder(&self) -> &'static str {
        self.opened.decoder_name()
    }

    /// Sequences that a step may have.
    pub fn sequences(&self) -> usize {
        self.mixes.len()
    }

    /// Tokens of one sequence.
    pub fn context(&self) -> usize {
        self.opened.decoder.context()
    }

    /// Reads a PEFT adapter.
    ///
    /// # Errors
    /// [`EngineError::BadAdapter`].
    pub fn load_adapter(&mut self, id: &str, dir: &Path) -> Result<(), EngineError> {
        self.adapters.push(Arc::new(self.reader.read(id, dir)?));
        self.opened.decoder.set_adapters(&self.adapters)
    }

    /// Computes a step: the decoder, and a token drawn from each of its logits. Returns what it computed and how long it
    /// took. A sequence that holds less than its part's past is filled before, which does not count.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for a sequence, a length or an adapter that there is not; errors of the decoder.
    pub fn time(&mut self, parts: &[StepPart]) -> Result<(StepWork, Duration), EngineError> {
        for part in parts {
            self.check(part)?;
            self.fill(part.sequence, part.past)?;
        }
        self.tokens.clear();
        for part in parts {
            // Weights that mixes have: none of them switches an adapter off.
            let adapters = part.adapters.iter().map(|at| (Arc::clone(&self.adapters[*at]), 0.5));
            self.mixes[part.sequence] = Arc::new(adapters.collect());
            self.push(part.sequence, part.past..part.past + part.tokens);
            if let Some(last) = self.tokens.last_mut() {
                last.wants_logits = part.wants_logits;
            }
            self.held[part.sequence] = part.past + part.tokens;
        }
        let step = Step { tokens: &self.tokens, mixes: &self.mixes };
        let start = Instant::now();
        self.opened.decoder.step(step, &mut self.logits)?;
        for row in self.logits.rows(self.opened.decoder.vocab_size()) {
            // Which one it is does not matter.
            std::hint::black_box(self.sampler.sample(row));
        }
        Ok((step.work(), start.elapsed()))
    }

    fn check(&self, part: &StepPart) -> Result<(), EngineError> {
        let (sequences, context) = (self.sequences(), self.context());
        let fits = part.past.checked_add(part.tokens).is_some_and(|end| end <= context);
        if part.sequence >= sequences || part.tokens == 0 || !fits {
            let allowed = format!("1 to {context} tokens of a sequence below {sequences}");
            return Err(bad("step", format!("{part:?}"), allowed));
        }
        match part.adapters.iter().find(|at| **at >= self.adapters.len()) {
            Some(at) => {
                Err(bad("step.adapters", at, format!("below {}, which are loaded", self.adapters.len())))
            }
            None => Ok(()),
        }
    }

    /// Computes what a sequence lacks to hold so many tokens.
    fn fill(&mut self, sequence: usize, past: usize) -> Result<(), EngineError> {
        while self.held[sequence] < past {
            let from = self.held[sequence];
            let to = past.min(from + FILL);
            self.tokens.clear();
            self.push(sequence, from..to);
            let step = Step { tokens: &self.tokens, mixes: &self.mixes };
            self.opened.decoder.step(step, &mut self.logits)?;
            self.held[sequence] = to;
        }
        Ok(())
    }

    fn push(&mut self, sequence: usize, positions: Range<usize>) {
        let text = &self.text;
        self.tokens.extend(positions.map(|position| StepToken {
            sequence,
            position,
            token: text[(position + sequence * APART) % text.len()],
            wants_logits: false,
        }));
    }
}
