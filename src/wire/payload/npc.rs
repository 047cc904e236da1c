use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// C `npc.join`: the player meets an NPC, which is made if it is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcJoin {
    /// 1–64 of `A-Za-z0-9_.:-`.
    pub npc: String,
    /// 1–32 of `a-z0-9_-`; needed when the NPC is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archetype: Option<String>,
    /// 1–64 characters, none of them a control character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Trait → −1..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<BTreeMap<String, f32>>,
}

/// S `npc.joined`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcJoined {
    pub npc: NpcInfo,
    pub chain: ChainInfo,
}

/// Who an NPC is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcInfo {
    pub id: String,
    pub name: String,
    pub archetype: String,
    pub seed: u64,
}

/// What an NPC's answers are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainInfo {
    pub archetype: String,
    /// No adapter of the archetype is in use: the base model speaks.
    pub generic: bool,
    /// Task → its adapter; tasks without one are absent.
    pub tasks: BTreeMap<String, ChainTask>,
}

/// The adapter of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainTask {
    pub adapter: String,
    pub version: String,
}

/// C `npc.focus`: the player approaches an NPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NpcFocus {
    pub npc: String,
}

/// S `npc.warm`: what the next line's prompt begins with is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NpcWarm {
    pub npc: String,
    /// Tokens that the next line need not compute.
    pub tokens: u32,
    /// Milliseconds that it took.
    pub ms: u64,
}

/// C `npc.leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NpcLeave {
    pub npc: String,
}

/// S `npc.left`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NpcLeft {
    pub npc: String,
}
