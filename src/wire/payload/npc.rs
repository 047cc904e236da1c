use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Relationship;

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
    /// What the NPC thinks of the player who joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relationship: Option<Relationship>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face: Option<FaceInfo>,
    pub chain: ChainInfo,
}

/// Who an NPC is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NpcInfo {
    pub id: String,
    pub name: String,
    pub archetype: String,
    pub seed: u64,
    /// Trait → −1..1, 50 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<BTreeMap<String, f32>>,
    /// What the NPC looks like; what the keys are is the pack's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goals: Option<Vec<GoalInfo>>,
}

/// Something that an NPC wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoalInfo {
    pub id: String,
    pub text: String,
    /// 0..1.
    pub priority: f32,
}

/// How the bytes `w` of a `face.key` are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaceInfo {
    /// `arkit52`.
    pub rig: String,
    /// Names of the blendshapes, 52 of them.
    pub shapes: Vec<String>,
}

/// What an NPC's answers are made with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChainInfo {
    pub archetype: String,
    /// No adapter of the archetype is in use: the base model speaks.
    pub generic: bool,
    /// Task → its adapter; tasks without one are absent.
    pub tasks: BTreeMap<String, ChainTask>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ChainServices>,
}

/// What runs elsewhere for this NPC.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChainServices {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<ServiceInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facial: Option<ServiceInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<ServiceInfo>,
}

/// A service that the client may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceInfo {
    pub url: String,
    /// What to call it with; what the keys are is the service's to say.
    pub parameters: BTreeMap<String, serde_json::Value>,
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
