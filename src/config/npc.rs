use serde::{Deserialize, Serialize};

/// The NPCs held in memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Npc {
    pub max_npcs: usize,
    /// Lines that wait for one NPC.
    pub mailbox: usize,
    pub on_overload: OnOverload,
    pub barge_in: BargeIn,
}

/// What a line does to an NPC that answers the same player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BargeIn {
    /// It waits until the answer is there.
    Queue,
    /// It cuts the answer off where its speech has got to.
    Interrupt,
}

/// What a player gets when the engine is overloaded, or fails before the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverload {
    /// A scripted line of the pack.
    Line,
    /// `overloaded` with `retry_after_ms`.
    Error,
}
