//! Which tokens are computed next. A plain struct: no thread, no clock, no model.
//!
//! Every step: rows whose caller has gone leave, waiting requests take free rows in their order, every row
//! that generates computes one token, and what is left of the budget goes to prompts, oldest first.

mod row;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub use row::{ChooseWork, GenerateWork, Job, Work};
pub use stop::{MAX_STOP_CHARS, MAX_STOPS, StopMatcher};

use self::row::{After, Row};
use super::decoder::{ResolvedMix, StepToken};
use super::{EngineError, adapter::Adapter};

/// What bounds the scheduler.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests computed at the same time.
    pub rows: usize,
    /// Tokens of one sequence.
    pub context: usize,
    /// Prompt tokens in one step; at least 1.
    pub prefill_budget: usize,
    pub vocab_size: usize,
}

/// How the rows changed in a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sequences that the decoder must forget.
    pub released: Vec<usize>,
    /// Requests that ended because nobody waited for them any more.
    pub abandoned: usize,
    /// How long each finished request had its row, in milliseconds.
    pub durations_ms: Vec<u64>,
}

/// The queue and the rows.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    waiting: VecDeque<Job>,
    /// By sequence number.
    rows: Vec<Option<Live>>,
    /// The mix of every row, for the decoder; empty where there is no row.
    mixes: Vec<Arc<ResolvedMix>>,
    admissions: u64,
}

#[derive(Debug)]
struct Live {
    row: Row,
    /// Older rows get their prompt computed first.
    admission: u64,
    since: Instant,
}

impl Scheduler {
    pub fn new(limits: Limits) -> Self {
        let none = Arc::new(ResolvedMix::new());
        Self {
            limits,
            waiting: VecDeque::new(),
            rows: (0..limits.rows).map(|_| None).collect(),
            mixes: vec![none; limits.rows],
            admissions: 0,
        }
    }

    /// Adds a request. The caller bounds how many wait.
    pub fn submit(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.rows.iter().all(Option::is_none)
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn live(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    /// The mixes of the rows, for the step.
    pub fn mixes(&self) -> &[Arc<ResolvedMix>] {
        &self.mixes
    }

    /// Whether a waiting or running request uses the adapter.
    pub fn uses(&self, adapter: &Arc<Adapter>) -> bool {
        let in_mix = |mix: &ResolvedMix| mix.iter().any(|(a, _)| Arc::ptr_eq(a, adapter));
        self.waiting.iter().any(|job| in_mix(&job.mix)) || self.mixes.iter().any(|mix| in_mix(mix))
    }

    /// Drops what nobody waits for and gives free rows to waiting requests.
    pub fn admit(&mut self, now: Instant) -> Changes {
        let mut changes = Changes::default();
        for sequence in 0..self.rows.len() {
            if self.rows[sequence].as_ref().is_some_and(|live| live.row.job.abandoned()) {
                changes.abandoned += 1;
                self.release(sequence, now, &mut changes);
            }
        }
        let before = self.waiting.len();
        self.waiting.retain(|job| !job.abandoned());
        changes.abandoned += before - self.waiting.len();
        // The lowest free row first: rows side by side share a run of the portable decoder.
        for sequence in 0..self.rows.len() {
            if self.rows[sequence].is_some() {
                continue;
            }
            let Some(job) = self.waiting.pop_front() else { break };
            self.mixes[sequence] = Arc::clone(&job.mix);
            self.admissions += 1;
            let live = Live { row: Row::new(job, now), admission: self.admissions, since: now };
            self.rows[sequence] = Some(live);
        }
        changes
    }

    /// The tokens of the next step.
    pub fn plan(&self, tokens: &mut Vec<StepToken>) {
        tokens.clear();
        let live = || self.rows.iter().enumerate().filter_map(|(s, l)| Some((s, l.as_ref()?)));
        let mut prefills: Vec<(usize, &Live)> = Vec::new();
        for (sequence, live) in live() {
            if live.row.decodes() {
                live.row.next_tokens(1, |position, token, wants_logits| {
                    tokens.push(StepToken { sequence, position, token, wants_logits });
                });
            } else {
                prefills.push((sequence, live));
            }
        }
        prefills.sort_unstable_by_key(|(_, live)| live.admission);
        let mut budget = self.limits.prefill_budget.max(1);
        for (sequence, live) in prefills {
            if budget == 0 {
                break;
            }
            let before = tokens.len();
            live.row.next_tokens(budget, |position, token, wants_logits| {
                tokens.push(StepToken { sequence, position, token, wants_logits });
            });
            budget = budget.saturating_sub(tokens.len() - before);
        }
    }

    /// Takes the logits of the step that [`Self::plan`] made.
    pub fn complete(
        &mut self,
        tokens: &[StepToken],
        logits: &[f32],
        is_end: &dyn Fn(u32) -> bool,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        let vocab = self.limits.vocab_size;
        let mut logits = logits;
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let wanted = chunk.iter().filter(|t| t.wants_logits).count();
            let (own, rest) = logits.split_at(wanted * vocab);
            logits = rest;
            let sequence = chunk[0].sequence;
            let Some(live) = &mut self.rows[sequence] else { continue };
            let after = live.row.advance(chunk.len(), own, vocab, self.limits.context, is_end, now);
            if after == After::Finished {
                self.release(sequence, now, &mut changes);
            }
        }
        changes
    }

    /// Ends the requests of a step that could not be computed.
    pub fn fail(&mut self, tokens: &[StepToken], error: &EngineError, now: Instant) -> Changes {
        let mut changes = Changes::default();
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let sequence = chunk[0].sequence;
            if let Some(live) = &mut self.rows[sequence] {
                live.row.job.fail(error.clone());
                self.release(sequence, now, &mut changes);
            }
        }
        changes
    }

    /// Ends everything.
    pub fn stop(&mut self) {
        let live = self.rows.iter_mut().filter_map(Option::take).map(|live| live.row.job);
        for mut job in live.chain(self.waiting.drain(..)) {
            job.fail(EngineError::Stopped);
        }
    }

    fn release(&mut self, sequence: usize, now: Instant, changes: &mut Changes) {
        if let Some(live) = self.rows[sequence].take() {
            changes.durations_ms.push(now.saturating_duration_since(live.since).as_millis() as u64);
        }
        self.mixes[sequence] = Arc::new(ResolvedMix::new());
        changes.released.push(sequence);
    }
}
