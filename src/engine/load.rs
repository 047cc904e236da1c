//! How long the work takes that the engine has: what a caller is told that must come back later.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::pressure::Arrivals;

/// Of what is measured, the share that the newest value has.
const NEWEST: f64 = 1.0 / 16.0;

/// What is measured, by the engine's thread.
#[derive(Debug, Default)]
pub struct Measured {
    /// Tokens and seconds of late steps in which every row was taken.
    full: (f64, f64),
    /// Of the tokens that requests might have taken, how many they took: answers end early, and prompts are warm.
    share: Option<f64>,
}

impl Measured {
    /// A step with every row taken. Steps with few rows are slower for what they compute, and say nothing of that.
    pub fn full_step(&mut self, tokens: usize, seconds: f64) {
        let keep = 1.0 - NEWEST;
        self.full = (self.full.0 * keep + tokens as f64, self.full.1 * keep + seconds);
    }

    /// A request that has ended.
    pub fn finished(&mut self, promised: usize, computed: usize) {
        let share = (computed as f64 / promised.max(1) as f64).min(1.0);
        self.share = Some(self.share.map_or(share, |mean| mean + (share - mean) * NEWEST));
    }

    /// Tokens per second; `None`: not measured yet.
    fn rate(&self) -> Option<f64> {
        (self.full.1 > 0.0 && self.full.0 > 0.0).then(|| self.full.0 / self.full.1)
    }
}

/// What the handles read: the work that is there and the pace of it.
#[derive(Debug, Default)]
pub struct Load {
    /// Tokens that waiting requests may take: those that players wait for, and those in the background.
    players: AtomicU64,
    background: AtomicU64,
    /// Tokens that the requests in rows may take.
    rows: AtomicU64,
    /// Rows that are taken; 0 unless all are.
    full_rows: AtomicU64,
    /// Microseconds for a token that a request might take; 0: not measured yet.
    token_us: AtomicU64,
    /// Tokens of prompts in rows that are not computed yet.
    prompts: AtomicU64,
    /// Players' requests so far, and those of them that found no place.
    came: AtomicU64,
    refused: AtomicU64,
    /// What [`Pressure`](super::pressure::Pressure) says.
    overloaded: AtomicBool,
}

impl Load {
    /// A request comes, or `back`: it has a row, or is gone.
    pub fn queue(&self, tokens: usize, background: bool, back: bool) {
        let queue = if background { &self.background } else { &self.players };
        if back {
            queue.fetch_sub(tokens as u64, Ordering::AcqRel);
        } else {
            queue.fetch_add(tokens as u64, Ordering::AcqRel);
        }
    }

    /// After a step: what the rows may still take, what of it is prompts, and how many rows are taken if all are,
    /// else 0.
    pub fn set(&self, measured: &Measured, tokens_to_come: usize, prompts: usize, full_rows: usize) {
        self.prompts.store(prompts as u64, Ordering::Release);
        self.rows.store(tokens_to_come as u64, Ordering::Release);
        self.full_rows.store(full_rows as u64, Ordering::Release);
        let token_us = measured.rate().map_or(0.0, |rate| 1e6 * measured.share.unwrap_or(1.0) / rate);
        // At least 1: 0 means that nothing is known.
        self.token_us.store(if token_us > 0.0 { (token_us as u64).max(1) } else { 0 }, Ordering::Release);
    }

    /// A player's request has come, and was admitted or not.
    pub fn came(&self, admitted: bool) {
        self.came.fetch_add(1, Ordering::AcqRel);
        self.refused.fetch_add(u64::from(!admitted), Ordering::AcqRel);
    }

    /// A player's request that was admitted had no row in time.
    pub fn late(&self, count: usize) {
        self.refused.fetch_add(count as u64, Ordering::AcqRel);
    }

    pub fn arrivals(&self) -> Arrivals {
        // In this order, so that not more are refused than came.
        let refused = self.refused.load(Ordering::Acquire);
        Arrivals { came: self.came.load(Ordering::Acquire), refused }
    }

    /// Tokens that waiting requests may take: those that players wait for, and those in the background.
    pub fn queued(&self) -> (u64, u64) {
        (self.players.load(Ordering::Acquire), self.background.load(Ordering::Acquire))
    }

    pub fn set_overloaded(&self, overloaded: bool) {
        self.overloaded.store(overloaded, Ordering::Release);
    }

    pub fn is_overloaded(&self) -> bool {
        self.overloaded.load(Ordering::Acquire)
    }

    /// Milliseconds until a player's request that comes now should have a row. 0 while nothing was measured: whoever
    /// is refused without reason is worse off than who waits.
    pub fn wait_ms(&self) -> u64 {
        self.row_tokens().map_or(0, |tokens| self.ms(tokens))
    }

    /// Milliseconds until its prompt should be begun: it needs a row, and prompts that came before go first.
    pub fn start_ms(&self) -> u64 {
        let tokens = self.row_tokens().unwrap_or_else(|| self.players.load(Ordering::Acquire));
        self.ms(tokens + self.prompts.load(Ordering::Acquire))
    }

    /// Tokens to compute before a player's request that comes now has a row; `None`: there is one.
    fn row_tokens(&self) -> Option<u64> {
        let (rows, full_rows) = (self.rows.load(Ordering::Acquire), self.full_rows.load(Ordering::Acquire));
        // Rows end one after another: the next one when its share of the work in rows is done.
        Some(self.players.load(Ordering::Acquire) + rows.checked_div(full_rows)?)
    }

    /// Milliseconds until all the work that is there is done: whoever comes back then finds a place.
    pub fn drain_ms(&self) -> u64 {
        let queued = self.players.load(Ordering::Acquire) + self.background.load(Ordering::Acquire);
        match self.ms(queued + self.rows.load(Ordering::Acquire)) {
            // Nothing is known yet.
            0 => 1000,
            ms => ms.clamp(50, 600_000),
        }
    }

    fn ms(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(self.token_us.load(Ordering::Acquire)) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, Measured};

    #[test]
    fn the_wait_is_the_work_ahead_over_the_pace() {
        let load = Load::default();
        let mut measured = Measured::default();
        // 100 tokens take half a second: 5 ms a token.
        (0..100).for_each(|_| measured.full_step(100, 0.5));
        load.queue(600, false, false);
        load.queue(1000, true, false);
        load.set(&measured, 800, 90, 4);
        assert_eq!((load.wait_ms(), load.drain_ms()), ((600 + 800 / 4) * 5, (600 + 1000 + 800) * 5));
        assert_eq!(load.start_ms(), (600 + 800 / 4 + 90) * 5);
        // A free row: nobody waits.
        load.set(&measured, 800, 90, 0);
        assert_eq!((load.wait_ms(), load.start_ms()), (0, (600 + 90) * 5));
        load.queue(600, false, true);
        load.queue(1000, true, true);
        assert_eq!(load.drain_ms(), 4000);
    }

    #[test]
    fn requests_that_end_early_count_less() {
        let load = Load::default();
        let mut measured = Measured::default();
        measured.full_step(100, 0.1);
        (0..200).for_each(|_| measured.finished(400, 100));
        load.queue(1000, false, false);
        load.set(&measured, 0, 0, 1);
        assert_eq!(load.wait_ms(), 250);
    }

    #[test]
    fn what_was_not_measured_refuses_nobody() {
        let load = Load::default();
        load.queue(1_000_000, false, false);
        load.set(&Measured::default(), 1_000_000, 1000, 4);
        assert_eq!((load.wait_ms(), load.start_ms(), load.drain_ms()), (0, 0, 1000));
    }
}
