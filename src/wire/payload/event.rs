//! What happens beside a player's line: the outcome of an action, things that an NPC sees, and what it does
//! on its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Action;

/// C `action.result`: whether the game did what the NPC proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    pub turn: String,
    /// The id of the `action.proposed`.
    pub action: String,
    pub ok: bool,
    /// Why not, at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// C `event`: something that an NPC lives through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub npc: String,
    /// The client's id of the event, 1–64 characters.
    pub event: String,
    pub kind: EventKind,
    pub text: String,
    /// 0..1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f32>,
    /// Who else was there: at most 64 ids, each 1–64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Vec<String>>,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct EventRecorded {
    /// The client's id of the event; absent when it answers an `action.result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Id of the stored record.
    pub interaction: String,
}

/// C `npc.act`: asks what an NPC does on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcAct {
    pub npc: String,
    /// The client's id of the act, 1–64 characters.
    pub act: String,
    /// Names of tasks, each once.
    pub tasks: Vec<String>,
    /// What is around.
    pub context: String,
    /// What the NPC may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// S `npc.acted`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NpcActed {
    pub npc: String,
    pub act: String,
    /// Task → what was chosen.
    pub results: BTreeMap<String, Choice>,
}

/// The answer of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The likeliest of `probs`.
    pub choice: String,
    /// Option → probability.
    pub probs: BTreeMap<String, f32>,
}
