//! Who gets a row, and what of its prompt is there already.

use std::time::Instant;

use super::kept::common;
use super::row::{Job, Row};
use super::{Admitted, Changes, Live, Scheduler, Slot};
use crate::engine::EngineError;
use crate::engine::decoder::Decoder;

/// Prompt tokens for which it pays to wait until somebody else has computed them.
const WORTH_WAITING: usize = 16;

impl Scheduler {
    /// Drops what nobody waits for and what is too late, and gives free rows to waiting requests.
    pub fn admit(&mut self, decoder: &mut dyn Decoder, now: Instant) -> Changes {
        let mut changes = Changes::default();
        self.release_options(decoder);
        self.keep_abandoned(&mut changes);
        self.drop_waiting(now, &mut changes);
        self.trim(decoder);
        self.promote();
        self.give_way();
        while !self.is_full() {
            let Some(next) = self.next_waiting() else { break };
            let Some(job) = self.waiting.remove(next) else { break };
            match self.place(job, decoder, now) {
                Ok(admitted) => changes.admitted.push(admitted),
                Err(job) => {
                    // Its pages are not free yet; nobody overtakes it, or it might wait for ever.
                    self.waiting.insert(next, *job);
                    break;
                }
            }
        }
        self.spread_options(decoder);
        changes
    }

    /// Ends what nobody waits for any more.
    pub(super) fn keep_abandoned(&mut self, changes: &mut Changes) {
        for sequence in 0..self.rows.len() {
            if self.rows[sequence].live().is_some_and(|live| live.row.job.abandoned()) {
                changes.abandoned += 1;
                self.keep(sequence, changes);
            }
        }
    }

    /// Ends waiting requests whose caller has gone, and those that are too late.
    fn drop_waiting(&mut self, now: Instant, changes: &mut Changes) {
        let retry_after_ms = self.retry_after_ms;
        self.waiting.retain_mut(|job| {
            if job.abandoned() {
                changes.abandoned += 1;
                return false;
            }
            if job.schedule.deadline.is_some_and(|deadline| deadline <= now) {
                changes.late += 1;
                let waited_ms = now.saturating_duration_since(job.submitted).as_millis() as u64;
                job.fail(EngineError::DeadlineExceeded { waited_ms, retry_after_ms });
                return false;
            }
            true
        });
    }

    /// Background work that computes what a player's prompt begins with is the player's from then on.
    fn promote(&mut self) {
        if !self.lives().any(|(_, live)| live.row.job.schedule.background && live.row.in_prompt()) {
            return;
        }
        let players = self.waiting.iter().filter(|job| !job.schedule.background);
        let wanted: Vec<usize> = players.filter_map(|job| self.computing_for(job)).collect();
        for sequence in wanted {
            if let Some(live) = self.rows[sequence].live_mut() {
                live.row.job.schedule.background = false;
            }
        }
    }

    /// If a player waits and no row is free, a background request starts again later: its caller has seen nothing of
    /// the answer yet, and what is computed of the prompt is kept.
    fn give_way(&mut self) {
        let player_waits = self.next_waiting().is_some_and(|at| !self.waiting[at].schedule.background);
        if !self.is_full() || !player_waits {
            return;
        }
        let background = self
            .lives()
            .filter(|(_, live)| live.row.job.schedule.background && live.row.job.can_start_again());
        let youngest = background.map(|(sequence, live)| (live.step, sequence)).max();
        if let Some(live) = youngest.and_then(|(_, sequence)| self.take(sequence)) {
            // One row a step: whoever else waits comes in the next one.
            self.waiting.push_front(live.row.into_job());
        }
    }

