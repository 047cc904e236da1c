//! From what is felt, said and seen to keys.
//!
//! `now` goes from one corner of the face's course to the next. Between two corners everything moves evenly, so one key
//! is all of it.

use super::limit::{least_ms, within};
use super::{Key, Performance, Stage};
use crate::face::expression;
use crate::face::pose::{Pose, bytes};

impl Performance {
    /// One character, spoken from `start` to `end`.
    pub(super) fn hear(&mut self, c: char, offset: u64, start: u64, end: u64, keys: &mut Vec<Key>) {
        let mouth = self.tables.motion.mouth;
        let end = end.min(start + mouth.longest_ms);
        if self.stage == Stage::Speaking && start > self.spoken + mouth.gap_ms {
            self.fall_silent(keys);
        }
        if self.stage == Stage::Silent {
            self.stage = Stage::Speaking;
            self.wake(start.saturating_sub(mouth.ease_ms));
        }
        self.offsets.add(start, offset);
        self.spoken = self.spoken.max(end);
        self.words.hear(&self.tables.speech, c, start, end, &mut self.sounds);
        self.expect_sounds();
        let known = self.words.waiting().unwrap_or(self.spoken);
        self.advance(Some(known), keys);
    }

    /// Speech has stopped at `spoken`.
    pub(super) fn fall_silent(&mut self, keys: &mut Vec<Key>) {
        if self.stage == Stage::Speaking {
            self.stage = Stage::Silent;
            self.words.end(&self.tables.speech, &mut self.sounds);
            self.expect_sounds();
            let close_ms = self.tables.motion.mouth.close_ms;
            self.mouth.rest(self.tables.speech.rest, self.spoken, self.spoken + close_ms);
        }
        self.settle(keys);
    }

    /// Ends every movement that is under way, and begins none but those of feelings that are due.
    pub(super) fn settle(&mut self, keys: &mut Vec<Key>) {
        self.advance(None, keys);
    }

    /// Time goes on after silence, in which nothing but the mouth's closing went on.
    pub(super) fn wake(&mut self, t: u64) {
        if let Some(ms) = t.checked_sub(self.now) {
            self.feeling.delay(ms);
            self.eyes.delay(ms);
            self.now = t;
        }
    }

    fn expect_sounds(&mut self) {
        let ease_ms = self.tables.motion.mouth.ease_ms;
        for sound in self.sounds.drain(..) {
            self.mouth.expect(sound, self.tables.speech.viseme(sound.viseme).closed, ease_ms);
        }
    }

    /// Settles what is known: all sounds that begin before `known`. `None`: speech has stopped, so everything is.
    fn advance(&mut self, known: Option<u64>, keys: &mut Vec<Key>) {
        let speaking = known.is_some();
        loop {
            self.begin(speaking);
            let start = self.next_start(speaking);
            if let Some(known) = known {
                // A sound that is not known yet moves the mouth from here on.
                let horizon = known.saturating_sub(self.tables.motion.mouth.ease_ms);
                let start = start.unwrap_or(u64::MAX);
                if start > self.now {
                    self.now = self.now.max(start.min(horizon));
                    if start > self.now {
                        return;
                    }
                    continue;
                }
                let corner = self.corner(true);
                if corner >= known {
                    return;
                }
                self.go(corner, keys);
            } else {
                match start {
                    None => return,
                    Some(start) if start > self.now => self.now = start,
                    Some(_) => {
                        let corner = self.corner(false);
                        self.go(corner, keys);
                    }
                }
            }
        }
    }

    /// Begins what is due.
    fn begin(&mut self, speaking: bool) {
        while let Some(&(label, intensity, t_ms)) = self.feelings.front()
            && t_ms <= self.now
        {
            self.feelings.pop_front();
            let to = expression::pose(&self.tables, &self.style, label, intensity);
            let emotion = self.tables.emotions.get(label);
            let fade_ms = self.tables.motion.end.fade_ms;
            self.feeling = self.feeling.shift(to, emotion, fade_ms, self.style.look().tempo(), self.now);
        }
        if speaking {
            self.eyes.begin(&self.tables.motion, self.now);
        }
    }

