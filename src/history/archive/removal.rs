//! Rows that Postgres has, on their way out of the journal: beside the next rows' way in, for the journal's disk takes its
//! time.

use std::sync::Arc;

use tokio::task::JoinHandle;
use uuid::Uuid;

use super::ArchiveError;
use crate::history::journal::{Archived, Journal, JournalError};

/// Rows that wait to be removed while others are being removed.
const MAX_WAITING: usize = 5000;

/// See the module's documentation.
pub(super) struct Removal {
    journal: Arc<Journal>,
    /// Each with its revision.
    waiting: Vec<(Uuid, i64)>,
    running: Option<JoinHandle<Result<(), JournalError>>>,
}

impl Removal {
    pub fn new(journal: Arc<Journal>) -> Self {
        Self { journal, waiting: Vec::new(), running: None }
    }

    /// Has rows removed soon.
    pub async fn add(&mut self, rows: Vec<(Uuid, i64)>) -> Result<(), ArchiveError> {
        self.waiting.extend(rows);
        let busy = self.running.as_ref().is_some_and(|running| !running.is_finished());
        if busy && self.waiting.len() < MAX_WAITING {
            return Ok(());
        }
        self.settle().await?;
        self.start();
        Ok(())
    }

    /// Waits until all are gone.
    pub async fn finish(&mut self) -> Result<(), ArchiveError> {
        self.settle().await?;
        self.start();
        self.settle().await
    }

    fn start(&mut self) {
        if !self.waiting.is_empty() {
            let archived = Archived { rows: std::mem::take(&mut self.waiting), ..Archived::default() };
            let journal = Arc::clone(&self.journal);
            self.running = Some(tokio::spawn(async move { journal.archived(archived).await }));
        }
    }

    async fn settle(&mut self) -> Result<(), ArchiveError> {
        let Some(running) = self.running.take() else { return Ok(()) };
        // It does not panic, and is aborted only with the runtime.
        Ok(running.await.unwrap_or(Err(JournalError::Closed))?)
    }
}
