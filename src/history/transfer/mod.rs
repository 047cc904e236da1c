//! An NPC with its history as a file: JSON Lines, the NPC first, then what happened from the oldest on, and at the end
//! how many there are and a digest of everything before.

mod line;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;

use super::archive::ArchiveError;
use super::journal::JournalError;

pub use read::{Restored, restore};
pub use write::export;

/// Longest line that is read, in bytes: a record is some 100 KB at most.
const MAX_LINE: usize = 4 << 20;

/// Why an NPC could not be written to a file, or read from one.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("there is no npc {0:?}")]
    NoNpc(String),
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot be written: {0}")]
    Write(#[from] std::io::Error),
    #[error("{path}, line {line}: {reason}")]
    Line { path: PathBuf, line: usize, reason: String },
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("npc {npc:?} exists with another {field}")]
    Other { npc: String, field: &'static str },
}
