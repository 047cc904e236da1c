//! What callers ask of the engine, and what they get back.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::script::Play;

/// One adapter of a mix, with its weight gᵢ.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    /// Id of a loaded adapter.
    pub adapter: Arc<str>,
    /// gᵢ: any finite number; 0 leaves the adapter out.
    pub weight: f32,
}

/// The adapters of one request: y = Wx + Σᵢ gᵢ·sᵢ·Bᵢ(Aᵢx). Empty: the base model.
pub type Mix = Vec<Weighted>;

/// How the next token is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Always the most likely token; the fields below are then ignored.
    pub greedy: bool,
    /// Divides the logits; above 0, at most 2.
    pub temperature: f32,
    /// Keeps the smallest set of tokens whose probabilities sum to this; in (0, 1].
    pub top_p: f32,
    /// Drops tokens less likely than this share of the likeliest; in [0, 1).
    pub min_p: f32,
    /// Makes the answer's own tokens less likely to come again: their logits are divided by it where they are
    /// positive and multiplied where they are negative (Keskar et al. 2019, "CTRL"). In [1, 2]; 1: no change.
    pub repetition_penalty: f32,
    /// Same seed, same draws. Absent: drawn at random.
    pub seed: Option<u64>,
}

/// Who gets a row first when there are fewer than requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    /// Whose request it is, as any number: the owner with the fewest rows gets the next one.
    pub owner: u64,
    /// Which NPC answers, as any number: of an owner's requests, that of the NPC with the fewest rows comes first.
    pub npc: u64,
    /// No player waits for it: it gets a row only when nobody else wants it, and half of the rows at most.
    pub background: bool,
    /// If it has no row by then it fails with [`DeadlineExceeded`](super::EngineError::DeadlineExceeded), and at once
    /// with [`Overloaded`](super::EngineError::Overloaded) if the engine expects so.
    pub deadline: Option<Instant>,
}

/// Asks for text.
#[derive(Debug, Clone, PartialEq)]
pub struct Generate {
    /// Token ids, special tokens included.
    pub prompt: Vec<u32>,
    pub mix: Mix,
    pub sampling: Sampling,
    /// Generation ends before the first of these texts.
    pub stop: Vec<String>,
    /// Tokens to generate at most; at least 1.
    pub max_tokens: u32,
    /// Goes on past the model's own end of an answer: for measurements, which want a certain length.
    pub ignore_end: bool,
    pub schedule: Schedule,
}

/// Asks how likely each of a closed list of texts is after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Choose {
    pub prompt: Vec<u32>,
    pub mix: Mix,
    /// At least one text; none may be empty.
    pub options: Vec<String>,
    pub schedule: Schedule,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its answer, or a stop text came.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
}

/// Tokens and times of one request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Prompt tokens whose keys and values were already there.
    pub cached_tokens: u32,
    pub generated_tokens: u32,
    /// Milliseconds from submission until the first prompt token was computed.
    pub queue_ms: f64,
    /// Milliseconds from submission until the first generated token.
    pub first_token_ms: f64,
    /// Steps of the engine from submission until the first generated token, and until the end.
    pub first_token_steps: u32,
    pub steps: u32,
}

/// What a [`Generate`] streams: one `Started`, any number of `Text`, then one `Finished` or `Failed`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The request has its row.
    Started {
        prompt_tokens: u32,
        cached_tokens: u32,
    },
    /// More text: whole characters only; `tokens` of the model went into it.
    Text {
        text: String,
        tokens: u32,
    },
    Finished {
        reason: FinishReason,
        usage: Usage,
    },
    Failed {
        error: super::EngineError,
    },
}

/// The distribution over the options of a [`Choose`].
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Probability of each option, in their order; they sum to 1.
    pub probs: Vec<f32>,
    pub usage: Usage,
}

/// A running generation. Dropping it frees its row at the next step.
#[derive(Debug)]
pub struct Generation {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Model(mpsc::Receiver<Event>),
    Script(Box<Play>),
}

impl From<mpsc::Receiver<Event>> for Generation {
    fn from(events: mpsc::Receiver<Event>) -> Self {
        Self { source: Source::Model(events) }
    }
}

impl From<Play> for Generation {
    fn from(play: Play) -> Self {
        Self { source: Source::Script(Box::new(play)) }
    }
}

impl Generation {
    /// The next event; `None` after `Finished` or `Failed`.
    pub async fn next(&mut self) -> Option<Event> {
        match &mut self.source {
            Source::Model(events) => events.recv().await,
            Source::Script(play) => play.next().await,
        }
    }

    /// The next event if it is there already.
    pub fn ready(&mut self) -> Option<Event> {
        match &mut self.source {
            Source::Model(events) => events.try_recv().ok(),
            Source::Script(play) => play.ready(),
        }
    }
}
