//! The course of a feeling: onset, apex, decay, and what stays.

use crate::face::pose::Pose;
use crate::face::tables::Emotion;

#[derive(Debug, Clone)]
pub struct Feeling {
    from: Pose,
    /// At its height.
    to: Pose,
    /// What stays.
    left: Pose,
    start: u64,
    apex: u64,
    hold: u64,
    end: u64,
}

impl Feeling {
    /// Nothing is felt.
    pub fn none(neutral: &Pose) -> Self {
        let pose = || neutral.clone();
        Self { from: pose(), to: pose(), left: pose(), start: 0, apex: 0, hold: 0, end: 0 }
    }

    /// From what the face shows now to something else; `None`: to nothing, which takes as long as `fade_ms`.
    pub fn shift(&self, to: Pose, emotion: Option<&Emotion>, fade_ms: u64, tempo: f32, now: u64) -> Self {
        let slowed = |ms: u64| (ms as f32 / tempo) as u64;
        let from = self.at(now);
        let Some(emotion) = emotion else {
            let apex = now + slowed(fade_ms);
            return Self { from, left: to.clone(), to, start: now, apex, hold: apex, end: apex };
        };
        let apex = now + slowed(emotion.onset_ms);
        let hold = apex + emotion.apex_ms;
        let left = to.scaled(emotion.sustain);
        Self { from, to, left, start: now, apex, hold, end: hold + slowed(emotion.decay_ms) }
    }

    pub fn at(&self, t: u64) -> Pose {
        let part = |from: u64, to: u64| (t - from) as f32 / (to - from) as f32;
        if t >= self.end {
            self.left.clone()
        } else if t <= self.start {
            self.from.clone()
        } else if t < self.apex {
            self.from.toward(&self.to, part(self.start, self.apex))
        } else if t <= self.hold {
            self.to.clone()
        } else {
            self.to.toward(&self.left, part(self.hold, self.end))
        }
    }

    /// While the face moves by itself: when that ends.
    pub fn moving(&self, now: u64) -> Option<u64> {
        if (self.start..self.apex).contains(&now) {
            Some(self.apex)
        } else if (self.hold..self.end).contains(&now) {
            Some(self.end)
        } else {
            None
        }
    }

    /// Whether it is still coming up.
    pub fn rising(&self, now: u64) -> bool {
        (self.start..self.apex).contains(&now)
    }

    /// When it begins to fade, if that is to come.
    pub fn fades(&self, now: u64) -> Option<u64> {
        Some(self.hold).filter(|&hold| hold > now && hold < self.end)
    }

    /// Time stood still for so long.
    pub fn delay(&mut self, ms: u64) {
        for time in [&mut self.start, &mut self.apex, &mut self.hold, &mut self.end] {
            *time += ms;
        }
    }
}
