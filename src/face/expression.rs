use std::collections::BTreeMap;

use super::pose::bytes;
use super::{Pose, Style, Tables};
use crate::wire::{EmotionLabel, FACE_SHAPES};

/// What a character's face shows of one feeling at its height.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression<'a> {
    tables: &'a Tables,
    pose: Pose,
}

impl<'a> Expression<'a> {
    /// `intensity` is 0 to 1, and is brought into these bounds; what is no number is 0. Neutral shows nothing.
    ///
    /// A unit's strength is that of the table (or of the pack's `extra`), times intensity, expressivity and the pack's
    /// gain, at most 1.
    pub fn new(tables: &'a Tables, style: &Style, label: EmotionLabel, intensity: f32) -> Self {
        Self { tables, pose: pose(tables, style, label, intensity) }
    }

    /// The action units that act, 0 to 1: `AU12` is both sides, `AU14L` the character's left one alone.
    pub fn units(&self) -> BTreeMap<String, f32> {
        self.pose.units(&self.tables.units)
    }

    /// Weights of the rig's shapes, 0 to 1, in their order.
    pub fn weights(&self) -> [f32; FACE_SHAPES] {
        self.pose.weights(&self.tables.units)
    }

    /// The same from 0 to 255.
    pub fn bytes(&self) -> [u8; FACE_SHAPES] {
        bytes(&self.weights())
    }
}

/// The units of a feeling.
pub(super) fn pose(tables: &Tables, style: &Style, label: EmotionLabel, intensity: f32) -> Pose {
    let mut pose = Pose::neutral(&tables.units);
    let Some(emotion) = tables.emotions.get(label) else { return pose };
    let strength = unit(intensity) * style.expressivity();
    let slots = pose.slots_mut();
    for (unit, value) in &emotion.units {
        slots[2 * unit] = *value;
        slots[2 * unit + 1] = *value;
    }
    for (unit, value) in &emotion.one_side {
        slots[2 * unit + style.contempt_side().index()] = *value;
    }
    for (slot, value) in style.look().extra(label) {
        slots[*slot] = slots[*slot].max(*value);
    }
    for (slot, value) in slots.iter_mut().enumerate().filter(|(_, value)| **value != 0.0) {
        let side = if tables.units.paired(slot / 2) { style.share(slot % 2) } else { 1.0 };
        *value = (*value * strength * style.look().gain(slot) * side).clamp(0.0, 1.0);
    }
    pose
}

/// A part of a whole, whatever came in.
fn unit(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}
