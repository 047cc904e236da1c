//! What the mouth does to be in the shape of a sound when the sound begins.

use std::collections::VecDeque;

use super::words::Sound;
use crate::face::pose::Pose;
use crate::face::tables::{Tables, Viseme};

/// Sounds that wait at most. Only speech much faster than keys may come fills it, and then the oldest are not shown.
const WAITING: usize = 64;

/// A shape on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub viseme: usize,
    /// The mouth starts to move.
    pub from: u64,
    /// It is there.
    pub at: u64,
}

/// Where the mouth is.
#[derive(Debug, Clone)]
pub struct Place {
    /// In units.
    pub pose: Pose,
    /// How much of a feeling's own mouth gives way to speech, 0 to 1.
    pub lock: f32,
    /// How much of what would part the lips gives way: 1 from the first sound on.
    pub shut: f32,
}

#[derive(Debug, Clone)]
pub struct Mouth {
    pub place: Place,
    targets: VecDeque<Target>,
    /// The viseme of the last target that came in. Even silence is one that a mouth shuts for which was open before.
    last: Option<usize>,
}

impl Mouth {
    pub fn new(tables: &Tables) -> Self {
        Self {
            place: Place { pose: Pose::neutral(&tables.units), lock: 0.0, shut: 0.0 },
            targets: VecDeque::new(),
            last: None,
        }
    }

    /// A sound that comes up.
    pub fn expect(&mut self, sound: Sound, closed: bool, ease_ms: u64) {
        if sound.stop && self.last == Some(sound.viseme) {
            return;
        }
        if sound.stop {
            self.target(sound.viseme, sound.start, sound.start + ease_ms);
        } else if self.last != Some(sound.viseme) || closed {
            // Lips that meet stay together until the last of such sounds.
            self.target(sound.viseme, sound.start.saturating_sub(ease_ms), sound.start);
        }
    }

    /// The mouth closes from `from` on, and is closed at `at`.
    pub fn rest(&mut self, rest: usize, from: u64, at: u64) {
        if self.last != Some(rest) {
            self.target(rest, from, at);
        }
    }

    fn target(&mut self, viseme: usize, from: u64, at: u64) {
        self.last = Some(viseme);
        if self.targets.len() == WAITING {
            self.targets.pop_front();
        }
        // In order, whatever they come from.
        let at = self.targets.back().map_or(at, |last| at.max(last.at));
        self.targets.push_back(Target { viseme, from, at });
    }

    /// What it moves to next.
    pub fn next(&self) -> Option<Target> {
        self.targets.front().copied()
    }

    /// Of the sounds that are due by `b`, the one that is shown: the last of those with the highest rank, but the first
    /// where the lips must close. Those after it still wait. One that comes too late is not shown, unless it is the
    /// last.
    pub fn due(&self, tables: &Tables, b: u64) -> Option<usize> {
        let due = self.targets.iter().take_while(|target| target.at <= b).count();
        let late = |target: &Target| target.at + tables.motion.mouth.late_ms < b;
        let first =
            self.targets.iter().take(due).take_while(|target| late(target)).count().min(due.max(1) - 1);
        let mut best: Option<(usize, &Viseme)> = None;
        for (i, target) in self.targets.iter().enumerate().take(due).skip(first) {
            let viseme = tables.speech.viseme(target.viseme);
            let better = best.is_none_or(|(_, other)| {
                viseme.rank > other.rank || (viseme.rank == other.rank && !other.closed)
            });
            if better {
                best = Some((i, viseme));
            }
        }
        best.map(|(i, _)| i)
    }

    /// The viseme of a sound that is due.
    pub fn viseme<'a>(&self, tables: &'a Tables, due: usize) -> Option<&'a Viseme> {
        self.targets.get(due).map(|target| tables.speech.viseme(target.viseme))
    }

    /// Where the mouth is at `b`, if it goes on from where it is now. It opens `opening` as far as the table says.
    pub fn reach(&self, tables: &Tables, opening: f32, now: u64, b: u64, due: Option<usize>) -> Place {
        if let Some(viseme) = due.and_then(|due| self.viseme(tables, due)) {
            return shape(tables, viseme, opening);
        }
        let Some(next) = self.next().filter(|next| next.from < b) else { return self.place.clone() };
        let to = shape(tables, tables.speech.viseme(next.viseme), opening);
        let from = next.from.max(now);
        let part = (b - from) as f32 / (next.at - from).max(1) as f32;
        let between = |from: f32, to: f32| from + (to - from) * part;
        Place {
            pose: self.place.pose.toward(&to.pose, part),
            lock: between(self.place.lock, to.lock),
            shut: between(self.place.shut, to.shut),
        }
    }

    /// The mouth is in the shape of a sound that was due; that sound and those before it are done.
    pub fn done(&mut self, due: usize) {
        self.targets.drain(..=due);
    }
}

/// The mouth in the shape of a viseme.
fn shape(tables: &Tables, viseme: &Viseme, opening: f32) -> Place {
    let mut pose = Pose::neutral(&tables.units);
    for (unit, value) in &viseme.units {
        let value = (value * opening).min(1.0);
        pose.slots_mut()[2 * unit] = value;
        pose.slots_mut()[2 * unit + 1] = value;
    }
    Place { pose, lock: viseme.lock, shut: 1.0 }
}
