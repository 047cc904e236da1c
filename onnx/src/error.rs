use std::path::{Path, PathBuf};

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

/// Why a part of a checkpoint was refused, before it is known which file it came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Invalid(String),
    Unsupported(String),
}

impl Refusal {
    pub(crate) fn invalid<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Invalid(reason.into()))
    }

    pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Unsupported(reason.into()))
    }

    /// Says which file it was.
    pub(crate) fn of(self, path: &Path) -> ImportError {
        let path = path.to_owned();
        match self {
            Self::Invalid(reason) => ImportError::Invalid { path, reason },
            Self::Unsupported(reason) => ImportError::Unsupported { path, reason },
        }
    }
}
