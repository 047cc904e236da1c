//! Why an archetype is not provisioned.

use super::state::State;

/// What whoever asked is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the built-in packs have no lines to train on: set packs.path to a folder of packs")]
    NoFolder,
    #[error("there is no pack for archetype {0:?}")]
    NoPack(String),
    #[error(
        "archetype {0:?} has nothing to train on: write lines for at least one task, whose version its pack does not settle, into \
         lines/TASK.jsonl in its pack"
    )]
    NoLines(String),
    #[error("archetype {archetype:?} is being provisioned already: it is {}", state.name())]
    Running { archetype: String, state: State },
    #[error("{0} archetypes wait to be provisioned, as many as provision.queue allows; try again later")]
    Full(usize),
    #[error("{0}")]
    Disk(String),
}
