use super::state::StateError;
use crate::archetype::{PackError, Task};
use crate::engine::EngineError;
use crate::face::{LookError, TableError};

/// Why an archetype's chain is not as somebody wants it.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("there is no pack for archetype {archetype:?}")]
    UnknownArchetype { archetype: String },
    #[error("{id:?} is no adapter: wanted is ARCHETYPE.TASK, for example \"vampire.dialogue_style\"")]
    UnknownAdapter { id: String },
    #[error(
        "the {task} adapter of {archetype:?} has no version v{version} that is complete; it has: {there}"
    )]
    UnknownVersion { archetype: String, task: Task, version: u32, there: String },
    #[error("pack.toml of {archetype:?} pins the {task} adapter to v{version}")]
    Pinned { archetype: String, task: Task, version: u32 },
    #[error("the {task} adapter of {archetype:?} has no version before this one")]
    NothingBefore { archetype: String, task: Task },
    #[error("{key} is worse than no adapter on lines that it was not trained on: {reason}")]
    Worse { key: String, reason: String },
    #[error("{key} cannot be used: {reason}")]
    Bad { key: String, reason: String },
    #[error(
        "the adapters of a line of {archetype:?} would take {bytes} bytes together, but \
         engine.adapter_memory_mb allows {memory}"
    )]
    TooLarge { archetype: String, bytes: usize, memory: usize },
    #[error("a script answers in the model's place (engine.kind), and adapters take no part in it")]
    Scripted,
    /// A pack that was dropped into the folder and cannot be used.
    #[error("pack {archetype:?} cannot be used: {error}")]
    Pack { archetype: String, error: PackError },
    #[error("pack {archetype:?} cannot be used: {error}")]
    Look { archetype: String, error: LookError },
    #[error("there are {limit} packs already, as many as there may be")]
    TooManyPacks { limit: usize },
    #[error(transparent)]
    Packs(#[from] PackError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("what is promoted cannot be kept: {0}")]
    State(#[from] StateError),
    #[error(transparent)]
    Engine(EngineError),
    #[error("a part of it stopped: {0}")]
    Stopped(String),
}

impl From<tokio::task::JoinError> for ChainError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Stopped(error.to_string())
    }
}
