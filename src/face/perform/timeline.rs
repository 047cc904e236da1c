//! From what is felt, said and seen to keys.
//!
//! `now` goes from one corner of the face's course to the next. Between two corners everything moves evenly, so one key
//! is all of it.

use super::limit::{least_ms, within};
use super::mouth::Place;
use super::{Key, Performance, Stage};
use crate::face::expression;
use crate::face::pose::{Pose, bytes};

/// What is known of the time that is to be settled.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// All sounds that begin before a time.
    Sounds { until: u64 },
    /// Nothing is said. With a time: what is felt by then comes up.
    Silence { felt_by: Option<u64> },
}

impl Known {
    fn speech(self) -> bool {
        matches!(self, Self::Sounds { .. })
    }
}

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
        self.advance(Known::Sounds { until: known }, keys);
    }

    /// Speech has stopped at `spoken`.
    pub(super) fn fall_silent(&mut self, keys: &mut Vec<Key>) {
        if self.stage == Stage::Speaking {
            self.stage = Stage::Silent;
            self.words.end(&self.tables.speech, &mut self.sounds);
            self.expect_sounds();
            let close_ms = self.tables.motion.mouth.close_ms;
            self.mouth.rest(self.tables.speech.rest, self.spoken, self.spoken + close_ms);
            self.settle(None, keys);
        }
    }

    /// Ends the movements of mouth and eyes that are under way. With a time, those of feelings too, and shows what is
    /// felt by then.
    pub(super) fn settle(&mut self, felt_by: Option<u64>, keys: &mut Vec<Key>) {
        self.advance(Known::Silence { felt_by }, keys);
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

    /// Settles what is known.
    fn advance(&mut self, known: Known, keys: &mut Vec<Key>) {
        loop {
            self.begin(known);
            let start = self.next_start(known).unwrap_or(u64::MAX);
            if start > self.now {
                // A sound that is not known yet moves the mouth from here on.
                let horizon = match known {
                    Known::Sounds { until } => until.saturating_sub(self.tables.motion.mouth.ease_ms),
                    Known::Silence { .. } => u64::MAX,
                };
                let stays = start.min(horizon);
                if stays < u64::MAX {
                    self.now = self.now.max(stays);
                }
                if start > self.now {
                    return;
                }
                continue;
            }
            let corner = self.corner(known);
            if let Known::Sounds { until } = known
                && corner >= until
            {
                return;
            }
            self.go(corner, keys);
        }
    }

    /// Begins what is due.
    fn begin(&mut self, known: Known) {
        while self.next_feeling(known).is_some_and(|t_ms| t_ms <= self.now)
            && let Some((label, intensity, _)) = self.feelings.pop_front()
        {
            let to = expression::pose(&self.tables, &self.style, label, intensity);
            let emotion = self.tables.emotions.get(label);
            let fade_ms = self.tables.motion.end.fade_ms;
            self.feeling = self.feeling.shift(to, emotion, fade_ms, self.style.look().tempo(), self.now);
        }
        if known.speech() {
            self.eyes.begin(&self.tables.motion, self.now);
        }
    }

    /// When the next feeling begins.
    fn next_feeling(&self, known: Known) -> Option<u64> {
        let next = self.feelings.front().map(|(_, _, t_ms)| *t_ms);
        match known {
            Known::Sounds { .. } => next,
            Known::Silence { felt_by } => {
                next.filter(|t_ms| felt_by.is_some_and(|by| *t_ms <= by.max(self.now)))
            }
        }
    }

    /// When something moves: now, or later, or never.
    fn next_start(&self, known: Known) -> Option<u64> {
        let feeling = match known {
            Known::Sounds { .. } => self.feeling.moving(self.now).is_some(),
            Known::Silence { felt_by } => felt_by.is_some() && self.feeling.rising(self.now),
        };
        if self.lags || feeling || self.eyes.moving(self.now).is_some() {
            return Some(self.now);
        }
        let mouth = self.mouth.next().map(|next| next.from.max(self.now));
        let by_themselves = self.eyes.coming().chain(self.feeling.fades(self.now)).filter(|_| known.speech());
        mouth.into_iter().chain(self.next_feeling(known)).chain(by_themselves).min()
    }

    /// The next corner: where a movement ends or another one begins. Not so soon that keys would be too short or too
    /// many: what ends before ends there, and what begins before begins there.
    fn corner(&self, known: Known) -> u64 {
        let keys = self.tables.motion.keys;
        let least = (self.now + keys.least_ms).max(self.next_key.saturating_sub(keys.burst_ms));
        let next = self.mouth.next();
        let ends = next.map(|next| next.at).into_iter();
        let ends = ends.chain(self.feeling.moving(self.now)).chain(self.eyes.moving(self.now));
        let starts = next.map(|next| next.from).into_iter().chain(self.next_feeling(known));
        let by_themselves = self.eyes.coming().chain(self.feeling.fades(self.now)).filter(|_| known.speech());
        let starts = starts.chain(by_themselves).filter(|&start| start > least);
        ends.map(|end| end.max(least)).chain(starts).min().unwrap_or(least)
    }

    /// Moves the face on to a corner.
    fn go(&mut self, corner: u64, keys: &mut Vec<Key>) {
        let tables = std::sync::Arc::clone(&self.tables);
        let due = self.mouth.due(&tables, corner);
        let opening = self.style.look().mouth();
        let mouth = self.mouth.reach(&tables, opening, self.now, corner, due);
        let mut corner = corner;
        let mut to = self.compose(&mouth, corner);
        if due.and_then(|due| self.mouth.viseme(&tables, due)).is_some_and(|viseme| viseme.closed) {
            // The lips must meet, even if the sound comes a little late for it.
            corner =
                corner.max(self.now + least_ms(&tables, &self.pose, &to).min(tables.motion.end.neutral_ms));
            to = self.compose(&mouth, corner);
        }
        let reached = within(&tables, &self.pose, to.clone(), corner - self.now);
        self.lags = reached != to;
        self.pose = reached;
        self.mouth.place = mouth;
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
    fn compose(&self, mouth: &Place, t: u64) -> Pose {
        let (look, eyes, speech) = (self.style.look(), self.tables.units.eyes, &self.tables.speech);
        let mut pose = self.feeling.at(t);
        let slots = pose.slots_mut();
        for (slot, value) in slots.iter_mut().enumerate() {
            let spoken = (mouth.pose.slots()[slot] * look.gain(slot)).min(1.0);
            let unit = slot / 2;
            let felt =
                *value * (1.0 - speech.lock[unit] * mouth.lock) * (1.0 - speech.shut[unit] * mouth.shut);
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
