//! Which tokens are computed next. A plain struct: no thread, no clock, no model.
//!
//! Every step: rows whose caller has gone leave, waiting requests take free rows in their order, every row
//! that generates computes one token, and what is left of the budget goes to prompts, oldest first.
//!
//! What a request leaves in the KV cache is kept: a later one whose prompt begins alike, under the same mix, computes
//! only the rest.

mod kept;
mod row;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub use row::{ChooseWork, GenerateWork, Job, Work};
pub use stop::{MAX_STOP_CHARS, MAX_STOPS, StopMatcher};

use self::kept::{Kept, common, same_mix};
use self::row::{After, Row};
use super::decoder::{Decoder, ResolvedMix, StepToken};
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
    /// By sequence number. At most [`Limits::rows`] are live.
    rows: Vec<Slot>,
    /// The mix of every row, for the decoder; empty where there is no row.
    mixes: Vec<Arc<ResolvedMix>>,
    /// Requests that got a row so far.
    admissions: u64,
    /// Steps so far.
    steps: u64,
}

/// A sequence of the decoder.
#[derive(Debug)]
enum Slot {
    Free,
    Live(Box<Live>),
    Kept(Kept),
}

#[derive(Debug)]
struct Live {
    row: Row,
    /// The step before which it got its row: who has waited longer gets its prompt computed earlier.
    step: u64,
    since: Instant,
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

impl Scheduler {
    /// `sequences` is [`Decoder::sequences`].
    pub fn new(limits: Limits, sequences: usize) -> Self {
        let none = Arc::new(ResolvedMix::new());
        Self {
            limits,
            waiting: VecDeque::new(),
            rows: (0..sequences).map(|_| Slot::Free).collect(),
            mixes: vec![none; sequences],
            admissions: 0,
            steps: 0,
        }
    }

