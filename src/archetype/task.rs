use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What one adapter of an archetype's chain is trained for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// How it behaves.
    Personality,
    /// How it speaks.
    DialogueStyle,
    /// What it does.
    ActionPolicy,
    /// What it feels.
    EmotionalResponse,
    /// Lore.
    WorldKnowledge,
    /// Relationships.
    SocialDynamics,
    /// Plans.
    GoalPrioritization,
}

impl Task {
    /// All tasks, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Personality,
        Self::DialogueStyle,
        Self::ActionPolicy,
        Self::EmotionalResponse,
        Self::WorldKnowledge,
        Self::SocialDynamics,
        Self::GoalPrioritization,
    ];

    /// The tasks whose adapters make up a spoken line; the others are asked for choices, and join a line only
    /// where its request names them.
    pub const SPOKEN: [Self; 3] = [Self::DialogueStyle, Self::Personality, Self::WorldKnowledge];

    /// The name in files and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Personality => "personality",
            Self::DialogueStyle => "dialogue_style",
            Self::ActionPolicy => "action_policy",
            Self::EmotionalResponse => "emotional_response",
            Self::WorldKnowledge => "world_knowledge",
            Self::SocialDynamics => "social_dynamics",
            Self::GoalPrioritization => "goal_prioritization",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`Task`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no task of that name; the tasks are personality, dialogue_style, action_policy, \
     emotional_response, world_knowledge, social_dynamics and goal_prioritization"
)]
pub struct UnknownTask;

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(name: &str) -> Result<Self, UnknownTask> {
        Self::ALL.into_iter().find(|task| task.name() == name).ok_or(UnknownTask)
    }
}
