//! What an NPC wants: the goals of its pack, each wanted as much as what happened makes it, and fading back to what it is
//! when nothing happens.

use std::collections::BTreeMap;

use super::draw::rounded;
use crate::archetype::{Cause, GoalDef};
use crate::history::NpcGoal;
use crate::wire::GoalInfo;

/// A goal that is wanted less is none.
const WANTED: f32 = 0.01;
/// How far a ranking moves priorities toward what it says.
const RATE: f64 = 0.2;

/// See the module's documentation. One priority for each goal of the pack, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Goals {
    held: Vec<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    priority: f64,
    at_ms: u64,
}

impl Held {
    fn at(self, goal: &GoalDef, now_ms: u64) -> f64 {
        let base = f64::from(goal.priority);
        let left = libm::exp2(-(now_ms.saturating_sub(self.at_ms) as f64) / goal.half_life_ms);
        (base + (self.priority - base) * left).clamp(0.0, 1.0)
    }
}

impl Goals {
    /// As they were stored: goals that the pack does not have any more are gone, and new ones are as it says.
    pub fn stored(pack: &[GoalDef], stored: &[NpcGoal]) -> Self {
        let held = |goal: &GoalDef| {
            let known = stored.iter().find(|known| known.id == goal.id);
            known.map_or(Held { priority: goal.priority.into(), at_ms: 0 }, |known| Held {
                priority: f64::from(known.priority).clamp(0.0, 1.0),
                at_ms: known.at_ms,
            })
        };
        Self { held: pack.iter().map(held).collect() }
    }

    /// To be stored: all of them, in the order of [`Self::list`], and then those that it does not want now.
    pub fn to_store(&self, pack: &[GoalDef]) -> Vec<NpcGoal> {
        let mut goals: Vec<_> = pack
            .iter()
            .zip(&self.held)
            .map(|(goal, held)| NpcGoal {
                id: goal.id.clone(),
                text: goal.text.clone(),
                priority: held.priority as f32,
                at_ms: held.at_ms,
            })
            .collect();
        goals.sort_by(|a, b| b.priority.total_cmp(&a.priority));
        goals
    }

    /// The goal stack: what it wants, most of all first.
    pub fn list(&self, pack: &[GoalDef], now_ms: u64) -> Vec<GoalInfo> {
        let mut goals: Vec<_> = pack
            .iter()
            .zip(&self.held)
            .map(|(goal, held)| GoalInfo {
                id: goal.id.clone(),
                text: goal.text.clone(),
                priority: rounded(held.at(goal, now_ms)),
            })
            .filter(|goal| goal.priority >= WANTED)
            .collect();
        // Stable: of two alike the first in the pack.
        goals.sort_by(|a, b| b.priority.total_cmp(&a.priority));
        goals
    }

    /// Something has happened, at an importance of 0 to 1. Tells whether it changes what is wanted.
    pub fn raise(&mut self, pack: &[GoalDef], cause: Cause, importance: f32, now_ms: u64) -> bool {
        let mut changed = false;
        for (goal, held) in pack.iter().zip(&mut self.held) {
            let Some(raise) = goal.on.get(&cause) else { continue };
            let by = f64::from(raise * importance.clamp(0.0, 1.0));
            *held = Held { priority: (held.at(goal, now_ms) + by).clamp(0.0, 1.0), at_ms: now_ms };
            changed = true;
        }
        changed
    }

    /// A ranking: the probability of each goal by its id. The likeliest one is drawn toward a priority of 1, the others
    /// toward their share of that, a fifth of the way; what is not ranked stays. Returns the stack after it.
    pub fn rank(&mut self, pack: &[GoalDef], ranking: &BTreeMap<String, f32>, now_ms: u64) -> Vec<GoalInfo> {
        let sound = |p: &&f32| p.is_finite() && **p >= 0.0;
        let likeliest = ranking.values().filter(sound).fold(0.0, |most: f32, p| most.max(*p));
        if likeliest > 0.0 {
            for (goal, held) in pack.iter().zip(&mut self.held) {
                let Some(p) = ranking.get(&goal.id).filter(sound) else { continue };
                let now = held.at(goal, now_ms);
                let toward = f64::from(*p) / f64::from(likeliest);
                *held = Held { priority: (now + RATE * (toward - now)).clamp(0.0, 1.0), at_ms: now_ms };
            }
        }
        self.list(pack, now_ms)
    }
}
