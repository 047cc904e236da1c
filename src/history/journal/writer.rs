//! The thread that writes: whatever waits is written together and synced once.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::erase::Erased;
use super::leaving::Archived;
use super::npcs::NpcRow;
use super::row::Entry;
use super::store::Store;
use super::write::{Batch, Done, Written};
use super::{JournalError, Shared};

/// How often it is tried whether a journal that failed can be written again.
const RETRY: Duration = Duration::from_millis(500);
/// How often an erasure tries to empty the log, and the time between two tries: somebody else may be copying it, for which
/// SQLite does not wait.
const LOG_TRIES: u32 = 200;
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// What the thread is told.
pub(super) enum Order {
    Put(Box<Put<Entry>>),
    PutNpc(Box<Put<NpcRow>>),
    /// There are amendments.
    Amend,
    Archived(Box<Left>),
    Erase(Erase),
    Stop,
}

/// What the archive has, and who waits until that is noted.
pub(super) type Left = (Archived, oneshot::Sender<Result<(), JournalError>>);

/// Something to be written.
pub(super) struct Put<T> {
    pub row: T,
    pub done: oneshot::Sender<Result<(), JournalError>>,
    /// Its place among those that wait.
    pub _place: OwnedSemaphorePermit,
}

/// A player to be erased, with everything from before this id.
pub(super) struct Erase {
    pub player: String,
    pub before: Uuid,
    pub done: oneshot::Sender<Result<Erased, JournalError>>,
}

/// An erasure that has begun.
struct Erasing {
    order: Erase,
    erased: Erased,
    /// How often the log could not be emptied.
    tries: u32,
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    records: Vec<Put<Entry>>,
    npcs: Vec<Put<NpcRow>>,
    left: Vec<Left>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.records.len() + self.npcs.len()
    }

    fn fail(&mut self, error: &JournalError) {
        for put in self.records.drain(..) {
            // Fails if nobody waits any more; so below.
            let _ = put.done.send(Err(error.clone()));
        }
        for put in self.npcs.drain(..) {
            let _ = put.done.send(Err(error.clone()));
        }
        for (_, done) in self.left.drain(..) {
            let _ = done.send(Err(error.clone()));
        }
    }
}

pub(super) struct Writer {
    pub path: PathBuf,
    pub store: Store,
    /// Of the store's file.
    pub identity: Option<Identity>,
    pub max_mb: u64,
    /// Records in one transaction.
    pub batch: usize,
    /// Whether rows leave for an archive.
    pub has_archive: bool,
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
        let mut waiting = Waiting::default();
        let mut erasing: Vec<Erasing> = Vec::new();
        loop {
            // What failed is tried again by itself.
            let order = if erasing.first().is_some_and(|first| first.tries > 0) {
                self.orders.recv_timeout(LOG_PAUSE)
            } else if !erasing.is_empty() && self.shared.is_writable() {
                self.orders.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else if self.shared.is_writable() && self.shared.amendments.is_empty() {
                self.orders.recv().map_err(RecvTimeoutError::from)
            } else {
                self.orders.recv_timeout(RETRY)
            };
            let mut stopping = matches!(order, Err(RecvTimeoutError::Disconnected));
            let mut next = order.ok();
            while let Some(order) = next.take() {
                match order {
                    Order::Put(put) => waiting.records.push(*put),
                    Order::PutNpc(put) => waiting.npcs.push(*put),
                    Order::Amend => {}
                    Order::Archived(left) => waiting.left.push(*left),
                    Order::Erase(order) => {
                        erasing.push(Erasing { order, erased: Erased::default(), tries: 0 });
                    }
                    Order::Stop => stopping = true,
                }
                if !stopping && waiting.len() < self.batch {
                    next = self.orders.try_recv().ok();
                }
            }
            self.write(&mut waiting);
            if stopping {
                return;
            }
            if let Some(first) = erasing.first_mut()
                && let Some(result) = self.erase(first)
            {
                let done = erasing.swap_remove(0).order.done;
                // Fails if nobody waits any more.
                let _ = done.send(result);
            }
        }
    }

