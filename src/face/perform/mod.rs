//! A face along one line.

mod eyes;
mod feeling;
mod limit;
mod mouth;
mod offsets;
mod timeline;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::pose::Pose;
use super::style::Style;
use super::tables::Tables;
use crate::wire::{EmotionLabel, FACE_SHAPES};
use eyes::Eyes;
use feeling::Feeling;
use mouth::Mouth;
use offsets::Offsets;
use words::{Sound, Words};

/// Later times are not: 35,000 years.
const LATEST: u64 = 1 << 50;
/// Shifts of feeling that wait for their time; of more the last one counts.
const FEELINGS: usize = 32;

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is said yet, or speech waits for text.
    Silent,
    Speaking,
    /// Finished or cut.
    Over,
}

/// A key frame of the face: from `t_ms` on it moves, evenly, from where it is to `w`, and is there `ease_ms` later.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The character that is spoken at `t_ms`, counted in Unicode scalar values.
    pub text_offset: u64,
    pub t_ms: u64,
    pub ease_ms: u64,
    /// The action units at the key, 0 to 1, rounded to thousandths; those that are absent are 0.
    pub au: BTreeMap<String, f32>,
    /// The shapes at the key.
    pub w: [u8; FACE_SHAPES],
}

/// The face of one character along one line, from neutral to neutral.
///
/// Feed it what happens in the order in which it becomes known; every call gives the keys that are settled by it. All
/// keys together are in order: of `t_ms`, of `text_offset`, and none begins before the one before it has been reached.
/// No shape is ever faster than its limit. What is settled does not change any more, so a feeling comes up behind it.
///
/// In a turn: [`feel`](Self::feel) what a sentence feels like and then [`speak`](Self::speak) it, piece by piece;
/// [`pause`](Self::pause) when speech catches up with generation; [`finish`](Self::finish) at the end, or
/// [`cut`](Self::cut). Text that is given before its feeling is known is spoken without it.
///
/// Keys do not depend on how the text is cut into pieces, as long as every character has the same times. Up to as many
/// letters as the longest spelling has wait until the next ones are known.
///
/// What it holds is bounded, and a few kilobytes.
#[derive(Debug, Clone)]
pub struct Performance {
    tables: Arc<Tables>,
    style: Style,
    words: Words,
    offsets: Offsets,
    mouth: Mouth,
    feeling: Feeling,
    /// Label, intensity and time, in order of time.
    feelings: VecDeque<(EmotionLabel, f32, u64)>,
    eyes: Eyes,
    /// The face at `now`.
    pose: Pose,
    w: [u8; FACE_SHAPES],
    /// Until here everything is settled.
    now: u64,
    /// When the next key would be in keeping with the rate.
    next_key: u64,
    /// When all that was given has been spoken.
    spoken: u64,
    stage: Stage,
    /// Whether the pose lags behind what it should be.
    lags: bool,
    /// Whether the last key is neutral.
    neutral: bool,
    /// Reused.
    sounds: Vec<Sound>,
}

impl Performance {
    /// `seed`: of this turn; blinks and glances come from it.
    pub fn new(tables: &Arc<Tables>, style: Style, seed: u64) -> Self {
        let pose = Pose::neutral(&tables.units);
        Self {
            words: Words::default(),
            offsets: Offsets::default(),
            mouth: Mouth::new(tables),
            feeling: Feeling::none(&pose),
            feelings: VecDeque::new(),
            eyes: Eyes::new(tables, style.look(), seed),
            pose,
            w: [0; FACE_SHAPES],
            now: 0,
            next_key: 0,
            spoken: 0,
            stage: Stage::Silent,
            lags: false,
            neutral: false,
            sounds: Vec::new(),
            tables: Arc::clone(tables),
            style,
        }
    }

    /// The next piece of the line. It starts at the character `offset` and is spoken from `t_ms` to `end_ms`, each
    /// character for as long as the others. Pieces are given in their order; times before the end of the last one
    /// count as that.
    pub fn speak(&mut self, text: &str, offset: u64, t_ms: u64, end_ms: u64) -> Vec<Key> {
        let mut keys = Vec::new();
        let count = text.chars().count() as u128;
        if self.stage == Stage::Over {
            return keys;
        }
        let start = t_ms.min(LATEST).max(self.spoken);
        let length = u128::from(end_ms.min(LATEST).max(start) - start);
        // At most `length`, so it fits.
        let time = |i: u128| start + (length * i / count) as u64;
        for (i, c) in (0..count).zip(text.chars()) {
            self.hear(c, offset.saturating_add(i as u64), time(i), time(i + 1), &mut keys);
        }
        keys
    }

    /// Nothing comes for now: all that was given has been spoken, and it is `t_ms`. The mouth closes, and what is felt by
    /// then comes up. To be called when generation falls behind speech (without it the mouth closes too, but nobody knows
    /// before the next piece comes), and for a feeling that is to show before anything is said. What is said while it
    /// comes up, or while a blink ends, has to wait for it: an onset at most.
    pub fn pause(&mut self, t_ms: u64) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.stage != Stage::Over {
            self.fall_silent(&mut keys);
            self.settle(Some(t_ms.min(LATEST)), &mut keys);
        }
        keys
    }

    /// From `t_ms` on something else is felt; `intensity` is 0 to 1. Neutral: nothing, which takes as long as fading.
    /// It shows in the keys of the calls that follow. What is settled stays, so it begins later where keys beyond `t_ms`
    /// were given already: give a sentence's feeling before its text.
    pub fn feel(&mut self, label: EmotionLabel, intensity: f32, t_ms: u64) {
        if self.stage == Stage::Over {
            return;
        }
        let last = self.feelings.back().map_or(0, |(_, _, t_ms)| *t_ms);
        if self.feelings.len() == FEELINGS {
            self.feelings.pop_back();
        }
        self.feelings.push_back((label, intensity, t_ms.min(LATEST).max(last)));
    }

    /// The line is over: its last character has been spoken at `t_ms`, and `text_offset` characters are before that.
    /// The mouth closes, the feeling stays a moment and fades; the last key is all zero. After this nothing more is
    /// given but [`cut`](Self::cut).
    pub fn finish(&mut self, text_offset: u64, t_ms: u64) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.stage == Stage::Over {
            return keys;
        }
        self.fall_silent(&mut keys);
        self.settle(Some(t_ms.min(LATEST)), &mut keys);
        self.stage = Stage::Over;
        let end = self.tables.motion.end;
        let text_offset = self.offsets.raise(text_offset);
        let au = BTreeMap::new();
        let w = [0; FACE_SHAPES];
        if !self.neutral {
            // Where nothing shows there is nothing to linger on.
            let (linger_ms, ease_ms) = if self.w == w {
                (0, self.tables.motion.keys.least_ms)
            } else {
                (end.linger_ms, end.fade_ms.max(end.neutral_ms))
            };
            let t_ms = t_ms.min(LATEST).max(self.now + linger_ms);
            keys.push(Key { text_offset, t_ms, ease_ms, au, w });
        }
        (self.neutral, self.w) = (true, w);
        keys
    }

    /// The line ends here, whatever was given for later: the way to neutral. Keys with a `t_ms` from here on are void,
    /// and one that is under way at `t_ms` ends there. It takes as long as the slowest shape needs for its whole range.
    pub fn cut(&mut self, text_offset: u64, t_ms: u64) -> Key {
        self.stage = Stage::Over;
        let ease_ms = self.tables.motion.end.neutral_ms;
        Key { text_offset, t_ms, ease_ms, au: BTreeMap::new(), w: [0; FACE_SHAPES] }
    }
}
