use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Relationship;
#[cfg(test)]
use crate::wire::schema;

/// C `npc.join`: the player meets an NPC, which is made if it is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcJoin {
    /// 1–64 of `A-Za-z0-9_.:-`.
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    /// 1–32 of `a-z0-9_-`; needed when the NPC is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::archetype"))]
    pub archetype: Option<String>,
    /// 1–64 characters, none of them a control character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::plain_name"))]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Trait → −1..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::traits"))]
    pub personality: Option<BTreeMap<String, f32>>,
}

/// S `npc.joined`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(description = "An NPC, as players are told of it.")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcInfo {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub id: String,
    pub name: String,
    pub archetype: String,
    pub seed: u64,
    /// Trait → −1..1, 50 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::personality"))]
    pub personality: Option<BTreeMap<String, f32>>,
    /// What the NPC looks like; what the keys are is the pack's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goals: Option<Vec<GoalInfo>>,
}

/// Something that an NPC wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GoalInfo {
    pub id: String,
    pub text: String,
    /// 0..1.
    #[cfg_attr(test, schemars(schema_with = "schema::unit"))]
    pub priority: f32,
}

/// How the bytes `w` of a `face.key` are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaceInfo {
    /// `arkit52`.
    #[cfg_attr(test, schemars(schema_with = "schema::rig"))]
    pub rig: String,
    /// Names of the blendshapes, 52 of them.
    #[cfg_attr(test, schemars(schema_with = "schema::shapes"))]
    pub shapes: Vec<String>,
}

/// What an NPC's answers are made with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChainInfo {
    pub archetype: String,
    /// No adapter of the archetype is in use: the base model speaks.
    pub generic: bool,
    /// Task → its adapter; tasks without one are absent.
    #[cfg_attr(test, schemars(schema_with = "schema::chain_tasks"))]
    pub tasks: BTreeMap<String, ChainTask>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ChainServices>,
}

/// What runs elsewhere for this NPC.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChainServices {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<ServiceInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facial: Option<ServiceInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<ServiceInfo>,
}

/// A service that the client may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceInfo {
    pub url: String,
    /// What to call it with; what the keys are is the service's to say.
    pub parameters: BTreeMap<String, serde_json::Value>,
}

/// The adapter of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChainTask {
    pub adapter: String,
    pub version: String,
}

/// C `npc.focus`: the player approaches an NPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcFocus {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
}

/// S `npc.warm`: what the next line's prompt begins with is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcWarm {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    /// Tokens that the next line need not compute.
    pub tokens: u32,
    /// Milliseconds that it took.
    pub ms: u64,
}

/// C `npc.leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcLeave {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
}

/// S `npc.left`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcLeft {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
}
