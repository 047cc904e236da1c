mod course;
mod draw;
mod pictures;
mod properties;
mod rigs;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::archetype::{FaceOverrides, Packs};
use crate::wire::{EmotionLabel, FACE_SHAPES};

/// What a face shows.
const EMOTIONS: [EmotionLabel; 7] = [
    EmotionLabel::Joy,
    EmotionLabel::Sadness,
    EmotionLabel::Anger,
    EmotionLabel::Fear,
    EmotionLabel::Disgust,
    EmotionLabel::Surprise,
    EmotionLabel::Contempt,
];

fn tables() -> Arc<Tables> {
    Tables::built_in().unwrap()
}

/// The style of a pack's `[face]`.
fn style(tables: &Tables, face: &str) -> Style {
    let face: FaceOverrides = toml::from_str(face).unwrap();
    Style::new(&Arc::new(Look::new(tables, &face).unwrap()), 1.0, 0.0, 1)
}

fn plain(tables: &Tables) -> Style {
    style(tables, "")
}

fn shape(tables: &Tables, name: &str) -> usize {
    tables.shapes().iter().position(|shape| shape == name).unwrap()
}

/// Where a client's face is at `t`, playing keys.
fn played(keys: &[Key], t: u64) -> [f32; FACE_SHAPES] {
    let mut at = [0.0; FACE_SHAPES];
    for key in keys.iter().take_while(|key| key.t_ms <= t) {
        let part = if t >= key.t_ms + key.ease_ms { 1.0 } else { (t - key.t_ms) as f32 / key.ease_ms as f32 };
        at.iter_mut().zip(key.w).for_each(|(at, w)| *at += (f32::from(w) - *at) * part);
    }
    at
}

/// Nothing parts the lips.
fn lips_closed(tables: &Tables, w: &[f32; FACE_SHAPES]) -> bool {
    let parting = [
        "jawOpen",
        "mouthFunnel",
        "mouthPucker",
        "mouthLowerDownLeft",
        "mouthLowerDownRight",
        "mouthUpperUpLeft",
        "mouthUpperUpRight",
    ];
    parting.iter().all(|name| w[shape(tables, name)] < 0.5)
}

fn units(pairs: &[(&str, f32)]) -> BTreeMap<String, f32> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}
