//! The thread that writes: whatever waits is written together and synced once.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::store::{Row, Store};
use super::{JournalError, Shared};

/// How often it is tried whether a journal that failed can be written again.
const RETRY: Duration = Duration::from_millis(500);

/// What the thread is told.
pub(super) enum Order {
    Put(Box<Put>),
    /// There are amendments.
    Amend,
    Stop,
}

/// A record to be written.
pub(super) struct Put {
    pub row: Row,
    pub done: oneshot::Sender<Result<(), JournalError>>,
    /// Its place among those that wait.
    pub _place: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    pub path: PathBuf,
    pub store: Store,
    /// Of the store's file.
    pub identity: Option<Identity>,
    pub max_mb: u64,
    /// Records in one transaction.
    pub batch: usize,
    pub orders: Receiver<Order>,
    pub shared: Arc<Shared>,
}

/// Device and inode. SQLite goes on writing into a file that was removed.
type Identity = (u64, u64);

pub(super) fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Writer {
    pub fn run(mut self) {
        let mut puts: Vec<Put> = Vec::with_capacity(self.batch);
        loop {
            // What failed is tried again by itself.
            let order = if self.shared.is_writable() && self.shared.amendments.is_empty() {
                self.orders.recv().map_err(RecvTimeoutError::from)
            } else {
                self.orders.recv_timeout(RETRY)
            };
            let mut stopping = matches!(order, Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected));
            if let Ok(Order::Put(put)) = order {
                puts.push(*put);
            }
            while !stopping
                && puts.len() < self.batch
                && let Ok(order) = self.orders.try_recv()
            {
                match order {
                    Order::Put(put) => puts.push(*put),
                    Order::Amend => {}
                    Order::Stop => stopping = true,
                }
            }
            self.write(&mut puts);
            if stopping {
                return;
            }
        }
    }

    fn write(&mut self, puts: &mut Vec<Put>) {
        let amendments = self.shared.amendments.take();
        let healthy = self.shared.is_writable();
        let prepared = if healthy { self.check() } else { self.reopen() };
        if let Err(error) = prepared {
            self.failed(&error, puts);
            self.shared.amendments.put_back(amendments);
            return;
        }
        let rows: Vec<&Row> = puts.iter().map(|put| &put.row).collect();
        let written = if rows.is_empty() && amendments.is_empty() {
            Ok(Vec::new())
        } else {
            self.store.write(&rows, &amendments)
        };
        match written {
            Ok(new) => {
                if !healthy {
                    tracing::info!(path = %self.path.display(), "the journal can be written again");
                }
                self.shared.set_writable(true);
                self.shared.count(new.len());
                for (put, new) in puts.drain(..).zip(new) {
                    // Fails if nobody waits any more.
                    let _ = put.done.send(if new { Ok(()) } else { Err(JournalError::Stored) });
                }
            }
            Err(error) => {
                self.failed(&error, puts);
                self.shared.amendments.put_back(amendments);
            }
        }
    }

    fn failed(&self, error: &JournalError, puts: &mut Vec<Put>) {
        if self.shared.set_writable(false) {
            tracing::error!(path = %self.path.display(), %error, "turns are refused until the journal can be written");
        }
        for put in puts.drain(..) {
            let _ = put.done.send(Err(error.clone()));
        }
    }

    /// Whether what is written goes to where it will be found.
    fn check(&self) -> Result<(), JournalError> {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            Ok(())
        } else {
            Err(self.gone())
        }
    }

    fn gone(&self) -> JournalError {
        JournalError::Open {
            path: self.path.clone(),
            reason: "it is gone; start the server again".to_owned(),
        }
    }

    /// What failed may be the connection's own state.
    fn reopen(&mut self) -> Result<(), JournalError> {
        if !self.path.exists() {
            // A new file would be a journal that has forgotten everything.
            return Err(self.gone());
        }
        self.store = Store::writer(&self.path, self.max_mb)?;
        self.identity = identity(&self.path);
        self.store.probe()
    }
}
