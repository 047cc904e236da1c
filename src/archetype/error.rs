use std::path::{Path, PathBuf};

/// What is wrong with a pack: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PackError {
    /// The file or folder.
    pub path: PathBuf,
    /// The key in that file, for example `speech[2]`.
    pub key: Option<String>,
    pub reason: String,
}

impl PackError {
    pub(super) fn new(path: &Path, reason: String) -> Self {
        Self { path: path.to_owned(), key: None, reason }
    }

    pub(super) fn at(path: &Path, key: impl Into<String>, reason: String) -> Self {
        Self { path: path.to_owned(), key: Some(key.into()), reason }
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::new(path, error.to_string())
    }
}

impl std::fmt::Display for PackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.reason)
    }
}
