use std::collections::BTreeMap;

use super::tables::Units;
use crate::wire::FACE_SHAPES;

/// How strongly every action unit of the tables acts, 0 to 1, on the left and on the right half of the face.
#[derive(Debug, Clone, PartialEq)]
pub struct Pose {
    /// By slot: two for each unit, the left one first.
    slots: Box<[f32]>,
}

/// Values of `au` on the wire have so many steps.
const STEPS: f32 = 1000.0;

impl Pose {
    /// The face at rest.
    pub(super) fn neutral(units: &Units) -> Self {
        Self { slots: vec![0.0; units.slots()].into() }
    }

    pub(super) fn slots(&self) -> &[f32] {
        &self.slots
    }

    pub(super) fn slots_mut(&mut self) -> &mut [f32] {
        &mut self.slots
    }

    /// The way from this pose to another one, `part` (0 to 1) of it done.
    pub(super) fn toward(&self, other: &Self, part: f32) -> Self {
        let step = |(from, to): (&f32, &f32)| from + (to - from) * part;
        Self { slots: self.slots.iter().zip(&*other.slots).map(step).collect() }
    }

    /// The pose with every unit `factor` as strong.
    pub(super) fn scaled(&self, factor: f32) -> Self {
        Self { slots: self.slots.iter().map(|value| value * factor).collect() }
    }

    /// The shapes' weights, 0 to 1.
    pub(super) fn weights(&self, units: &Units) -> [f32; FACE_SHAPES] {
        let mut weights = [0.0; FACE_SHAPES];
        for (slot, value) in self.slots.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            for link in units.links(slot) {
                weights[link.shape] += link.weight * value;
            }
        }
        weights.map(|weight: f32| weight.clamp(0.0, 1.0))
    }

    /// The units that act, as they are written on the wire: `AU12`, or `AU14L` and `AU14R` where the halves differ.
    /// Values are rounded to thousandths.
    pub(super) fn units(&self, units: &Units) -> BTreeMap<String, f32> {
        let mut named = BTreeMap::new();
        for (unit, name) in units.names().enumerate() {
            let [left, right] =
                [self.slots[2 * unit], self.slots[2 * unit + 1]].map(|v| (v * STEPS).round() / STEPS);
            if left == right {
                if left > 0.0 {
                    named.insert(name.to_owned(), left);
                }
                continue;
            }
            for (side, value) in [('L', left), ('R', right)] {
                if value > 0.0 {
                    named.insert(format!("{name}{side}"), value);
                }
            }
        }
        named
    }
}

/// Weights as they are on the wire: 255 is 1.
pub(super) fn bytes(weights: &[f32; FACE_SHAPES]) -> [u8; FACE_SHAPES] {
    weights.map(|weight| (weight * 255.0).round() as u8)
}
