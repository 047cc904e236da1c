//! The databases brought up to date, or back, while no server runs on them.

use std::path::Path;

use super::archive;
use super::{ArchiveError, Journal, JournalError};
use crate::config;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationsRun {
    /// The names of those that were run.
    Up(Vec<String>),
    /// The versions of those that were taken back.
    Down(Vec<String>),
}

impl MigrationsRun {
    fn new(down: Option<usize>, done: Vec<String>) -> Self {
        if down.is_some() { Self::Down(done) } else { Self::Up(done) }
    }
}

/// Migrates the journal of a data folder: up, or so many down. Blocks.
///
/// # Errors
/// [`JournalError`]: a server that runs keeps the folder for itself.
pub fn migrate_journal(data: &Path, down: Option<usize>) -> Result<MigrationsRun, JournalError> {
    Ok(MigrationsRun::new(down, Journal::migrate(data, down)?))
}

/// Migrates the archive: up, or so many down.
///
/// # Errors
/// [`ArchiveError`]: a server that runs keeps it for itself.
pub async fn migrate_postgres(
    settings: &config::History,
    down: Option<usize>,
) -> Result<MigrationsRun, ArchiveError> {
    Ok(MigrationsRun::new(down, archive::migrate(settings, down).await?))
}
