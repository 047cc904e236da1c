//! No shape moves faster than its limit.

use crate::face::pose::Pose;
use crate::face::tables::Tables;
use crate::wire::FACE_SHAPES;

/// How far each shape would have to move, all units' parts added up.
fn distances(tables: &Tables, from: &Pose, to: &Pose) -> [f32; FACE_SHAPES] {
    let mut distances = [0.0; FACE_SHAPES];
    for (slot, (from, to)) in from.slots().iter().zip(to.slots()).enumerate() {
        for link in tables.units.links(slot) {
            distances[link.shape] += (link.weight * (to - from)).abs();
        }
    }
    distances
}

/// What the face can reach of `to` within `ms`. Units whose shapes would be too fast get as far as they can.
///
/// For every shape |change of w| · limit ≤ 255 · ms holds after rounding.
pub fn within(tables: &Tables, from: &Pose, to: Pose, ms: u64) -> Pose {
    let distances = distances(tables, from, &to);
    let mut parts = [1.0_f32; FACE_SHAPES];
    let mut limited = false;
    for ((part, distance), limit) in parts.iter_mut().zip(distances).zip(tables.motion.limits) {
        // One step of 255 is lost to rounding.
        let most = ((ms as f32 / limit as f32) - 1.0 / 255.0).max(0.0);
        if distance > most {
            *part = most / distance;
            limited = true;
        }
    }
    if !limited {
        return to;
    }
    let mut reached = to;
    for (slot, (value, from)) in reached.slots_mut().iter_mut().zip(from.slots()).enumerate() {
        let links = tables.units.links(slot);
        let part = links.iter().map(|link| parts[link.shape]).fold(1.0, f32::min);
        if part < 1.0 {
            *value = from + (*value - from) * part;
        }
    }
    reached
}

/// How long the way from one pose to another takes at least.
pub fn least_ms(tables: &Tables, from: &Pose, to: &Pose) -> u64 {
    let distances = distances(tables, from, to);
    let times = distances.iter().zip(tables.motion.limits).filter(|(distance, _)| **distance > 0.0);
    // A part of a millisecond, and one step of 255 for rounding.
    times
        .map(|(distance, limit)| ((distance + 1.0 / 255.0) * limit as f32) as u64 + 1)
        .max()
        .unwrap_or_default()
}
