//! What a turn does besides speaking: feelings, the face, actions, relationships and goals. All of it lies on
//! the turn's clock (`t_ms`) and beside its text (`text_offset`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

#[cfg(test)]
use crate::wire::schema;

/// Blendshapes of the rig `arkit52`.
pub const FACE_SHAPES: usize = 52;

/// S `emotion`: what the NPC feels from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Emotion {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    /// The likeliest of `probs`.
    pub label: EmotionLabel,
    /// 0..1.
    #[cfg_attr(test, schemars(schema_with = "schema::unit"))]
    pub intensity: f32,
    /// Label → probability.
    #[cfg_attr(test, schemars(schema_with = "schema::emotions"))]
    pub probs: BTreeMap<EmotionLabel, f32>,
    pub text_offset: u64,
    pub t_ms: u64,
}

/// What an NPC may feel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EmotionLabel {
    Neutral,
    Joy,
    Sadness,
    Anger,
    Fear,
    Disgust,
    Surprise,
    Contempt,
}

impl EmotionLabel {
    /// All of them, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Neutral,
        Self::Joy,
        Self::Sadness,
        Self::Anger,
        Self::Fear,
        Self::Disgust,
        Self::Surprise,
        Self::Contempt,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Neutral => "neutral",
            Self::Joy => "joy",
            Self::Sadness => "sadness",
            Self::Anger => "anger",
            Self::Fear => "fear",
            Self::Disgust => "disgust",
            Self::Surprise => "surprise",
            Self::Contempt => "contempt",
        }
    }
}

/// S `face.key`: a key frame of the face.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaceKey {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    pub text_offset: u64,
    pub t_ms: u64,
    /// How long the face takes to get there.
    pub ease_ms: u64,
    /// FACS action unit (`AU12`; one side: `AU14L`) → 0..1. Those that are absent are 0.
    #[cfg_attr(test, schemars(schema_with = "schema::action_units"))]
    pub au: BTreeMap<String, f32>,
    /// One weight (0: none, 255: full) for each of the `shapes` of `npc.joined`, in their order.
    #[cfg_attr(test, schemars(schema_with = "schema::blob"))]
    pub w: ByteArray<FACE_SHAPES>,
}

/// S `action.proposed`: what the NPC decides to do, one of the actions that the client offered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActionProposed {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    /// The server's id of this proposal.
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub action: String,
    /// One of the names offered.
    #[cfg_attr(test, schemars(schema_with = "schema::plain_name"))]
    pub name: String,
    /// 0..1.
    #[cfg_attr(test, schemars(schema_with = "schema::unit"))]
    pub p: f32,
    pub text_offset: u64,
    pub t_ms: u64,
}

/// S `social`: how the NPC's relationship with the player shifts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Social {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    /// Axis → change, −2..2; axes that stay are absent.
    #[cfg_attr(test, schemars(schema_with = "schema::shifts"))]
    pub delta: BTreeMap<Axis, f32>,
    /// After the change.
    pub relationship: Relationship,
    pub text_offset: u64,
    pub t_ms: u64,
}

/// One side of a relationship; its name is a key of `delta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    Trust,
    Respect,
    Familiarity,
    Fear,
    Affection,
}

/// What an NPC thinks of a player; each −1..1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Relationship {
    #[cfg_attr(test, schemars(schema_with = "schema::axis"))]
    pub trust: f32,
    #[cfg_attr(test, schemars(schema_with = "schema::axis"))]
    pub respect: f32,
    #[cfg_attr(test, schemars(schema_with = "schema::axis"))]
    pub familiarity: f32,
    #[cfg_attr(test, schemars(schema_with = "schema::axis"))]
    pub fear: f32,
    #[cfg_attr(test, schemars(schema_with = "schema::axis"))]
    pub affection: f32,
}

/// S `goal`: what the NPC wants now, the likeliest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Goal {
    #[cfg_attr(test, schemars(schema_with = "schema::short_id"))]
    pub turn: String,
    pub player: String,
    pub ranked: Vec<RankedGoal>,
    pub text_offset: u64,
    pub t_ms: u64,
}

/// One goal and how likely the NPC pursues it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RankedGoal {
    pub id: String,
    pub text: String,
    /// 0..1.
    #[cfg_attr(test, schemars(schema_with = "schema::unit"))]
    pub p: f32,
}
