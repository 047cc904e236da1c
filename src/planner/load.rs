//! The load: how many requests and tokens a second a game's characters ask for, on average and at the busiest hour.
//!
//! An action of an NPC has seven tasks. Three of them, [`SPOKEN_TASKS`], are adapters that are mixed into one spoken line,
//! so one request. The other four, [`CHOICE_TASKS`], are a choice each: a request that scores a closed list of answers
//! and generates nothing.

mod curve;
mod rates;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::input::{self, InputError};

pub use curve::Curve;
pub use rates::Rates;

/// Tasks whose adapters are mixed into a spoken line.
pub const SPOKEN_TASKS: [&str; 3] = ["personality", "dialogue_style", "world_knowledge"];

/// Tasks that are a choice among a closed list.
pub const CHOICE_TASKS: [&str; 4] =
    ["action_policy", "emotional_response", "social_dynamics", "goal_prioritization"];

/// Actions of an NPC a second, as the reference design has it: one in eight seconds.
pub const ACTIONS_PER_NPC_PER_S: f64 = 0.125;

/// Archetypes that a studio begins with; the reference design's 35 adapters are seven for each.
pub const ARCHETYPES: [&str; 5] = ["vampire", "werewolf", "zombie", "ghoul", "lich"];

/// Tokens of a spoken line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineTokens {
    /// Of the prompt, 1 to 1,000,000.
    pub prompt: f64,
    /// Generated, 1 to 4096.
    pub answer: f64,
    /// Share of the prompt's tokens whose keys and values are there from the line before, 0 to 1.
    pub warm_share: f64,
}

impl Default for LineTokens {
    /// The conversation of `bench socket`: 48 tokens generated; 216 tokens of past and a new line of some 24, of which
    /// over 20 lines 93 % need not be computed again, rounded down.
    fn default() -> Self {
        Self { prompt: 240.0, answer: 48.0, warm_share: 0.9 }
    }
}

/// Tokens of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoiceTokens {
    /// Of the prompt, 1 to 1,000,000.
    pub prompt: f64,
    /// Of all answers that it may have; they are scored, not generated. 0 to 65,536.
    pub options: f64,
    /// Share of the prompt's tokens whose keys and values are there already, 0 to 1.
    pub warm_share: f64,
}

impl Default for ChoiceTokens {
    /// Assumed: persona and question are some 90 tokens that stay, what was said at most 400 characters, so some 60
    /// that are new; ten answers of two tokens beyond their last.
    fn default() -> Self {
        Self { prompt: 150.0, options: 20.0, warm_share: 0.6 }
    }
}

/// NPCs of one archetype.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchetypeLoad {
    pub name: String,
    /// NPCs that are in play, 0 to 10,000,000.
    pub npcs: u64,
    /// 0 to 100.
    #[serde(default = "actions")]
    pub actions_per_npc_per_s: f64,
    /// Spoken lines of an action, 0 to 16; below 1 where not every action is spoken.
    #[serde(default = "lines")]
    pub lines_per_action: f64,
    /// Choices of an action, 0 to 64.
    #[serde(default = "choices")]
    pub choices_per_action: f64,
    #[serde(default)]
    pub line: LineTokens,
    #[serde(default)]
    pub choice: ChoiceTokens,
}

const fn actions() -> f64 {
    ACTIONS_PER_NPC_PER_S
}

const fn lines() -> f64 {
    1.0
}

const fn choices() -> f64 {
    CHOICE_TASKS.len() as f64
}

/// All of a game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// In the file a table `[[archetype]]` for each.
    #[serde(rename = "archetype")]
    pub archetypes: Vec<ArchetypeLoad>,
    #[serde(default)]
    pub curve: Curve,
}

impl ArchetypeLoad {
    /// So many NPCs with the defaults of everything else.
    pub fn new(name: impl Into<String>, npcs: u64) -> Self {
        Self {
            name: name.into(),
            npcs,
            actions_per_npc_per_s: actions(),
            lines_per_action: lines(),
            choices_per_action: choices(),
            line: LineTokens::default(),
            choice: ChoiceTokens::default(),
        }
    }

    /// Tasks of an action, as the reference design counts them: 7 by default.
    pub fn tasks_per_action(&self) -> f64 {
        self.lines_per_action * SPOKEN_TASKS.len() as f64 + self.choices_per_action
    }

    /// Checks the ranges; `key` is what messages put before a field's name.
    pub(super) fn check(&self, key: &str) -> Result<(), InputError> {
        input::text(&format!("{key}.name"), &self.name)?;
        input::whole(&format!("{key}.npcs"), self.npcs, 0, 10_000_000)?;
        for (field, value, low, high) in [
            ("actions_per_npc_per_s", self.actions_per_npc_per_s, 0.0, 100.0),
            ("lines_per_action", self.lines_per_action, 0.0, 16.0),
            ("choices_per_action", self.choices_per_action, 0.0, 64.0),
            ("line.prompt", self.line.prompt, 1.0, 1e6),
            ("line.answer", self.line.answer, 1.0, 4096.0),
            ("line.warm_share", self.line.warm_share, 0.0, 1.0),
            ("choice.prompt", self.choice.prompt, 1.0, 1e6),
            ("choice.options", self.choice.options, 0.0, 65_536.0),
            ("choice.warm_share", self.choice.warm_share, 0.0, 1.0),
        ] {
            input::number(&format!("{key}.{field}"), value, low, high)?;
        }
        Ok(())
    }
}

impl Load {
    /// The reference case: so many NPCs, spread over the five archetypes as evenly as whole ones can be, the same all day.
    pub fn reference(npcs: u64) -> Self {
        let count = ARCHETYPES.len() as u64;
        let share = |index: u64| npcs / count + u64::from(index < npcs % count);
        let archetypes =
            (0..count).zip(ARCHETYPES).map(|(index, name)| ArchetypeLoad::new(name, share(index))).collect();
        Self { archetypes, curve: Curve::default() }
    }

    /// Reads a load from TOML and checks it; `file` is its name in messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, InputError> {
        let load: Self = input::parse(file, text)?;
        load.check()?;
        Ok(load)
    }

    /// Checks the ranges. The message names the field and its limits.
    pub fn check(&self) -> Result<(), InputError> {
        input::whole("load.archetype (how many)", self.archetypes.len() as u64, 1, 10_000)?;
        let names = self.archetypes.iter().map(|archetype| archetype.name.as_str());
        input::unique("load.archetype.name", names)?;
        for (index, archetype) in self.archetypes.iter().enumerate() {
            archetype.check(&format!("load.archetype[{index}]"))?;
        }
        self.curve.check("load.curve")
    }

    pub fn npcs(&self) -> u64 {
        self.archetypes.iter().map(|archetype| archetype.npcs).fold(0, u64::saturating_add)
    }

    /// Rates while everybody is `factor` times as busy as the rates of actions say.
    pub fn at(&self, factor: f64) -> Rates {
        self.archetypes.iter().map(|archetype| Rates::of(archetype, factor)).sum()
    }

    /// Rates averaged over the day.
    pub fn mean(&self) -> Rates {
        self.at(self.curve.mean())
    }

    /// Rates in the busiest hour, which is what servers have to stand.
    pub fn peak(&self) -> Rates {
        self.at(self.curve.peak().1)
    }
}
