use std::path::PathBuf;

use crate::history::record::RecordError;
use crate::history::warm::WarmError;

/// Why the journal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("{path}: {reason}")]
    Open { path: PathBuf, reason: String },
    #[error("{0} is in use by another server")]
    InUse(PathBuf),
    #[error("the journal cannot be written: {0}")]
    Write(String),
    #[error("the journal cannot be read: {0}")]
    Read(String),
    /// What was to be written may be written yet.
    #[error("the journal has not answered within {0} ms")]
    Late(u64),
    #[error("{0} requests wait for the journal, as many as may")]
    Busy(usize),
    /// A turn with this key is stored already, under another id.
    #[error("this turn is stored already")]
    Stored,
    /// The player was erased after this began.
    #[error("this player was erased")]
    Erased,
    /// Of the warm tier, where something was to be done in all of them.
    #[error(transparent)]
    Warm(#[from] WarmError),
    #[error("the journal is closed")]
    Closed,
    #[error(transparent)]
    Record(#[from] RecordError),
}
