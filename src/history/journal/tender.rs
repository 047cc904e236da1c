//! The thread that looks after the journal: it reads once what is stored, so that it is known, and then keeps the
//! write-ahead log short.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::store::Store;
use super::{JournalError, Shared};
use crate::history::known::Known;

/// Keys read at once while what is stored becomes known.
const SCAN: i64 = 4096;
/// How often the log is copied.
const COPY: Duration = Duration::from_millis(500);

/// Nothing is ever sent: the channel's end is the message.
pub(super) enum Never {}

pub(super) struct Tender {
    pub path: PathBuf,
    pub known: Arc<Known>,
    pub shared: Arc<Shared>,
    pub closed: Receiver<Never>,
}

impl Tender {
    pub fn run(&self) {
        match self.read() {
            Ok(()) => self.known.complete(),
            Err(JournalError::Closed) => {}
            // Every turn is looked up then, which is slower and not wrong.
            Err(error) => tracing::error!(%error, "what the journal holds could not be read at once"),
        }
        match Store::copier(&self.path) {
            Ok(store) => self.copy(store),
            // The writer does it then.
            Err(error) => tracing::warn!(%error, "the journal's log is not copied in the background"),
        }
    }

    /// Copies the write-ahead log into the database from time to time, if there was something new.
    fn copy(&self, mut store: Store) {
        let mut copied = 0;
        while let Err(RecvTimeoutError::Timeout) = self.closed.recv_timeout(COPY) {
            let commits = self.shared.commits.load(Ordering::Relaxed);
            if commits == copied {
                continue;
            }
            match store.copy() {
                Ok(()) => copied = commits,
                // The writer meets the same disk, and tells.
                Err(error) => tracing::debug!(%error, "the journal's log could not be copied"),
            }
        }
    }

    fn read(&self) -> Result<(), JournalError> {
        let mut store = Store::reader(&self.path)?;
        let mut after = Vec::new();
        loop {
            let page = self.unless_closed(store.keys(&after, SCAN))?;
            let Some(last) = page.last() else { break };
            for key in &page {
                let key =
                    key.as_slice().try_into().map_err(|_| JournalError::Read("a key is too short".into()));
                self.known.add_turn(key?);
            }
            after.clone_from(last);
        }
        self.read_pairs(|after| store.conversations(after, SCAN))?;
        self.read_pairs(|after| store.places(after, SCAN))
    }

    fn read_pairs(
        &self,
        mut page: impl FnMut(&(String, String)) -> Result<Vec<(String, String)>, JournalError>,
    ) -> Result<(), JournalError> {
        let mut after = (String::new(), String::new());
        loop {
            let page = self.unless_closed(page(&after))?;
            let Some(last) = page.last() else { return Ok(()) };
            for (player, npc) in &page {
                self.known.add_conversation(npc, player);
            }
            after = last.clone();
        }
    }

    fn unless_closed<T>(&self, page: Result<T, JournalError>) -> Result<T, JournalError> {
        let closed = matches!(self.closed.try_recv(), Err(TryRecvError::Disconnected));
        if closed { Err(JournalError::Closed) } else { page }
    }
}
