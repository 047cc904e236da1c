//! What is counted, and the figures of it.

use serde::{Deserialize, Serialize};

/// A distribution in short, in milliseconds; 0 of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// What was seen of a server, or of all servers of a fleet together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Simulated {
    /// From the player's line to its first token; waiting in the NPC's mailbox counts.
    pub first_token_ms: Percentiles,
    /// From when a choice is asked to its answer.
    pub choice_ms: Percentiles,
    /// That were answered.
    pub lines_per_s: f64,
    pub choices_per_s: f64,
    /// Generated tokens.
    pub decode_tokens_per_s: f64,
    /// Tokens that steps computed, of every kind.
    pub step_tokens_per_s: f64,
    /// Share of the time in which a step is computed: 0 to 1, of a fleet its servers' mean.
    pub busy: f64,
    /// Lines that were refused, or had no row at their deadline.
    pub overloaded: u64,
    /// Choices that were refused or late; their turns went on without them.
    pub choices_missed: u64,
    /// Lines that were answered and counted.
    pub lines: u64,
    /// All lines that came, also those in the warm-up, and what became of them.
    pub all: Lines,
}

/// Lines from the beginning to the end. Every one that came is in exactly one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lines {
    pub came: u64,
    pub answered: u64,
    pub overloaded: u64,
    /// Waiting or being answered when the time was over.
    pub running: u64,
}

/// Counts and times of one server or more.
#[derive(Debug, Default)]
pub struct Tally {
    /// Simulated and counted time of all servers, in seconds.
    pub counted_s: f64,
    pub servers: u64,
    /// Milliseconds, in the order in which they ended.
    pub first_token_ms: Vec<f32>,
    pub choice_ms: Vec<f32>,
    pub generated: u64,
    pub step_tokens: u64,
    pub busy_s: f64,
    pub overloaded: u64,
    pub choices_missed: u64,
    pub all: Lines,
}

impl Tally {
    /// Adds another server's.
    pub fn add(&mut self, other: Self) {
        self.counted_s += other.counted_s;
        self.servers += other.servers;
        self.first_token_ms.extend(other.first_token_ms);
        self.choice_ms.extend(other.choice_ms);
        self.generated += other.generated;
        self.step_tokens += other.step_tokens;
        self.busy_s += other.busy_s;
        self.overloaded += other.overloaded;
        self.choices_missed += other.choices_missed;
        self.all.came += other.all.came;
        self.all.answered += other.all.answered;
        self.all.overloaded += other.all.overloaded;
        self.all.running += other.all.running;
    }

    /// The figures of all servers, each counted `scale` times: rates and counts of what was not simulated beside it.
    pub fn figures(self, scale: f64) -> Simulated {
        // Servers run side by side: the time of one.
        let seconds = self.counted_s / self.servers.max(1) as f64;
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds * scale } else { 0.0 };
        let scaled = |count: u64| (count as f64 * scale).round() as u64;
        let lines = self.first_token_ms.len() as u64;
        Simulated {
            lines_per_s: rate(lines),
            choices_per_s: rate(self.choice_ms.len() as u64),
            decode_tokens_per_s: rate(self.generated),
            step_tokens_per_s: rate(self.step_tokens),
            busy: if self.counted_s > 0.0 { self.busy_s / self.counted_s } else { 0.0 },
            overloaded: scaled(self.overloaded),
            choices_missed: scaled(self.choices_missed),
            lines: scaled(lines),
            all: self.all,
            first_token_ms: percentiles(self.first_token_ms),
            choice_ms: percentiles(self.choice_ms),
        }
    }
}

/// Between neighbours by linear interpolation.
fn percentiles(mut values: Vec<f32>) -> Percentiles {
    values.sort_unstable_by(f32::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return Percentiles::default() };
    let at = |share: f64| {
        let at = last as f64 * share;
        let (low, high) = (f64::from(values[at.floor() as usize]), f64::from(values[at.ceil() as usize]));
        low + (high - low) * at.fract()
    };
    Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}
