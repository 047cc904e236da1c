//! What an NPC thinks of each player. It fades toward what it thinks of strangers; that is computed when somebody asks, so
//! NPCs that nobody visits cost nothing.

use std::collections::BTreeMap;

use super::Personality;
use super::draw::rounded;
use crate::archetype::{AXES, Cause, RelationshipTable, Trait};
use crate::history::NpcTie;
use crate::wire::{Axis, Relationship};

/// Players whom an NPC knows at most; then those who matter least are forgotten.
pub const MAX_PLAYERS: usize = 256;
/// What is left of a change that does not matter any more.
const NOTHING: f64 = 0.005;

/// Numbers in the order of [`AXES`].
fn numbers(of: &Relationship) -> [f64; 5] {
    [of.trust, of.respect, of.familiarity, of.fear, of.affection].map(f64::from)
}

fn relationship(of: [f64; 5]) -> Relationship {
    let [trust, respect, familiarity, fear, affection] = of.map(rounded);
    Relationship { trust, respect, familiarity, fear, affection }
}

/// What an NPC of this personality thinks of a stranger: what its kind does, and a little of its own.
///
/// trust + 0.2 neo_trust − 0.1 dark_machiavellianism; respect + 0.1 moral_authority − 0.1 dark_narcissism;
/// fear + 0.1 neo_anxiety + 0.1 neo_vulnerability; affection + 0.2 neo_friendliness; each within −1 to 1.
pub fn toward_strangers(personality: &Personality, table: &RelationshipTable) -> Relationship {
    let of = |named: Trait| f64::from(personality.value(named));
    let own = [
        0.2 * of(Trait::Trust) - 0.1 * of(Trait::Machiavellianism),
        0.1 * of(Trait::Authority) - 0.1 * of(Trait::Narcissism),
        0.0,
        0.1 * of(Trait::Anxiety) + 0.1 * of(Trait::Vulnerability),
        0.2 * of(Trait::Friendliness),
    ];
    let kind = numbers(&table.baseline);
    relationship(std::array::from_fn(|axis| (kind[axis] + own[axis]).clamp(-1.0, 1.0)))
}

/// A change of a relationship.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// What changed, of what was asked for; axes that did not are absent.
    pub delta: BTreeMap<Axis, f32>,
    /// After it.
    pub relationship: Relationship,
}

/// All that an NPC knows players by.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Relationships {
    by_player: BTreeMap<String, NpcTie>,
}

/// How it is at a time.
fn at(tie: &NpcTie, now_ms: u64, base: &[f64; 5], table: &RelationshipTable) -> [f64; 5] {
    let then = numbers(&tie.relationship());
    let passed = now_ms.saturating_sub(tie.at_ms) as f64;
    std::array::from_fn(|axis| {
        let left = libm::exp2(-passed / table.half_life_ms[axis]);
        (base[axis] + (then[axis] - base[axis]) * left).clamp(-1.0, 1.0)
    })
}

impl Relationships {
    /// As they were stored.
    pub fn stored(ties: BTreeMap<String, NpcTie>) -> Self {
        Self { by_player: ties.into_iter().take(MAX_PLAYERS).collect() }
    }

    /// To be stored.
    pub fn ties(&self) -> &BTreeMap<String, NpcTie> {
        &self.by_player
    }

    /// What it thinks of a player, who may be a stranger.
    pub fn of(
        &self,
        player: &str,
        now_ms: u64,
        strangers: &Relationship,
        table: &RelationshipTable,
    ) -> Relationship {
        match self.by_player.get(player) {
            Some(tie) => relationship(at(tie, now_ms, &numbers(strangers), table)),
            None => *strangers,
        }
    }

    /// Changes what it thinks of a player; each axis stays within −1 to 1. What is no number changes nothing.
    pub fn shift(
        &mut self,
        player: &str,
        change: &Relationship,
        now_ms: u64,
        strangers: &Relationship,
        table: &RelationshipTable,
    ) -> Shift {
        let before = numbers(&self.of(player, now_ms, strangers, table));
        let change = numbers(change).map(|by| if by.is_finite() { by } else { 0.0 });
        let after = relationship(std::array::from_fn(|axis| (before[axis] + change[axis]).clamp(-1.0, 1.0)));
        let mut delta = BTreeMap::new();
        for (axis, named) in AXES.into_iter().enumerate() {
            let by = rounded(numbers(&after)[axis] - before[axis]);
            if by != 0.0 {
                delta.insert(named, by);
            }
        }
        if !delta.is_empty() || self.by_player.contains_key(player) {
            self.by_player.insert(player.to_owned(), NpcTie::new(after, now_ms));
            self.make_room(player, now_ms, strangers, table);
        }
        Shift { delta, relationship: after }
    }

    /// What something that a player did changes, at this importance, 0 to 1.
    pub fn effect(table: &RelationshipTable, cause: Cause, importance: f32) -> Relationship {
        let effect = table.effects.get(&cause).map(numbers).unwrap_or_default();
        relationship(effect.map(|by| by * f64::from(importance.clamp(0.0, 1.0))))
    }

    /// Forgets a player, unless something has changed since; tells whether it did.
    pub fn forget(&mut self, player: &str, until_ms: u64) -> bool {
        let old = self.by_player.get(player).is_some_and(|tie| tie.at_ms <= until_ms);
        old && self.by_player.remove(player).is_some()
    }

    /// Forgets whom it thinks of almost as of strangers, first who was longest away, but for `keep`.
    fn make_room(&mut self, keep: &str, now_ms: u64, strangers: &Relationship, table: &RelationshipTable) {
        if self.by_player.len() <= MAX_PLAYERS {
            return;
        }
        let base = numbers(strangers);
        let matters = |tie: &NpcTie| -> f64 {
            let apart: f64 =
                at(tie, now_ms, &base, table).iter().zip(base).map(|(at, base)| (at - base).abs()).sum();
            if apart < NOTHING { 0.0 } else { apart }
        };
        let least = self
            .by_player
            .iter()
            .filter(|(player, _)| *player != keep)
            .map(|(player, tie)| (matters(tie), tie.at_ms, player))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(b.2)))
            .map(|(_, _, player)| player.clone());
        if let Some(player) = least {
            self.by_player.remove(&player);
        }
    }
}
