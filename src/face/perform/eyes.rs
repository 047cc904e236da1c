//! Blinks and where the eyes look, by chance.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::face::style::Look;
use crate::face::tables::{Motion, Tables};

/// Chance that is the same on every machine.
#[derive(Debug, Clone)]
struct Chance(ChaCha8Rng);

impl Chance {
    /// At least 0 and below 1.
    fn part(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Between two numbers.
    fn between(&mut self, least: f32, most: f32) -> f32 {
        least + (most - least) * self.part()
    }

    /// A time around an average.
    fn around(&mut self, average_ms: f32, spread: f32) -> u64 {
        (average_ms * self.between(1.0 - spread, 1.0 + spread)) as u64
    }
}

#[derive(Debug, Clone, Copy)]
enum Lids {
    Open { next: Option<u64> },
    Closing { from: u64, until: u64 },
    Opening { from: u64, until: u64 },
}

/// Sideways (left is positive) and up.
type Direction = (f32, f32);

#[derive(Debug, Clone, Copy)]
struct Glance {
    from: Direction,
    to: Direction,
    start: u64,
    until: u64,
    next: u64,
}

#[derive(Debug, Clone)]
pub struct Eyes {
    chance: Chance,
    lids: Lids,
    glance: Glance,
    /// Milliseconds between blinks; `None`: never.
    every: Option<f32>,
    /// How far the eyes wander; 0: they do not.
    reach: f32,
}

/// A gaze rests for half of its average time to one and a half.
const GAZE_SPREAD: f32 = 0.5;

impl Eyes {
    pub fn new(tables: &Tables, look: &Look, seed: u64) -> Self {
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
        let per_minute = look.blinks_per_minute().unwrap_or(tables.motion.blink.per_minute);
        // So slow that it would be a matter of hours is never.
        let every = (per_minute >= 0.01).then(|| 60_000.0 / per_minute);
        let next = every.map(|every| (every * chance.part()) as u64);
        let still = (0.0, 0.0);
        let first = chance.around(tables.motion.gaze.mutual_ms as f32, GAZE_SPREAD);
        Self {
            chance,
            lids: Lids::Open { next },
            glance: Glance { from: still, to: still, start: 0, until: 0, next: first },
            every,
            reach: look.gaze(),
        }
    }

    /// Starts what is due.
    pub fn begin(&mut self, motion: &Motion, now: u64) {
        if let Lids::Open { next: Some(next) } = self.lids
            && next <= now
        {
            self.lids = Lids::Closing { from: now, until: now + motion.blink.close_ms };
        }
        if self.reach > 0.0 && self.glance.until <= now && self.glance.next <= now {
            let gaze = &motion.gaze;
            let away = self.glance.to == (0.0, 0.0);
            let to = if away {
                let side = self.chance.between(-gaze.sideways, gaze.sideways);
                (side * self.reach, self.chance.between(-gaze.down, gaze.up) * self.reach)
            } else {
                (0.0, 0.0)
            };
            let until = now + gaze.move_ms;
            let rest = if away { gaze.away_ms } else { gaze.mutual_ms };
            let next = until + self.chance.around(rest as f32, GAZE_SPREAD);
            self.glance = Glance { from: self.glance.to, to, start: now, until, next };
        }
    }

    /// Ends what is over.
    pub fn settle(&mut self, motion: &Motion, now: u64) {
        match self.lids {
            Lids::Closing { until, .. } if until <= now => {
                self.lids = Lids::Opening { from: now, until: now + motion.blink.open_ms };
            }
            Lids::Opening { until, .. } if until <= now => {
                let spread = motion.blink.spread;
                let next = self.every.map(|every| now + self.chance.around(every, spread));
                self.lids = Lids::Open { next };
            }
            _ => {}
        }
    }

    /// How far the lids are closed, 0 to 1.
    pub fn closed(&self, t: u64) -> f32 {
        match self.lids {
            Lids::Open { .. } => 0.0,
            Lids::Closing { from, until } => part(from, until, t),
            Lids::Opening { from, until } => 1.0 - part(from, until, t),
        }
    }

    /// Where the eyes look: left, right, up, down, each 0 to 1.
    pub fn turns(&self, t: u64) -> [f32; 4] {
        let Glance { from, to, start, until, .. } = self.glance;
        let part = part(start, until, t);
        let [side, up] =
            [(from.0, to.0), (from.1, to.1)].map(|(from, to)| (from + (to - from) * part).clamp(-1.0, 1.0));
        [side.max(0.0), (-side).max(0.0), up.max(0.0), (-up).max(0.0)]
    }

    /// When the movements end that are going on, the earliest.
    pub fn moving(&self, now: u64) -> Option<u64> {
        let lids = match self.lids {
            Lids::Open { .. } => None,
            Lids::Closing { until, .. } | Lids::Opening { until, .. } => Some(until),
        };
        let gaze = Some(self.glance.until).filter(|&until| until > now);
        [lids, gaze].into_iter().flatten().min()
    }

    /// When the next movements begin.
    pub fn coming(&self) -> impl Iterator<Item = u64> {
        let blink = match self.lids {
            Lids::Open { next } => next,
            _ => None,
        };
        let gaze = Some(self.glance.next).filter(|_| self.reach > 0.0);
        [blink, gaze].into_iter().flatten()
    }

    /// Time stood still for so long.
    pub fn delay(&mut self, ms: u64) {
        if let Lids::Open { next: Some(next) } = &mut self.lids {
            *next += ms;
        }
        self.glance.next += ms;
    }
}

/// How much of a movement is done.
fn part(from: u64, until: u64, t: u64) -> f32 {
    if t >= until { 1.0 } else { t.saturating_sub(from) as f32 / (until - from) as f32 }
}