    /// Adds a request. The caller bounds how many wait.
    pub fn submit(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.lives().next().is_none()
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn live(&self) -> usize {
        self.lives().count()
    }

    fn lives(&self) -> impl Iterator<Item = (usize, &Live)> {
        self.rows.iter().enumerate().filter_map(|(sequence, slot)| Some((sequence, slot.live()?)))
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

    /// Forgets what is kept of an adapter that leaves.
    pub fn forget(&mut self, adapter: &Arc<Adapter>, decoder: &mut dyn Decoder) {
        for (sequence, slot) in self.rows.iter_mut().enumerate() {
            if let Slot::Kept(kept) = slot
                && kept.mix.iter().any(|(a, _)| Arc::ptr_eq(a, adapter))
            {
                decoder.release(sequence);
                *slot = Slot::Free;
            }
        }
    }

    /// Drops what nobody waits for and gives free rows to waiting requests.
    pub fn admit(&mut self, decoder: &mut dyn Decoder, now: Instant) -> Changes {
        let mut changes = Changes::default();
        for sequence in 0..self.rows.len() {
            if self.rows[sequence].live().is_some_and(|live| live.row.job.abandoned()) {
                changes.abandoned += 1;
                self.keep(sequence, now, &mut changes);
            }
        }
        let before = self.waiting.len();
        self.waiting.retain(|job| !job.abandoned());
        changes.abandoned += before - self.waiting.len();
        while self.live() < self.limits.rows {
            let Some(next) = self.next_waiting() else { break };
            let Some(job) = self.waiting.remove(next) else { break };
            if let Err(job) = self.place(job, decoder, now) {
                // Its pages are not free yet; nobody overtakes it, or it might wait for ever.
                self.waiting.insert(next, job);
                break;
            }
        }
        changes
    }

    /// Which waiting request gets the next row: one that a player waits for before background work, of the player
    /// with the fewest rows, and the oldest of those.
    fn next_waiting(&self) -> Option<usize> {
        let rows_of =
            |owner: u64| self.lives().filter(|(_, live)| live.row.job.schedule.owner == owner).count();
        let background = self.lives().filter(|(_, live)| live.row.job.schedule.background).count();
        // One row at least, half of them at most: a player's line that comes now shall find one.
        let room_in_background = background < (self.limits.rows / 2).max(1);
        let candidates = self.waiting.iter().enumerate();
        let candidates = candidates.filter(|(_, job)| !job.schedule.background || room_in_background);
        candidates
            .min_by_key(|(at, job)| (job.schedule.background, rows_of(job.schedule.owner), *at))
            .map(|(at, _)| at)
    }

    /// Gives a request a sequence that begins with as much of its prompt as is already computed.
    fn place(&mut self, job: Job, decoder: &mut dyn Decoder, now: Instant) -> Result<(), Job> {
        let found = self.longest_prefix(&job);
        let (source, shared) = found.unwrap_or((0, 0));
        let continues = match &self.rows[source] {
            Slot::Kept(kept) if shared > 0 => kept.may_be_continued(shared),
            _ => false,
        };
        let page = decoder.page_tokens();
        let needed = job.most_tokens(self.limits.context).div_ceil(page) - shared / page;
        let spare: Vec<usize> = if continues { vec![source] } else { vec![source; usize::from(shared > 0)] };
        if !self.make_room(needed, &spare, decoder) {
            return Err(job);
        }
        let sequence = if continues {
            source
        } else {
            let Some(sequence) = self.free_sequence(&spare, decoder) else { return Err(job) };
            sequence
        };
        let shared = if shared > 0 { decoder.share(source, sequence, shared) } else { 0 };
        self.mixes[sequence] = Arc::clone(&job.mix);
        self.admissions += 1;
        let live = Live { row: Row::new(job, shared, now), step: self.steps, since: now };
        self.rows[sequence] = Slot::Live(Box::new(live));
        Ok(())
    }

    /// The sequence that begins with most of the request's prompt under the same mix, and how much of it. The last
    /// token is always computed: its logits are wanted.
    fn longest_prefix(&self, job: &Job) -> Option<(usize, usize)> {
        let prompt = &job.prompt[..job.prompt.len() - 1];
        let shared = |slot: &Slot| match slot {
            Slot::Kept(kept) if same_mix(&kept.mix, &job.mix) => common(&kept.tokens, prompt),
            Slot::Live(live) if same_mix(&live.row.job.mix, &job.mix) => live.row.common(prompt),
            Slot::Free | Slot::Kept(_) | Slot::Live(_) => 0,
        };
        let lengths = self.rows.iter().map(shared).enumerate().filter(|(_, shared)| *shared > 0);
        lengths.max_by_key(|(_, shared)| *shared)
    }

    /// Lets go of kept sequences, the least recently used first, until the pages suffice for what is live and
    /// `needed` more. `false`: even so they do not.
    fn make_room(&mut self, needed: usize, spare: &[usize], decoder: &mut dyn Decoder) -> bool {
        let page = decoder.page_tokens();
        let promised: usize =
            self.lives().map(|(_, live)| live.row.pages_to_come(page, self.limits.context)).sum();
        while decoder.free_pages() < promised + needed {
            let Some(sequence) = self.least_recently_used(spare) else { return false };
            decoder.release(sequence);
            self.rows[sequence] = Slot::Free;
        }
        true
    }

    /// A sequence for a new request. The lowest free one: rows side by side share a run of the portable decoder.
    fn free_sequence(&mut self, spare: &[usize], decoder: &mut dyn Decoder) -> Option<usize> {
        if let Some(free) = self.rows.iter().position(|slot| matches!(slot, Slot::Free)) {
            return Some(free);
        }
        let sequence = self.least_recently_used(spare).or_else(|| self.least_recently_used(&[]))?;
        if !spare.contains(&sequence) {
            decoder.release(sequence);
        }
        Some(sequence)
    }

    fn least_recently_used(&self, spare: &[usize]) -> Option<usize> {
        let kept = self.rows.iter().enumerate().filter_map(|(sequence, slot)| match slot {
            Slot::Kept(kept) if !spare.contains(&sequence) => Some((kept.used, sequence)),
            _ => None,
        });
        kept.min().map(|(_, sequence)| sequence)
    }

    /// The tokens of the next step.
    pub fn plan(&self, tokens: &mut Vec<StepToken>) {
        tokens.clear();
        let mut prefills: Vec<(usize, &Live)> = Vec::new();
        for (sequence, live) in self.lives() {
            if live.row.decodes() {
                live.row.next_tokens(1, |position, token, wants_logits| {
                    tokens.push(StepToken { sequence, position, token, wants_logits });
                });
            } else {
                prefills.push((sequence, live));
            }
        }
        // Short prompts first, so that a long one does not make everybody wait; waiting makes a prompt shorter.
        prefills.sort_by_key(|(_, live)| {
            let waited = usize::try_from(self.steps - live.step).unwrap_or(usize::MAX);
            let length = live.row.prompt_to_come().saturating_sub(waited.saturating_mul(AGEING));
            (live.row.job.schedule.background, length, live.step)
        });
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
        self.steps += 1;
        let vocab = self.limits.vocab_size;
        let mut logits = logits;
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let wanted = chunk.iter().filter(|t| t.wants_logits).count();
            let (own, rest) = logits.split_at(wanted * vocab);
            logits = rest;
            let sequence = chunk[0].sequence;
            let Some(live) = self.rows[sequence].live_mut() else { continue };
            let after = live.row.advance(chunk.len(), own, vocab, self.limits.context, is_end, now);
            if after == After::Finished {
                self.keep(sequence, now, &mut changes);
            }
        }
        changes
    }

    /// Ends the requests of a step that could not be computed.
    pub fn fail(
        &mut self,
        tokens: &[StepToken],
        error: &EngineError,
        decoder: &mut dyn Decoder,
        now: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        for chunk in tokens.chunk_by(|a, b| a.sequence == b.sequence) {
            let sequence = chunk[0].sequence;
            if let Some(live) = self.rows[sequence].live_mut() {
                live.row.job.fail(error.clone());
                self.keep(sequence, now, &mut changes);
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
    fn keep(&mut self, sequence: usize, now: Instant, changes: &mut Changes) {
        let slot = std::mem::replace(&mut self.rows[sequence], Slot::Free);
        let mix = std::mem::take(&mut self.mixes[sequence]);
        if let Slot::Live(live) = slot {
            changes.durations_ms.push(now.saturating_duration_since(live.since).as_millis() as u64);
            self.rows[sequence] = Slot::Kept(Kept { tokens: live.row.held(), mix, used: self.steps });
        }
    }
}
