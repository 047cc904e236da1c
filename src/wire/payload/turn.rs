use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::wire::schema;

/// C `say`: one line of the player.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Say"))]
pub struct SayFrame {
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    /// The client's id of the turn, 1–64 characters.
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    /// At most `max_text_chars` of `ready`'s `limits` (2000 unless the server is set otherwise); past it the answer
    /// is `text_too_long`.
    pub text: String,
    /// What the NPC may do: at most `max_actions` of `ready`'s `limits` (32 unless set otherwise), no two of one
    /// name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(schema_with = "schema::actions"))]
    pub actions: Vec<Action>,
    /// What is around, at most `max_context_chars` of `ready`'s `limits` (2000 unless set otherwise); past it the
    /// answer is `text_too_long`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationOptions>,
    /// Task → weight −2..2, over the defaults of the pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::mix"))]
    pub mix: Option<BTreeMap<String, f32>>,
    /// Players who hear the turn; absent: the speaker alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::audience"))]
    pub audience: Option<Vec<String>>,
}

/// How one line is generated; what is absent comes from the settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Generation"))]
pub struct GenerationOptions {
    /// 1–4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::max_tokens"))]
    pub max_tokens: Option<u32>,
    /// 0..2; 0 is greedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::temperature"))]
    pub temperature: Option<f32>,
    /// Above 0, at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::top_p"))]
    pub top_p: Option<f32>,
    /// At least 0, below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(schema_with = "schema::min_p"))]
    pub min_p: Option<f32>,
    /// Same seed, same line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Always the likeliest token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub greedy: bool,
    /// The line ends before the first of these; at most 8, each 1–64 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(schema_with = "schema::stop"))]
    pub stop: Vec<String>,
}

/// One thing that the NPC may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Action {
    /// 1–64 characters.
    #[cfg_attr(test, schemars(schema_with = "schema::plain_name"))]
    pub name: String,
    /// At most 256 characters.
    #[cfg_attr(test, schemars(schema_with = "schema::description"))]
    pub description: String,
}

/// S `turn.started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TurnStarted {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    /// Who spoke.
    pub player: String,
    /// What the player said.
    pub text: String,
    /// No adapter of the archetype takes part.
    pub generic: bool,
    /// Why it is answered with these adapters, or with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RouteReason>,
    pub adapters: Vec<AdapterUse>,
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
}

/// Why a turn is answered with the adapters that it is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteReason {
    /// They are those that were promoted for the archetype.
    Promoted,
    /// At least one of them is on trial for this NPC.
    Canary,
    /// None: the archetype has no adapters.
    NoChain,
    /// None: the archetype has adapters, but not for the tasks of this turn.
    NoAdapter,
    /// None: the weights leave all of them out.
    Weights,
    /// None: a scripted line is said instead of an answer.
    Fallback,
    /// None: the player's line is not answered.
    Blocked,
}

impl RouteReason {
    /// In the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Promoted,
        Self::Canary,
        Self::NoChain,
        Self::NoAdapter,
        Self::Weights,
        Self::Fallback,
        Self::Blocked,
    ];
}

/// One adapter of a turn's mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AdapterUse {
    pub id: String,
    #[cfg_attr(test, schemars(schema_with = "schema::task"))]
    pub task: String,
    pub version: String,
    pub weight: f32,
}

/// S `dialogue.delta`: more of the NPC's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DialogueDelta {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    pub text: String,
    /// Where this text starts, in Unicode scalar values from the start of the line.
    pub offset: u64,
    /// When to present it, from `turn.started`.
    pub t_ms: u64,
    pub tokens: u32,
}

/// [`DialogueDelta`] while it is written: there are many in a turn, and what they have in common is not copied for each.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DeltaRef<'a> {
    pub turn: &'a str,
    pub player: &'a str,
    pub text: &'a str,
    pub offset: u64,
    pub t_ms: u64,
    pub tokens: u32,
}

/// S `turn.done`: the last frame of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TurnDone {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    #[cfg_attr(test, schemars(schema_with = "schema::npc_id"))]
    pub npc: String,
    pub reason: DoneReason,
    /// The whole line.
    pub text: String,
    /// A scripted line of the pack stands in for the model's.
    pub fallback: bool,
    pub usage: UsageInfo,
    pub timing: TimingInfo,
    /// Id of the stored record, once it is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<String>,
}

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DoneReason {
    /// The model ended its line, or a stop text came.
    Stop,
    /// `max_tokens`, or the context is full.
    Length,
    Cancelled,
    Blocked,
    Error,
}

/// Tokens of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UsageInfo {
    pub prompt_tokens: u32,
    /// Prompt tokens that did not have to be computed again.
    pub cached_tokens: u32,
    pub generated_tokens: u32,
}

/// Times of a turn in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimingInfo {
    /// Waiting for a row.
    pub queue_ms: u64,
    /// From the arrival of the line to the first token.
    pub ttft_ms: u64,
    /// From the arrival of the line to its end.
    pub total_ms: u64,
}

/// C `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cancel {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    /// How much the player heard, in Unicode scalar values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_offset: Option<u64>,
}

/// S `turn.cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TurnCancelled {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    /// What stays of the turn.
    pub valid_through: ValidThrough,
    /// Ids of actions that are taken back.
    pub retracted: Vec<String>,
}

/// A point of a turn, in its text and in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValidThrough {
    pub text_offset: u64,
    pub t_ms: u64,
}

/// C `playback`: what the player heard so far. Not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Playback {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub heard_offset: u64,
}