    fn write(&mut self, waiting: &mut Waiting) {
        let amendments = self.shared.amendments.take();
        let healthy = self.shared.is_writable();
        let prepared = if healthy { self.check() } else { self.reopen(waiting) };
        if let Err(error) = prepared {
            self.failed(&error);
            waiting.fail(&error);
            self.shared.amendments.put_back(amendments);
            return;
        }
        let batch = Batch {
            entries: waiting.records.iter().map(|put| &put.row).collect(),
            amendments: &amendments,
            npcs: waiting.npcs.iter().map(|put| &put.row).collect(),
            archived: waiting.left.iter().map(|(archived, _)| archived).collect(),
            has_archive: self.has_archive,
        };
        let done = if batch.is_empty() {
            Ok(Done::default())
        } else {
            let began = Instant::now();
            self.store.write(&batch).inspect(|_| self.shared.metrics.commit.observe(began.elapsed()))
        };
        match done {
            Ok(done) => {
                if !healthy {
                    tracing::info!(path = %self.path.display(), "the journal can be written again");
                }
                self.shared.set_writable(true);
                self.shared.count(&done);
                for (put, written) in waiting.records.drain(..).zip(done.written) {
                    let answer = match written {
                        Written::New => Ok(()),
                        Written::Known => Err(JournalError::Stored),
                        Written::Erased => Err(JournalError::Erased),
                    };
                    // Fails if nobody waits any more; so below.
                    let _ = put.done.send(answer);
                }
                if !waiting.npcs.is_empty() {
                    self.shared.npcs_changed.store(true, Ordering::Release);
                }
                for put in waiting.npcs.drain(..) {
                    let _ = put.done.send(Ok(()));
                }
                for (_, done) in waiting.left.drain(..) {
                    let _ = done.send(Ok(()));
                }
            }
            Err(error) => {
                self.failed(&error);
                waiting.fail(&error);
                self.shared.amendments.put_back(amendments);
            }
        }
    }

    /// Goes on with an erasure; `Some`: it is over.
    fn erase(&mut self, erasing: &mut Erasing) -> Option<Result<Erased, JournalError>> {
        let Erase { player, before, .. } = &erasing.order;
        let begins = erasing.erased.is_nothing() && erasing.tries == 0;
        let piece = if begins { self.store.bury(player, *before) } else { Ok(()) }
            .and_then(|()| self.store.erase(player, *before));
        match piece {
            Err(error) => Some(Err(error)),
            Ok(piece) if !piece.is_nothing() => {
                if piece.npcs > 0 {
                    self.shared.npcs_changed.store(true, Ordering::Release);
                }
                self.shared.gone(piece.interactions);
                erasing.erased.add(piece);
                None
            }
            Ok(_) => match self.store.empty_log() {
                Err(error) if erasing.tries >= LOG_TRIES => Some(Err(error)),
                Err(_) => {
                    erasing.tries += 1;
                    None
                }
                Ok(true) => Some(Ok(erasing.erased)),
                Ok(false) if erasing.tries < LOG_TRIES => {
                    erasing.tries += 1;
                    None
                }
                Ok(false) => Some(Err(JournalError::Write(
                    "what was erased may still stand in the write-ahead log, which others read".to_owned(),
                ))),
            },
        }
    }

    fn failed(&self, error: &JournalError) {
        self.shared.metrics.write_failures.inc();
        if self.shared.set_writable(false) {
            tracing::error!(path = %self.path.display(), %error, "turns are refused until the journal can be written");
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

    /// What failed may be the connection's own state. What the archive has makes room before room is asked for.
    fn reopen(&mut self, waiting: &mut Waiting) -> Result<(), JournalError> {
        if !self.path.exists() {
            // A new file would be a journal that has forgotten everything.
            return Err(self.gone());
        }
        self.store = Store::writer(&self.path, self.max_mb)?;
        self.identity = identity(&self.path);
        if !waiting.left.is_empty() {
            let archived = waiting.left.iter().map(|(archived, _)| archived).collect();
            let done = self.store.write(&Batch { archived, ..Batch::default() })?;
            self.shared.count(&done);
            for (_, done) in waiting.left.drain(..) {
                let _ = done.send(Ok(()));
            }
        }
        self.store.probe()
    }
}
