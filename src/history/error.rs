use uuid::Uuid;

use super::{ArchiveError, JournalError, WarmError};

/// Why a history cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Warm(#[from] WarmError),
    /// Everything that was computed for a player is to go.
    #[error("the engine cannot forget what it has computed: {0}")]
    Engine(String),
    /// There was an archive once.
    #[error("interaction {0} is in Postgres, and history.postgres_url names none")]
    Elsewhere(Uuid),
    #[error("interaction {0} was archived, and is not in the archive any more")]
    Lost(Uuid),
}
