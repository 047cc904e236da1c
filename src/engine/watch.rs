//! How the engine is at a moment, for those who watch it. Its thread says so now and then; nobody waits for it, and it
//! waits for nobody.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::Engine;
use super::decoder::{Decoder, KvUse};
use super::scheduler::Scheduler;
use crate::metrics::{EngineMetrics, Kind};

/// How often at most the thread says how it is.
const EVERY: Duration = Duration::from_millis(50);
/// What is measured of the pace counts for about so long.
const LATELY: Duration = Duration::from_secs(1);
/// After so long without a step there is no pace.
const QUIET: Duration = Duration::from_secs(3);

/// One row of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowState {
    pub kind: Kind,
    /// Its prompt is computed.
    pub decodes: bool,
    /// Nobody waits for it.
    pub background: bool,
    /// Tokens that are held for it.
    pub tokens: usize,
}

/// What the engine does now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watched {
    /// One for each row of the batch; `None`: it is free.
    pub rows: Vec<Option<RowState>>,
    /// `None`: nothing of the kind is known.
    pub kv: Option<KvUse>,
    /// Kept after their requests.
    pub conversations: usize,
    /// The mean of late steps, in milliseconds; `None`: there was none for a while.
    pub step_ms: Option<f64>,
    pub tokens_per_s: Option<f64>,
    /// Tokens that those who wait may take: players' requests, and those in the background.
    pub queue_tokens: (u64, u64),
    /// What a line that came now would wait for a row.
    pub expected_wait_ms: u64,
    pub is_overloaded: bool,
}

/// What bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineLimits {
    pub rows: usize,
    pub queue: usize,
    pub kept_conversations: usize,
    pub adapters: usize,
    pub adapter_bytes: usize,
}

/// What the thread said last.
#[derive(Debug, Default)]
pub struct Board(Mutex<Posted>);

#[derive(Debug, Default)]
struct Posted {
    rows: Vec<Option<RowState>>,
    kv: Option<KvUse>,
    conversations: usize,
    pace: Flow,
}

impl Board {
    /// What was said last, at a moment.
    pub fn read(&self, now: Instant) -> Watched {
        let posted = self.0.lock();
        let (step_ms, tokens_per_s) = posted.pace.read(now).unzip();
        Watched {
            rows: posted.rows.clone(),
            kv: posted.kv,
            conversations: posted.conversations,
            step_ms,
            tokens_per_s,
            ..Watched::default()
        }
    }
}

impl Engine {
    /// How it is now, as its thread said last.
    pub fn watched(&self) -> Watched {
        let (shared, now) = (&self.inner.shared, Instant::now());
        Watched {
            queue_tokens: shared.load.queued(),
            expected_wait_ms: shared.load.wait_ms(),
            is_overloaded: shared.load.is_overloaded(),
            ..shared.board.read(now)
        }
    }

    pub fn limits(&self) -> EngineLimits {
        let config = &self.inner.config;
        EngineLimits {
            rows: config.rows,
            queue: config.queue,
            kept_conversations: config.kept_conversations,
            adapters: config.max_adapters,
            adapter_bytes: config.adapter_memory_mb << 20,
        }
    }

    /// What was counted since it started.
    pub fn metrics(&self) -> &EngineMetrics {
        &self.inner.shared.metrics
    }
}

/// The thread's side of a [`Board`].
#[derive(Debug)]
pub struct Poster {
    /// The sequence in each row, so that a request stays in the row that it was seen in first.
    seats: Vec<Option<usize>>,
    pace: Flow,
    posted: Option<Instant>,
    /// Something has changed since.
    is_stale: bool,
}

impl Poster {
    pub fn new(rows: usize) -> Self {
        Self { seats: vec![None; rows], pace: Flow::default(), posted: None, is_stale: true }
    }

    /// A step of so many tokens was computed.
    pub fn stepped(
        &mut self,
        board: &Board,
        scheduler: &Scheduler,
        decoder: &dyn Decoder,
        tokens: usize,
        (start, now): (Instant, Instant),
    ) {
        self.pace.step(tokens, start, now);
        self.is_stale = true;
        if self.posted.is_none_or(|at| now.saturating_duration_since(at) >= EVERY) {
            self.post(board, scheduler, decoder, now);
        }
    }

    /// Something else may have changed.
    pub fn touch(&mut self) {
        self.is_stale = true;
    }

