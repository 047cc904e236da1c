//! Which tokens are computed next. A plain struct: no thread, no clock, no model.
//!
//! Every step: rows whose caller has gone leave, waiting requests take free rows in their order, every row
//! that generates computes one token, and what is left of the budget goes to prompts, oldest first.
//!
//! What a request leaves in the KV cache is kept: a later one whose prompt begins alike, under the same mix, computes
//! only the rest.

mod admit;
mod kept;
mod mix;
mod options;
mod row;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use mix::JobMix;
pub use row::{ChooseWork, GenerateWork, Job, Work};
pub use stop::{MAX_STOP_CHARS, MAX_STOPS, StopMatcher};

use self::kept::Kept;
use self::row::{After, Row};
use super::EngineError;
use super::adapter::{Adapter, Version};
use super::decoder::{Decoder, ResolvedMix, StepToken};
use super::logits::Logits;
use super::watch::RowState;
use crate::metrics::{Kind, TokenPhase};

/// What bounds the scheduler.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests computed at the same time.
    pub rows: usize,
    /// Sequences kept after their request; what the decoder has beyond rows and these serves the options of choices.
    pub kept: usize,
    /// Tokens of one sequence.
    pub context: usize,
    /// Prompt tokens in one step; at least 1.
    pub prefill_budget: usize,
    pub vocab_size: usize,
}

/// How the rows changed in a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Requests that ended because nobody waited for them any more.
    pub abandoned: usize,
    /// Requests that ended because they had no row at their deadline.
    pub late: usize,
    /// Of each request that left its row: the tokens that it might have taken, and those that it took.
    pub finished: Vec<(usize, usize)>,
    pub admitted: Vec<Admitted>,
}

/// A request that was given a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    pub kind: Kind,
    pub background: bool,
    pub waited: Duration,
    pub prompt_tokens: usize,
    /// Of these, how many are there already.
    pub cached_tokens: usize,
}

/// The queue and the rows.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    waiting: VecDeque<Job>,
    /// By sequence number. At most [`Limits::rows`] are live.
    rows: Vec<Slot>,
    /// The mix of every row, for the decoder; empty where there is no row.
    mixes: Vec<Arc<ResolvedMix>>,
    /// Steps so far.
    steps: u64,
    /// What a request that is refused now is told.
    retry_after_ms: u64,
}

/// A sequence of the decoder.
#[derive(Debug)]
enum Slot {
    Free,
    Live(Box<Live>),
    Kept(Kept),
    /// For one step: an option of the choice whose row has the sequence `of`.
    Option {
        of: usize,
        option: usize,
    },
}

#[derive(Debug)]
struct Live {
    row: Row,
    /// The step before which it got its row: who has waited longer gets its prompt computed earlier.
    step: u64,
    /// Tokens that it might take, as they were counted when it came.
    promised: usize,
}

impl Slot {
    fn live(&self) -> Option<&Live> {
        if let Self::Live(live) = self { Some(live) } else { None }
    }

    fn live_mut(&mut self) -> Option<&mut Live> {
        if let Self::Live(live) = self { Some(live) } else { None }
    }
}

/// Prompt tokens that one step of waiting is worth: short prompts go first, but none waits for ever.
const AGEING: usize = 16;

/// Steps in which the prompt of a choice comes behind those of lines.
const CHOICE_BEHIND: usize = 8;

impl Scheduler {
    /// `sequences` is [`Decoder::sequences`].
    pub fn new(limits: Limits, sequences: usize) -> Self {
        let none = Arc::new(ResolvedMix::new());
        Self {
            limits,
            waiting: VecDeque::new(),
            rows: (0..sequences).map(|_| Slot::Free).collect(),
            mixes: vec![none; sequences],
            steps: 0,
            retry_after_ms: 0,
        }
    }

    /// Adds a request. The caller bounds how many wait. One whose adapters are not in memory waits for them too.
    pub fn submit(&mut self, mut job: Job) {
        job.step = self.steps;
        self.waiting.push_back(job);
    }

    /// What a request that is refused from now on is told.
    pub fn set_retry_after(&mut self, retry_after_ms: u64) {
        self.retry_after_ms = retry_after_ms;
    }

