//! What the scheduler's driver notes of each step, so that callers can be told how long the engine takes: the engine's
//! thread, and the rehearsal of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Schedule;
use super::load::Measured;
use super::pressure::Pressure;
use super::scheduler::{Changes, Scheduler};
use super::worker::{QueueSlot, Shared};
use crate::metrics::{Class, Refused};

/// What a request may wait for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Requests that may wait for a row.
    pub queue: usize,
    /// Milliseconds until the prompt of a line must be begun that comes while the engine is overloaded.
    pub overload_wait_ms: u64,
}

impl Patience {
    /// A place in the queue for a request of so many tokens; `None`: it is refused.
    pub fn admit(
        self,
        shared: &Arc<Shared>,
        tokens: usize,
        schedule: Schedule,
        now: Instant,
    ) -> Option<QueueSlot> {
        let slot = if let Some(cause) = self.comes_too_late(shared, schedule, now) {
            Err(cause)
        } else {
            // Half of the queue at most, so that what nobody waits for turns no player away.
            let limit = if schedule.background { self.queue.div_ceil(2) } else { self.queue };
            QueueSlot::take(shared, limit, tokens, schedule.background).ok_or(Refused::QueueFull)
        };
        let slot = slot.inspect_err(|cause| shared.refuse(*cause, schedule.background)).ok();
        if !schedule.background {
            shared.load.came(slot.is_some());
        }
        slot
    }

    /// Why a request that has a deadline would be refused later, so that it is better told now.
    fn comes_too_late(self, shared: &Shared, schedule: Schedule, now: Instant) -> Option<Refused> {
        let deadline = schedule.deadline?;
        let load = &shared.load;
        let patience = deadline.saturating_duration_since(now).as_millis() as u64;
        if load.wait_ms() > patience {
            return Some(Refused::Deadline);
        }
        let stands = load.is_overloaded() && load.start_ms() > self.overload_wait_ms.min(patience);
        stands.then_some(Refused::Overload)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Pace {
    pub shared: Arc<Shared>,
    measured: Measured,
    pressure: Pressure,
    /// The end of the last step, while one follows another.
    last: Option<Instant>,
}

impl Pace {
    /// `overload_after`: how long lines wait without a break before the engine counts as overloaded.
    pub fn new(shared: Arc<Shared>, overload_after: Duration) -> Self {
        Self { shared, measured: Measured::default(), pressure: Pressure::new(overload_after), last: None }
    }

    /// Rows were given to those who wait.
    pub fn admitted(&mut self, scheduler: &Scheduler, changes: &Changes, now: Instant) {
        self.apply(scheduler, changes);
        self.count(changes);
        let load = &self.shared.load;
        load.late(changes.late);
        load.set_overloaded(self.pressure.update(now, scheduler.lines_wait(), load.arrivals()));
    }

    fn count(&self, changes: &Changes) {
        let metrics = &self.shared.metrics;
        for admitted in &changes.admitted {
            metrics.queue_wait.of(Class::of(admitted.background)).observe(admitted.waited);
            metrics.prompt_tokens.of(admitted.kind).add(admitted.prompt_tokens as u64);
            metrics.cached_tokens.of(admitted.kind).add(admitted.cached_tokens as u64);
        }
    }

    /// There was nothing to compute.
    pub fn idle(&mut self) {
        self.last = None;
    }

    /// When the step that is computed now began: when the one before it ended, or else now.
    pub fn begins(&self, now: Instant) -> Instant {
        self.last.unwrap_or(now)
    }

    /// A step of so many tokens, begun at `start`, has ended; `full`: every row was taken.
    pub fn stepped(
        &mut self,
        scheduler: &Scheduler,
        changes: &Changes,
        (tokens, full): (usize, bool),
        (start, now): (Instant, Instant),
    ) {
        if full {
            self.measured.full_step(tokens, now.saturating_duration_since(start).as_secs_f64());
        }
        self.last = Some(now);
        self.apply(scheduler, changes);
    }

    /// Rows have changed.
    pub fn apply(&mut self, scheduler: &Scheduler, changes: &Changes) {
        for (promised, computed) in &changes.finished {
            self.measured.finished(*promised, *computed);
        }
        let full_rows = if scheduler.is_full() { scheduler.live() } else { 0 };
        let (tokens, prompts) = (scheduler.tokens_to_come(), scheduler.prompts_to_come());
        let shared = &self.shared;
        shared.load.set(&self.measured, tokens, prompts, full_rows);
        shared.abandoned.fetch_add(changes.abandoned as u64, Ordering::Relaxed);
        shared.late.fetch_add(changes.late as u64, Ordering::Relaxed);
        shared.live.store(scheduler.live(), Ordering::Relaxed);
    }
}
