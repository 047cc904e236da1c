use std::path::PathBuf;

/// Why a checkpoint could not be imported, or a model folder not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// The file is damaged or no checkpoint.
    #[error("{path}: {reason}")]
    Invalid { path: PathBuf, reason: String },
    /// A sound checkpoint of a kind that this version cannot export.
    #[error("{path}: {reason}")]
    Unsupported { path: PathBuf, reason: String },
}