    /// Nothing is computed and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.lives().next().is_none()
    }

    /// Nothing is computed, and whoever waits waits for adapters.
    pub fn is_parked(&self) -> bool {
        self.lives().next().is_none() && self.waiting.iter().all(|job| job.mix.resolved().is_none())
    }

    /// Whether a player's request waits for a row and for nothing else.
    pub fn lines_wait(&self) -> bool {
        self.waiting.iter().any(|job| !job.schedule.background && job.mix.resolved().is_some())
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn live(&self) -> usize {
        self.lives().count()
    }

    /// Says of a step's span which requests it is for.
    pub fn trace(&self, step: &tracing::Span) {
        if !step.is_disabled() {
            self.lives().for_each(|(_, live)| live.row.job.spans.in_step(step));
        }
    }

    /// The sequences of the rows.
    pub fn live_sequences(&self) -> impl Iterator<Item = usize> {
        self.lives().map(|(sequence, _)| sequence)
    }

    /// The row of a sequence, for those who watch; `None`: it has none.
    pub fn row(&self, sequence: usize) -> Option<RowState> {
        let row = &self.rows.get(sequence)?.live()?.row;
        let background = row.job.schedule.background;
        Some(RowState {
            kind: row.job.work.counted(),
            decodes: !row.in_prompt(),
            background,
            tokens: row.held_count(),
        })
    }

    /// Sequences kept after their request.
    pub fn kept(&self) -> usize {
        self.rows.iter().filter(|slot| matches!(slot, Slot::Kept(_))).count()
    }

    /// What the tokens of a step are for, before it is completed.
    pub fn count_phases(&self, tokens: &[StepToken], mut count: impl FnMut(TokenPhase, usize)) {
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let phase = match &self.rows[chunk[0].sequence] {
                Slot::Live(live) if live.row.in_prompt() => TokenPhase::Prefill,
                Slot::Live(live) if live.row.decodes() => TokenPhase::Decode,
                Slot::Live(_) | Slot::Option { .. } | Slot::Free | Slot::Kept(_) => TokenPhase::Option,
            };
            count(phase, chunk.len());
        }
    }

    /// Whether every row is taken.
    pub fn is_full(&self) -> bool {
        self.live() >= self.limits.rows
    }

    /// Tokens that the rows may still take.
    pub fn tokens_to_come(&self) -> usize {
        self.lives().map(|(_, live)| live.row.tokens_to_come()).sum()
    }

    /// Tokens of prompts in rows that are not computed yet.
    pub fn prompts_to_come(&self) -> usize {
        self.lives().map(|(_, live)| live.row.prompt_to_come()).sum()
    }

    fn lives(&self) -> impl Iterator<Item = (usize, &Live)> {
        self.rows.iter().enumerate().filter_map(|(sequence, slot)| Some((sequence, slot.live()?)))
    }

    /// The mixes of the rows, for the step.
    pub fn mixes(&self) -> &[Arc<ResolvedMix>] {
        &self.mixes
    }

    /// Gives waiting requests the adapters that are in memory by now.
    pub fn resolve(&mut self, find: &dyn Fn(Version) -> Option<Arc<Adapter>>) {
        for job in &mut self.waiting {
            // What is still missing comes later.
            let _ = job.mix.resolve(find);
        }
    }

    /// Ends the requests that wait for an adapter that will not come.
    pub fn adapter_failed(&mut self, version: Version, error: &EngineError) {
        self.waiting.retain_mut(|job| {
            let waits = job.mix.resolved().is_none() && job.mix.names(version);
            if waits {
                job.fail(error.clone());
            }
            !waits
        });
    }

    /// Forgets what is kept of an adapter that nobody can name any more.
    pub fn forget(&mut self, version: Version, decoder: &mut dyn Decoder) {
        for (sequence, slot) in self.rows.iter_mut().enumerate() {
            if let Slot::Kept(kept) = slot
                && kept.mix.iter().any(|(own, _)| *own == version)
            {
                decoder.release(sequence);
                *slot = Slot::Free;
            }
        }
    }

    /// Forgets all conversations that nobody waits in now.
    pub fn forget_all(&mut self, decoder: &mut dyn Decoder) -> Changes {
        let mut changes = Changes::default();
        self.keep_abandoned(&mut changes);
        for (sequence, slot) in self.rows.iter_mut().enumerate() {
            if matches!(slot, Slot::Kept(_)) {
                decoder.release(sequence);
                *slot = Slot::Free;
            }
        }
        changes
    }

    /// The tokens of the next step.
    pub fn plan(&self, tokens: &mut Vec<StepToken>) {
        tokens.clear();
        let mut prefills: Vec<(usize, &Live)> = Vec::new();
        let mut push = |sequence, row: &Row, budget| {
            row.next_tokens(budget, |position, token, wants_logits| {
                tokens.push(StepToken { sequence, position, token, wants_logits });
            });
            tokens.len()
        };
        let mut decoding = 0;
        for (sequence, live) in self.lives() {
            if live.row.decodes() {
                decoding = push(sequence, &live.row, 1);
            } else if live.row.in_prompt() {
                prefills.push((sequence, live));
            }
        }
        for (sequence, live) in self.lives() {
            if !live.row.decodes() && !live.row.in_prompt() {
                push(sequence, &live.row, usize::MAX);
            }
        }
        self.plan_options(tokens);
        // Short prompts first, so that a long one does not make everybody wait; waiting makes a prompt shorter.
        prefills.sort_by_key(|(_, live)| {
            let length = live.row.prompt_to_come().saturating_sub(self.waited(live).saturating_mul(AGEING));
            (live.row.job.schedule.background, self.is_behind(live), length, live.step)
        });
        let mut budget = self.limits.prefill_budget.max(1).saturating_sub(tokens.len() - decoding);
        // Tokens of lines, and what others may add to the step: half as much, for the first word waits for all of it.
        let (mut lines, mut beside) = (0, None);
        for (sequence, live) in prefills {
            let behind = self.is_behind(live);
            if behind && beside.is_none() && lines > 0 {
                beside = Some(lines / 2);
            }
            let most = beside.unwrap_or(budget).min(budget);
            if most == 0 {
                break;
            }
            let before = tokens.len();
            live.row.next_tokens(most, |position, token, wants_logits| {
                tokens.push(StepToken { sequence, position, token, wants_logits });
            });
            let count = tokens.len() - before;
            budget = budget.saturating_sub(count);
            beside = beside.map(|beside: usize| beside.saturating_sub(count));
            lines += if behind { 0 } else { count };
        }
    }

    /// Steps that a request has had its row.
    fn waited(&self, live: &Live) -> usize {
        usize::try_from(self.steps - live.step).unwrap_or(usize::MAX)
    }

    /// Whether its prompt comes behind those of lines: the first word of a line is what a player waits for. A choice
    /// is behind for some steps only.
    fn is_behind(&self, live: &Live) -> bool {
        let job = &live.row.job;
        let choice = matches!(job.work, Work::Choose(_)) && self.waited(live) < CHOICE_BEHIND;
        job.schedule.background || choice
    }

    /// Takes the logits of the step that [`Self::plan`] made.
    pub fn complete(
        &mut self,
        tokens: &[StepToken],
        logits: &mut Logits,
        is_end: &dyn Fn(u32) -> bool,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        self.steps += 1;
        let mut logits = logits.rows(self.limits.vocab_size);
        let mut finished = Vec::new();
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let wanted = chunk.iter().filter(|t| t.wants_logits).count();
            let own = logits.cut(wanted);
            let sequence = chunk[0].sequence;
            if let Slot::Option { of, option } = self.rows[sequence] {
                if let Some(live) = self.rows[of].live_mut() {
                    live.row.score(option, own);
                }
                continue;
            }
            let Some(live) = self.rows[sequence].live_mut() else { continue };
            let when = (now, self.steps);
            let after = live.row.advance(chunk.len(), own, self.limits.context, is_end, when);
            if after == After::Finished {
                finished.push(sequence);
            }
        }
        finished.extend(self.lives().filter(|(_, live)| live.row.is_decided()).map(|(sequence, _)| sequence));
        for sequence in finished {
            if let Some(live) = self.rows[sequence].live_mut() {
                live.row.answer(self.steps);
            }
            self.keep(sequence, &mut changes);
        }
        changes
    }

    /// Ends the requests of a step that could not be computed.
    pub fn fail(&mut self, tokens: &[StepToken], error: &EngineError, decoder: &mut dyn Decoder) -> Changes {
        let mut changes = Changes::default();
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let sequence = match self.rows[chunk[0].sequence] {
                Slot::Option { of, .. } => of,
                Slot::Free | Slot::Live(_) | Slot::Kept(_) => chunk[0].sequence,
            };
            if let Some(live) = self.rows[sequence].live_mut() {
                live.row.job.fail(error.clone());
                self.keep(sequence, &mut changes);
                // What it holds cannot be used.
                decoder.release(sequence);
                self.rows[sequence] = Slot::Free;
            }
        }
        changes
    }

    /// Ends everything.
    pub fn stop(&mut self) {
        for slot in &mut self.rows {
            if let Slot::Live(live) = std::mem::replace(slot, Slot::Free) {
                let mut live = live;
                live.row.job.fail(EngineError::Stopped);
            }
        }
        for mut job in self.waiting.drain(..) {
            job.fail(EngineError::Stopped);
        }
    }

    /// Ends a request and keeps what its sequence holds.
    fn keep(&mut self, sequence: usize, changes: &mut Changes) {
        if let Some(live) = self.take(sequence) {
            changes.finished.push((live.promised, live.row.tokens_computed()));
        }
    }

    /// Takes a request out of its row and keeps what its sequence holds.
    fn take(&mut self, sequence: usize) -> Option<Box<Live>> {
        match std::mem::replace(&mut self.rows[sequence], Slot::Free) {
            Slot::Live(live) => {
                self.mixes[sequence] = Arc::default();
                let mix = Arc::clone(live.row.job.mix.key());
                let kept = Kept { tokens: live.row.held(), mix, used: self.steps };
                self.rows[sequence] = Slot::Kept(kept);
                Some(live)
            }
            other => {
                self.rows[sequence] = other;
                None
            }
        }
    }
}
