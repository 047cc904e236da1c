use serde::Deserialize;

/// The NPCs held in memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npc {
    pub max_npcs: usize,
    pub mailbox: usize,
    pub on_overload: OnOverload,
}

/// What a player gets when the engine is overloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverload {
    Line,
    Error,
}
