use std::path::PathBuf;

use crate::history::journal::JournalError;
use crate::history::record::RecordError;

/// Why the archive cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Of `history.postgres_ca`.
    #[error("{path}: {reason}")]
    Ca { path: PathBuf, reason: String },
    #[error("{0}")]
    Url(String),
    #[error("Postgres cannot be reached: {0}")]
    Connect(String),
    #[error("Postgres has not answered within {0} ms")]
    Late(u64),
    /// Of the connection.
    #[error("the connection to Postgres has failed: {0}")]
    Broken(String),
    /// Of a statement.
    #[error("Postgres says: {0}")]
    Refused(String),
    #[error("another server drains into this database: {0}")]
    Held(String),
    #[error("the tables in Postgres could not be brought up to date: {0}")]
    Migrate(String),
    #[error("Postgres is away")]
    Away,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<diesel::result::Error> for ArchiveError {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
        match error {
            diesel::result::Error::DatabaseError(ClosedConnection | UnableToSendCommand, info) => {
                Self::Broken(info.message().to_owned())
            }
            diesel::result::Error::DatabaseError(_, info) => Self::Refused(info.message().to_owned()),
            error => Self::Broken(root(&error)),
        }
    }
}

/// The cause, down to its root: the outermost error says only what was tried.
pub(super) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
