//! Capacity: what one device does in a second of a chain's work, within the latency targets.
//!
//! `scale` turns measured times of steps into those of another device and model by a roofline, `mix` says what an action
//! asks of steps, and this file looks for the batch that does most within the targets.

mod mix;
mod scale;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::input::{self, InputError};
use super::steps::{StepShape, StepTimes};

pub use mix::Mix;
pub use scale::{Basis, Deployed, Figure, Scaled, measured_model};

/// Rows that the gateway may compute at once: `engine.rows` goes no higher.
pub const MOST_ROWS: u64 = 256;

/// Prompt tokens of a step: the least that is advised, the unit in which it is advised, and what
/// `engine.prefill_budget` may be.
const LEAST_BUDGET: u64 = 128;
const BUDGET_UNIT: u64 = 64;
const MOST_BUDGET: u64 = 8192;

/// A row that decodes and one whose prompt is computed: where there is room for one alone, they take turns.
const LEAST_ROWS: u64 = 2;

/// The smallest batch that is looked at decodes a row in one of so many steps.
const RAREST: f64 = 1.0 / 1024.0;

/// How long players may wait.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// 95th percentile of the time to a line's first token, in milliseconds, 1 to 600,000.
    pub first_token_ms: f64,
    /// Between two tokens of a line, in milliseconds, 0.1 to 60,000.
    pub token_ms: f64,
}

impl Default for Targets {
    /// Assumed: half a second before an NPC speaks; 20 tokens a second, some three times as fast as people speak.
    fn default() -> Self {
        Self { first_token_ms: 500.0, token_ms: 50.0 }
    }
}

impl Targets {
    pub fn check(&self, key: &str) -> Result<(), InputError> {
        input::number(&format!("{key}.first_token_ms"), self.first_token_ms, 1.0, 600_000.0)?;
        input::number(&format!("{key}.token_ms"), self.token_ms, 0.1, 60_000.0)
    }
}

/// What keeps the batch from being larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// No room for more keys and values.
    KvMemory,
    /// Steps would be longer than a token may take.
    TokenLatency,
    /// A prompt and the step before it would be longer than the first token may take.
    FirstToken,
    /// The gateway computes no more rows, or no more prompt tokens in a step.
    Engine,
    /// A larger batch does no more in a second.
    Throughput,
}

impl Limit {
    pub const fn words(self) -> &'static str {
        match self {
            Self::KvMemory => "memory for keys and values",
            Self::TokenLatency => "the time between two tokens",
            Self::FirstToken => "the time to the first token",
            Self::Engine => "the engine's largest number of rows or prompt tokens in a step",
            Self::Throughput => "throughput: a larger batch does no more",
        }
    }
}

/// What a device does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Rows in flight: lines that decode and requests whose prompts are computed.
    pub rows: u64,
    pub actions_per_s: f64,
    pub lines_per_s: f64,
    pub choices_per_s: f64,
    pub decode_tokens_per_s: f64,
    pub prefill_tokens_per_s: f64,
    /// Of a step at this batch: what lies between two tokens of a line.
    pub step_ms: f64,
    /// A running step and a line's own prompt: there is no shorter wait while the device is full.
    pub first_token_ms: f64,
    /// `engine.prefill_budget` that this takes.
    pub prefill_budget: u64,
    pub limit: Limit,
}

/// Targets that this device does not reach even with a single row that rarely decodes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{target} is {target_ms} ms, and {what} takes {least_ms:.1} ms: {:.1} ms too long", self.over_ms())]
pub struct TooSlow {
    /// The target's name.
    pub target: &'static str,
    pub what: &'static str,
    pub target_ms: f64,
    pub least_ms: f64,
}

impl TooSlow {
    pub fn over_ms(&self) -> f64 {
        self.least_ms - self.target_ms
    }
}

/// A batch that was looked at.
struct Batch {
    seconds: f64,
    first_s: f64,
    rows: u64,
    budget: u64,
    actions: f64,
}