    /// Which waiting request gets the next row: one that a player waits for before background work, of the player
    /// with the fewest rows, then of the NPC with the fewest, and the oldest of those. One whose adapters are not in
    /// memory, or whose prompt somebody else is just computing, is passed over.
    fn next_waiting(&self) -> Option<usize> {
        let lives: Vec<_> = self.lives().map(|(_, live)| live.row.job.schedule).collect();
        let count =
            |same: &dyn Fn(&crate::engine::Schedule) -> bool| lives.iter().filter(|s| same(s)).count();
        // One row at least, half of them at most: a player's line that comes now shall find one.
        let room_in_background = count(&|s| s.background) < (self.limits.rows / 2).max(1);
        let candidates = self.waiting.iter().enumerate().filter(|(_, job)| {
            job.mix.resolved().is_some() && (!job.schedule.background || room_in_background)
        });
        let mut order: Vec<_> = candidates
            .map(|(at, job)| {
                let own = job.schedule;
                let (owner, npc) = (count(&|s| s.owner == own.owner), count(&|s| s.npc == own.npc));
                (own.background, owner, npc, at)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(.., at)| at).find(|at| self.computing_for(&self.waiting[*at]).is_none())
    }

    /// The row that is just computing tokens that the request's prompt begins with too: it is quicker to wait for
    /// them, and to compute them once.
    fn computing_for(&self, job: &Job) -> Option<usize> {
        let prompt = &job.prompt[..job.prompt.len() - 1];
        let there = self.longest_prefix(job).map_or(0, |(_, shared)| shared);
        let soon =
            self.lives().filter(|(_, live)| live.row.in_prompt() && live.row.job.mix.key() == job.mix.key());
        soon.map(|(sequence, live)| (common(&live.row.job.prompt, prompt), sequence))
            .filter(|(shared, _)| *shared >= there + WORTH_WAITING)
            .max()
            .map(|(_, sequence)| sequence)
    }

    /// Gives a request a sequence that begins with as much of its prompt as is already computed.
    fn place(&mut self, job: Job, decoder: &mut dyn Decoder, now: Instant) -> Result<Admitted, Box<Job>> {
        let Some(mix) = job.mix.resolved().cloned() else { return Err(Box::new(job)) };
        let (mut source, mut shared) = self.longest_prefix(&job).unwrap_or((0, 0));
        let page = decoder.page_tokens();
        let most = job.most_tokens(self.limits.context).div_ceil(page);
        if shared > 0 && self.live() == 0 && !self.make_room(most - shared / page, &[source], decoder) {
            // What it would share takes the pages that it needs, and nobody will give any back.
            (source, shared) = (0, 0);
        }
        let continues = match &self.rows[source] {
            Slot::Kept(kept) if shared > 0 => kept.may_be_continued(shared),
            _ => false,
        };
        let needed = most - shared / page;
        let spare: Vec<usize> = if continues { vec![source] } else { vec![source; usize::from(shared > 0)] };
        if !self.make_room(needed, &spare, decoder) {
            return Err(Box::new(job));
        }
        let sequence = if continues {
            source
        } else {
            let Some(sequence) = self.free_sequence(&spare, decoder) else { return Err(Box::new(job)) };
            sequence
        };
        let shared = if shared > 0 { decoder.share(source, sequence, shared) } else { 0 };
        self.mixes[sequence] = mix;
        let promised = job.tokens();
        let admitted = Admitted {
            kind: job.work.counted(),
            background: job.schedule.background,
            waited: now.saturating_duration_since(job.submitted),
            prompt_tokens: job.prompt.len(),
            cached_tokens: shared,
        };
        let live = Live { row: Row::new(job, shared, now), step: self.steps, promised };
        self.rows[sequence] = Slot::Live(Box::new(live));
        Ok(admitted)
    }

    /// The sequence that begins with most of the request's prompt under the same mix, and how much of it. The last
    /// token is always computed: its logits are wanted.
    fn longest_prefix(&self, job: &Job) -> Option<(usize, usize)> {
        let prompt = &job.prompt[..job.prompt.len() - 1];
        let shared = |slot: &Slot| match slot {
            Slot::Kept(kept) if kept.mix == *job.mix.key() => common(&kept.tokens, prompt),
            Slot::Live(live) if live.row.job.mix.key() == job.mix.key() => live.row.common(prompt),
            Slot::Free | Slot::Kept(_) | Slot::Live(_) | Slot::Option { .. } => 0,
        };
        let lengths = self.rows.iter().map(shared).enumerate().filter(|(_, shared)| *shared > 0);
        lengths.max_by_key(|(_, shared)| *shared)
    }

    /// Lets go of kept sequences, the least recently used first, until the pages suffice for what is live and
    /// `needed` more. `false`: even so they do not.
    pub(super) fn make_room(&mut self, needed: usize, spare: &[usize], decoder: &mut dyn Decoder) -> bool {
        while decoder.free_pages() < self.pages_promised(decoder) + needed {
            let Some(sequence) = self.least_recently_used(spare) else { return false };
            decoder.release(sequence);
            self.rows[sequence] = Slot::Free;
        }
        true
    }

    /// Pages that the rows may still take.
    fn pages_promised(&self, decoder: &dyn Decoder) -> usize {
        let page = decoder.page_tokens();
        self.lives().map(|(_, live)| live.row.pages_to_come(page, self.limits.context)).sum()
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

    /// Lets go of kept sequences beyond their limit, so that choices find room for their options.
    fn trim(&mut self, decoder: &mut dyn Decoder) {
        let kept = self.rows.iter().filter(|slot| matches!(slot, Slot::Kept(_))).count();
        for _ in self.limits.kept..kept {
            let Some(sequence) = self.least_recently_used(&[]) else { return };
            decoder.release(sequence);
            self.rows[sequence] = Slot::Free;
        }
    }
}