    /// There is nothing to compute.
    pub fn settle(&mut self, board: &Board, scheduler: &Scheduler, decoder: &dyn Decoder) {
        if self.is_stale {
            // No step comes after it: this one has to get through.
            self.write(board.0.lock(), scheduler, decoder, Instant::now());
        }
    }

    fn post(&mut self, board: &Board, scheduler: &Scheduler, decoder: &dyn Decoder, now: Instant) {
        // Whoever reads it is done in no time; if not, the next step comes by again.
        if let Some(posted) = board.0.try_lock() {
            self.write(posted, scheduler, decoder, now);
        }
    }

    fn write(
        &mut self,
        mut posted: MutexGuard<'_, Posted>,
        scheduler: &Scheduler,
        decoder: &dyn Decoder,
        now: Instant,
    ) {
        self.seat(scheduler);
        posted.rows.clear();
        posted.rows.extend(self.seats.iter().map(|seat| seat.and_then(|sequence| scheduler.row(sequence))));
        posted.kv = decoder.kv();
        posted.conversations = scheduler.kept();
        posted.pace = self.pace;
        self.posted = Some(now);
        self.is_stale = false;
    }

    fn seat(&mut self, scheduler: &Scheduler) {
        for seat in &mut self.seats {
            *seat = seat.filter(|sequence| scheduler.row(*sequence).is_some());
        }
        for sequence in scheduler.live_sequences() {
            if !self.seats.contains(&Some(sequence))
                && let Some(free) = self.seats.iter_mut().find(|seat| seat.is_none())
            {
                *free = Some(sequence);
            }
        }
    }
}

/// The pace of late steps, the newest counting most. A plain struct without a clock.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// The end of the last step.
    at: Option<Instant>,
    steps: f64,
    seconds: f64,
    tokens: f64,
    /// Seconds that all of it counts for.
    window: f64,
}

/// What is left of something after a time.
fn kept(after: Duration) -> f64 {
    (-after.as_secs_f64() / LATELY.as_secs_f64()).exp()
}

impl Flow {
    fn step(&mut self, tokens: usize, start: Instant, end: Instant) {
        let keep = kept(end.saturating_duration_since(self.at.unwrap_or(start)));
        self.steps = self.steps * keep + 1.0;
        self.seconds = self.seconds * keep + end.saturating_duration_since(start).as_secs_f64();
        self.tokens = self.tokens * keep + tokens as f64;
        self.window = self.window * keep + (1.0 - keep) * LATELY.as_secs_f64();
        self.at = Some(end);
    }

    /// Milliseconds of a step, and tokens a second.
    fn read(&self, now: Instant) -> Option<(f64, f64)> {
        let quiet = now.saturating_duration_since(self.at?);
        if quiet >= QUIET || self.steps <= 0.0 {
            return None;
        }
        let keep = kept(quiet);
        let window = self.window * keep + (1.0 - keep) * LATELY.as_secs_f64();
        let rate = if window > 0.0 { self.tokens * keep / window } else { 0.0 };
        Some((self.seconds / self.steps * 1e3, rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_late_steps() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        assert_eq!(flow.read(start), None);
        let ms = |ms: u64| start + Duration::from_millis(ms);
        // 16 tokens every 20 ms, half of which are steps.
        for step in 0..200 {
            flow.step(16, ms(step * 20 + 10), ms(step * 20 + 20));
        }
        let (step_ms, rate) = flow.read(ms(4000)).unwrap();
        assert!((step_ms - 10.0).abs() < 1e-6, "{step_ms}");
        assert!((rate - 800.0).abs() < 20.0, "{rate}");
        // Later it is half as much, and then there is none.
        let (step_ms, rate) = flow.read(ms(5000)).unwrap();
        assert!((step_ms - 10.0).abs() < 1e-6 && rate < 400.0, "{step_ms} {rate}");
        assert_eq!(flow.read(ms(7000)), None);
    }

    #[test]
    fn one_step_is_a_pace_already() {
        let (mut flow, start) = (Flow::default(), Instant::now());
        let end = start + Duration::from_millis(5);
        flow.step(10, start, end);
        let (step_ms, rate) = flow.read(end).unwrap();
        assert!((step_ms - 5.0).abs() < 1e-6 && (rate - 2000.0).abs() < 20.0, "{step_ms} {rate}");
    }
}
