//! A face on the turn's clock.

use serde_bytes::ByteArray;

use crate::face::{Key, Performance};
use crate::turn::{Say, TurnEvent};
use crate::wire::{EmotionLabel, FaceKey, ValidThrough};

/// A performance counts from the first word, so that it is the same whenever that comes; the turn counts from
/// `turn.started`.
pub(super) struct Face {
    performance: Performance,
    /// When the first word is spoken, or what is felt before any.
    from_ms: Option<u64>,
    /// Something was spoken since the mouth last closed.
    speaks: bool,
}

impl Face {
    pub fn new(performance: Performance) -> Self {
        Self { performance, from_ms: None, speaks: false }
    }

    pub fn is_speaking(&self) -> bool {
        self.speaks
    }

    pub fn speak(&mut self, text: &str, offset: u64, t_ms: u64, end_ms: u64) -> Vec<Key> {
        self.speaks = true;
        let from = *self.from_ms.get_or_insert(t_ms);
        let keys =
            self.performance.speak(text, offset, t_ms.saturating_sub(from), end_ms.saturating_sub(from));
        later(keys, from)
    }

    /// It shows in the keys that follow.
    pub fn feel(&mut self, label: EmotionLabel, intensity: f32, t_ms: u64) {
        let from = *self.from_ms.get_or_insert(t_ms);
        self.performance.feel(label, intensity, t_ms.saturating_sub(from));
    }

    /// Nothing more has come by `t_ms`, when everything has been spoken.
    pub fn pause(&mut self, t_ms: u64) -> Vec<Key> {
        self.speaks = false;
        let from = self.from_ms.unwrap_or(0);
        later(self.performance.pause(t_ms.saturating_sub(from)), from)
    }

    pub fn finish(&mut self, end: ValidThrough) -> Vec<Key> {
        self.speaks = false;
        let from = *self.from_ms.get_or_insert(end.t_ms);
        later(self.performance.finish(end.text_offset, end.t_ms.saturating_sub(from)), from)
    }
}

fn later(mut keys: Vec<Key>, from: u64) -> Vec<Key> {
    for key in &mut keys {
        key.t_ms += from;
    }
    keys
}

pub(super) fn event(say: &Say, key: Key) -> TurnEvent {
    let Key { text_offset, t_ms, ease_ms, au, w } = key;
    TurnEvent::Face(Box::new(FaceKey {
        turn: say.turn.clone(),
        player: say.player.clone(),
        text_offset,
        t_ms,
        ease_ms,
        au,
        w: ByteArray::new(w),
    }))
}
