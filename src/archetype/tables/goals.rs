//! `[[goals]]`: what an archetype's characters want.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::At;
use crate::archetype::{Cause, PackError};

/// Goals of a pack.
const GOALS: usize = 16;
/// Characters of a goal's text; it is an option of a choice, and stands in prompts.
const TEXT_CHARS: usize = 120;
/// Hours after which half of a change is left.
const HALF_LIFE_HOURS: (f64, f64) = (0.01, 876_000.0);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::archetype) struct Written {
    id: String,
    text: String,
    priority: f64,
    half_life_hours: Option<f64>,
    #[serde(default)]
    on: BTreeMap<String, f64>,
}

/// Something that a character may want.
#[derive(Debug, Clone, PartialEq)]
pub struct GoalDef {
    pub id: String,
    pub text: String,
    /// How much, 0 to 1, when nothing has happened. 0: only once something raises it.
    pub priority: f32,
    /// In milliseconds.
    pub half_life_ms: f64,
    /// How much more something of importance 1 makes it want this.
    pub on: BTreeMap<Cause, f32>,
}

pub(super) fn check(written: Vec<Written>, at: &At<'_>) -> Result<Vec<GoalDef>, PackError> {
    at.at_most("goals", written.len(), GOALS)?;
    let mut goals: Vec<GoalDef> = Vec::with_capacity(written.len());
    for (index, goal) in written.into_iter().enumerate() {
        let key = |name: &str| format!("goals[{index}].{name}");
        at.id(&key("id"), &goal.id)?;
        // The model chooses between texts, and clients between ids.
        if goals.iter().any(|other| other.id == goal.id) {
            return at.fail(key("id"), format!("{:?} is there twice", goal.id));
        }
        at.text(&key("text"), &goal.text, TEXT_CHARS)?;
        if goals.iter().any(|other| other.text == goal.text) {
            return at.fail(key("text"), format!("{:?} is there twice", goal.text));
        }
        let hours = goal.half_life_hours.unwrap_or(24.0);
        let hours = at.number(&key("half_life_hours"), hours, HALF_LIFE_HOURS)?;
        let mut on = BTreeMap::new();
        for (cause, raise) in goal.on {
            let key = format!("goals[{index}].on.{cause}");
            on.insert(at.named::<Cause>(&key, &cause)?, at.number(&key, raise, (-1.0, 1.0))? as f32);
        }
        let priority = at.number(&key("priority"), goal.priority, (0.0, 1.0))? as f32;
        goals.push(GoalDef { id: goal.id, text: goal.text, priority, half_life_ms: hours * 3_600_000.0, on });
    }
    Ok(goals)
}
