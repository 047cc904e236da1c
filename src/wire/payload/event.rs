//! What happens beside a player's line: the outcome of an action, things that an NPC sees, and what it does
//! on its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Action;
#[cfg(test)]
use crate::wire::schema;

/// C `action.result`: whether the game did what the NPC proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActionResult {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    /// The id of the `action.proposed`.
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub action: String,
    pub ok: bool,
    /// Why not, at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::description"))]
    pub reason: Option<String>,
}

/// C `event`: something that an NPC lives through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    /// The client's id of the event, 1–64 characters.
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub event: String,
    pub kind: EventKind,
    /// What happened, at most `max_text_chars` of `ready`'s `limits` (2000 unless the server is set otherwise).
    pub text: String,
    /// 0..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::importance"))]
    pub importance: Option<f32>,
    /// Who else was there: at most 64 ids, each 1–64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::audience"))]
    pub witnesses: Option<Vec<String>>,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Injury,
    Gift,
    Threat,
    Witness,
    Custom,
}

/// S `event.recorded`: it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventRecorded {
    /// The client's id of the event; absent when it answers an `action.result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub event: Option<String>,
    /// Id of the stored record.
    pub interaction: String,
}

/// C `npc.act`: asks what an NPC does on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcAct {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    /// The client's id of the act, 1–64 characters.
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub act: String,
    /// Names of tasks, each once.
    #[cfg_attr(test, schemars(schema_with = "schema::tasks"))]
    pub tasks: Vec<String>,
    /// What is around, at most `max_context_chars` of `ready`'s `limits` (2000 unless set otherwise).
    pub context: String,
    /// What the NPC may do: at most `max_actions` of `ready`'s `limits` (32 unless set otherwise), no two of one
    /// name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(schema_with = "schema::actions"))]
    pub actions: Vec<Action>,
}

/// S `npc.acted`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NpcActed {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub act: String,
    /// Task → what was chosen.
    #[cfg_attr(test, schemars(schema_with = "schema::results"))]
    pub results: BTreeMap<String, Choice>,
}

/// The answer of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Choice {
    /// The likeliest of `probs`.
    pub choice: String,
    /// Option → probability.
    #[cfg_attr(test, schemars(schema_with = "schema::probabilities"))]
    pub probs: BTreeMap<String, f32>,
}