/// What the device does of `mix` at best within the targets.
///
/// `memory_rows` have room. With several `bases` on a device each has its turn: a row waits for a step of every base, so
/// a step may take only that part of the target; and its time counts as that of the batch and of a single row together,
/// since batches that are divided among bases read each base's weights (`max(a, bx)` is never more than `a + bx`).
///
/// Where one row that always decodes is too much, because so many choices or prompts go with it, a row that decodes in a
/// part of the steps is looked at, halved down to one step of 1024; a prompt then is a step of its own.
///
/// # Errors
/// A single row is over a target however rarely it decodes.
pub fn capacity(
    steps: &StepTimes,
    mix: &Mix,
    targets: &Targets,
    memory_rows: u64,
    bases: usize,
) -> Result<Capacity, TooSlow> {
    let turns = bases.max(1) as f64;
    let alone = if bases > 1 { steps.seconds(mix.shape(1.0)) } else { 0.0 };
    let batch = |items: f64| {
        let part = mix.part(items);
        let prefill = (part * mix.prefill).ceil() as u64;
        let budget = prefill.div_ceil(BUDGET_UNIT).max(1) * BUDGET_UNIT;
        let budget = budget.max(LEAST_BUDGET);
        let seconds = steps.seconds(mix.shape(items)) + alone;
        let prompts = (mix.longest_prompt / budget as f64).ceil().max(1.0);
        // On average such a step has fewer tokens than a prompt.
        let longest = if items < 1.0 { seconds.max(prompt_s(steps, mix, budget)) } else { seconds };
        Batch {
            seconds,
            first_s: (1.0 + prompts) * longest * turns,
            rows: (items + (part * mix.requests()).ceil()).ceil() as u64,
            budget,
            actions: part,
        }
    };
    let over = |batch: &Batch| {
        let token_ms = batch.seconds * turns * 1e3;
        if mix.decode > 0.0 && token_ms > targets.token_ms {
            Some(TooSlow {
                target: "the target for the time between two tokens",
                what: "one step of a single row",
                target_ms: targets.token_ms,
                least_ms: token_ms,
            })
        } else if batch.first_s * 1e3 > targets.first_token_ms {
            Some(TooSlow {
                target: "the target for the time to the first token",
                what: "a running step and a single prompt",
                target_ms: targets.first_token_ms,
                least_ms: batch.first_s * 1e3,
            })
        } else {
            None
        }
    };
    let stops = |batch: &Batch| {
        if batch.rows > MOST_ROWS || batch.budget > MOST_BUDGET {
            Some(Limit::Engine)
        } else if batch.rows > memory_rows.max(LEAST_ROWS) {
            Some(Limit::KvMemory)
        } else {
            over(batch).map(|slow| {
                if slow.what.starts_with("one") { Limit::TokenLatency } else { Limit::FirstToken }
            })
        }
    };
    let (mut smallest, mut first, mut limit) = (1.0, batch(1.0), Limit::Engine);
    while let Some(stop) = stops(&first) {
        if smallest <= RAREST {
            // Memory for a row there is: what called this has looked. The engine has room for such a step.
            return match over(&first) {
                Some(slow) => Err(slow),
                None => Ok(done(&first, mix, turns, stop)),
            };
        }
        (smallest, limit) = (smallest / 2.0, stop);
        first = batch(smallest);
    }
    if smallest < 1.0 {
        return Ok(done(&first, mix, turns, limit));
    }
    let (mut best, mut items) = (first, 2);
    let mut best_items = 1;
    while items <= MOST_ROWS {
        let next = batch(items as f64);
        if let Some(stop) = stops(&next) {
            limit = stop;
            break;
        }
        if next.actions / next.seconds > best.actions / best.seconds {
            (best, best_items) = (next, items);
        }
        items += 1;
    }
    if best_items + 1 < items {
        limit = Limit::Throughput;
    }
    Ok(done(&best, mix, turns, limit))
}

/// Of a step that computes nothing but as much of a prompt as it may.
fn prompt_s(steps: &StepTimes, mix: &Mix, budget: u64) -> f64 {
    let tokens = mix.longest_prompt.min(budget as f64).ceil() as usize;
    steps.seconds(StepShape { tokens, logits: 1, ..StepShape::default() })
}

fn done(best: &Batch, mix: &Mix, turns: f64, limit: Limit) -> Capacity {
    let actions_per_s = best.actions / best.seconds;
    Capacity {
        rows: best.rows,
        actions_per_s,
        lines_per_s: actions_per_s * mix.lines,
        choices_per_s: actions_per_s * mix.choices,
        decode_tokens_per_s: actions_per_s * mix.decode,
        prefill_tokens_per_s: actions_per_s * mix.prefill,
        step_ms: best.seconds * turns * 1e3,
        first_token_ms: best.first_s * 1e3,
        prefill_budget: best.budget.min(MOST_BUDGET),
        limit,
    }
}
