//! `[relationship]`: what an archetype's characters think of players whom they do not know, what changes it, and for how
//! long.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{At, overlaid};
use crate::archetype::{Cause, PackError};
use crate::wire::{Axis, Relationship};

/// Days after which half of a change is left.
const HALF_LIFE_DAYS: (f64, f64) = (0.01, 36_500.0);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::archetype) struct Written {
    baseline: BTreeMap<String, f64>,
    half_life_days: BTreeMap<String, f64>,
    effects: BTreeMap<String, BTreeMap<String, f64>>,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationshipTable {
    /// What it thinks of a stranger, before its own personality, each -1 to 1.
    pub baseline: Relationship,
    /// In milliseconds.
    pub half_life_ms: [f64; 5],
    /// What something of importance 1 changes.
    pub effects: BTreeMap<Cause, Relationship>,
}

/// The axes of a relationship, in the order of its fields.
pub const AXES: [Axis; 5] = [Axis::Trust, Axis::Respect, Axis::Familiarity, Axis::Fear, Axis::Affection];

const fn name(axis: Axis) -> &'static str {
    match axis {
        Axis::Trust => "trust",
        Axis::Respect => "respect",
        Axis::Familiarity => "familiarity",
        Axis::Fear => "fear",
        Axis::Affection => "affection",
    }
}

/// Reads numbers by axis.
fn axes(
    table: &str,
    written: BTreeMap<String, f64>,
    bounds: (f64, f64),
    at: &At<'_>,
) -> Result<[f64; 5], PackError> {
    let mut numbers = [0.0; 5];
    for (axis, value) in written {
        let key = format!("relationship.{table}.{axis}");
        let Some(place) = AXES.iter().position(|known| name(*known) == axis) else {
            let axes = "trust, respect, familiarity, fear and affection";
            return at.fail(key, format!("there is no axis of that name; the axes are {axes}"));
        };
        numbers[place] = at.number(&key, value, bounds)?;
    }
    Ok(numbers)
}

fn relationship([trust, respect, familiarity, fear, affection]: [f64; 5]) -> Relationship {
    Relationship {
        trust: trust as f32,
        respect: respect as f32,
        familiarity: familiarity as f32,
        fear: fear as f32,
        affection: affection as f32,
    }
}

impl Written {
    pub(super) fn over(self, under: &Self) -> Self {
        let over = |over: BTreeMap<String, f64>, under: &BTreeMap<String, f64>| {
            let mut all = under.clone();
            all.extend(over);
            all
        };
        Self {
            baseline: over(self.baseline, &under.baseline),
            half_life_days: over(self.half_life_days, &under.half_life_days),
            effects: overlaid(self.effects, &under.effects),
        }
    }

    pub(super) fn check(self, at: &At<'_>) -> Result<RelationshipTable, PackError> {
        let baseline = relationship(axes("baseline", self.baseline, (-1.0, 1.0), at)?);
        let days = axes("half_life_days", self.half_life_days, HALF_LIFE_DAYS, at)?;
        let mut effects = BTreeMap::new();
        for (cause, changes) in self.effects {
            let key = format!("relationship.effects.{cause}");
            let changes = axes(&format!("effects.{cause}"), changes, (-1.0, 1.0), at)?;
            effects.insert(at.named::<Cause>(&key, &cause)?, relationship(changes));
        }
        let half_life_ms = days.map(|days| days.max(HALF_LIFE_DAYS.0) * 86_400_000.0);
        Ok(RelationshipTable { baseline, half_life_ms, effects })
    }
}