    /// When something moves: now, or later, or never.
    fn next_start(&self, speaking: bool) -> Option<u64> {
        let moves = self.lags
            || self.eyes.moving(self.now).is_some()
            || if speaking { self.feeling.moving(self.now).is_some() } else { self.feeling.rising(self.now) };
        if moves {
            return Some(self.now);
        }
        let mouth = self.mouth.next().map(|next| next.from.max(self.now));
        let feeling = self.feelings.front().map(|(_, _, t_ms)| *t_ms);
        let by_themselves = self.eyes.coming().chain(self.feeling.fades(self.now)).filter(|_| speaking);
        mouth.into_iter().chain(feeling).chain(by_themselves).min()
    }

    /// The next corner: where a movement ends or another one begins. Not so soon that keys would be too short or too
    /// many: what ends before ends there, and what begins before begins there.
    fn corner(&self, speaking: bool) -> u64 {
        let keys = self.tables.motion.keys;
        let least = (self.now + keys.least_ms).max(self.next_key.saturating_sub(keys.burst_ms));
        let next = self.mouth.next();
        let ends = next.map(|next| next.at).into_iter();
        let ends = ends.chain(self.feeling.moving(self.now)).chain(self.eyes.moving(self.now));
        let starts = next.map(|next| next.from).into_iter();
        let starts = starts.chain(self.feelings.front().map(|(_, _, t_ms)| *t_ms));
        let by_themselves = self.eyes.coming().chain(self.feeling.fades(self.now)).filter(|_| speaking);
        let starts = starts.chain(by_themselves).filter(|&start| start > least);
        ends.map(|end| end.max(least)).chain(starts).min().unwrap_or(least)
    }

    /// Moves the face on to a corner.
    fn go(&mut self, corner: u64, keys: &mut Vec<Key>) {
        let tables = std::sync::Arc::clone(&self.tables);
        let due = self.mouth.due(&tables, corner);
        let opening = self.style.look().mouth();
        let (mouth, lock) = self.mouth.reach(&tables, opening, self.now, corner, due);
        let mut corner = corner;
        let mut to = self.compose(&mouth, lock, corner);
        if due.and_then(|due| self.mouth.viseme(&tables, due)).is_some_and(|viseme| viseme.closed) {
            // The lips must meet, even if the sound comes a little late for it.
            corner =
                corner.max(self.now + least_ms(&tables, &self.pose, &to).min(tables.motion.end.neutral_ms));
            to = self.compose(&mouth, lock, corner);
        }
        let reached = within(&tables, &self.pose, to.clone(), corner - self.now);
        self.lags = reached != to;
        self.pose = reached;
        (self.mouth.pose, self.mouth.lock) = (mouth, lock);
        if let Some(due) = due {
            self.mouth.done(due);
        }
        let w = bytes(&self.pose.weights(&tables.units));
        if w != self.w {
            let au = self.pose.units(&tables.units);
            let (t_ms, ease_ms) = (self.now, corner - self.now);
            (self.w, self.neutral) = (w, au.is_empty() && w.iter().all(|w| *w == 0));
            keys.push(Key { text_offset: self.offsets.at(t_ms), t_ms, ease_ms, au, w });
            self.next_key = self.next_key.max(corner) + tables.motion.keys.spacing_ms;
        }
        self.now = corner;
        self.eyes.settle(&tables.motion, corner);
    }

    /// The whole face at a time: speech over feeling, blinks and gaze over both.
    fn compose(&self, mouth: &Pose, lock: f32, t: u64) -> Pose {
        let (look, eyes) = (self.style.look(), self.tables.units.eyes);
        let mut pose = self.feeling.at(t);
        let slots = pose.slots_mut();
        for (slot, value) in slots.iter_mut().enumerate() {
            let spoken = (mouth.slots()[slot] * look.gain(slot)).min(1.0);
            let felt = *value * (1.0 - self.tables.speech.lock[slot / 2] * lock);
            *value = spoken.max(felt);
        }
        let closed = self.eyes.closed(t);
        for side in 0..2 {
            let blink = 2 * eyes.blink + side;
            let closed = (closed * look.gain(blink)).min(1.0);
            slots[blink] = slots[blink].max(closed);
            // A lid cannot rise and fall at once.
            slots[2 * eyes.lid_raiser + side] *= 1.0 - closed;
            for (unit, turn) in eyes.turns.into_iter().zip(self.eyes.turns(t)) {
                let slot = 2 * unit + side;
                slots[slot] = slots[slot].max((turn * look.gain(slot)).min(1.0));
            }
        }
        pose
    }
}
