//! The journal: every interaction on the local disk before anybody is told that it is over.
//!
//! One thread writes, and gathers what waits into one transaction and one sync. Other threads read. Without an archive
//! beside it the journal is the archive; with one, rows leave for it, and their keys stay.

mod amendments;
mod erase;
mod error;
mod leaving;
mod npcs;
mod offline;
mod places;
mod queries;
mod reader;
mod row;
mod schema;
mod store;
mod tender;
#[cfg(test)]
mod tests;
mod watch;
mod write;
mod writer;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

pub use erase::Erased;
pub use error::JournalError;
pub(super) use leaving::{Amended, Archived, Leaving};
pub use offline::{Intake, Snapshot};
pub use watch::JournalSize;

use self::amendments::Amendments;
use self::npcs::NpcRow;
use self::reader::Reader;
use self::row::Entry;
use self::store::Store;
use self::tender::{Never, Tender};
use self::watch::{moment_ms, now_ms};
use self::write::{Done, Written};
use self::writer::{Erase, Order, Put, Writer};
use super::known::Known;
use super::npc::NpcRecord;
use super::record::{Heard, IdempotencyKey, Record};
use crate::config;
use crate::metrics::JournalMetrics;

/// The database, in the data folder.
const FILE: &str = "journal.sqlite";
/// Held for as long as the server runs: two would not know of each other's turns.
const LOCK: &str = "journal.lock";
/// How long a server that was killed may still hold it, and how often it is looked: a process that it was just starting has what
/// it held, until that becomes another program.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// Orders besides the records, for which the queue has room too.
const OTHER_ORDERS: usize = 16;

/// What the threads share.
#[derive(Debug)]
struct Shared {
    writable: AtomicBool,
    amendments: Amendments,
    /// Transactions, and the records in them.
    commits: AtomicU64,
    records: AtomicU64,
    /// Rows that the archive does not have, if there is one, and what tells it that there are new ones.
    waiting: AtomicU64,
    filled: Notify,
    /// Something is to change of rows that have left.
    amended: AtomicBool,
    /// NPCs have, of which the archive is to know.
    npcs_changed: AtomicBool,
    /// When the oldest row came that the archive does not have, in milliseconds since 1970; 0: there is none, or it is not
    /// known.
    oldest_ms: AtomicU64,
    metrics: Arc<JournalMetrics>,
}

impl Shared {
    fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// Returns what it was.
    fn set_writable(&self, writable: bool) -> bool {
        self.writable.swap(writable, Ordering::AcqRel)
    }

    fn count(&self, done: &Done) {
        let records = done.written.iter().filter(|written| **written == Written::New).count() as u64;
        if records > 0 {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.records.fetch_add(records, Ordering::Relaxed);
            if self.waiting.fetch_add(records, Ordering::AcqRel) == 0 {
                self.oldest_ms.store(now_ms(), Ordering::Release);
            }
        }
        self.gone(done.left);
        if done.amended {
            self.amended.store(true, Ordering::Release);
        }
        if records > 0 || done.amended {
            self.filled.notify_one();
        }
    }

    /// So many rows are not here any more.
    fn gone(&self, rows: usize) {
        // Without an archive nobody counts those that were here before.
        let less = |waiting: u64| Some(waiting.saturating_sub(rows as u64));
        let _ = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

/// Where what was asked for is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    Here(Box<Record>),
    /// In the archive; `heard`: what that does not know yet.
    Left {
        id: Uuid,
        heard: Option<Heard>,
    },
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalStats {
    pub commits: u64,
    pub records: u64,
}

/// See the module's documentation.
pub struct Journal {
    orders: Sender<Order>,
    room: Arc<Semaphore>,
    queue: usize,
    patience_ms: u64,
    shared: Arc<Shared>,
    known: Arc<Known>,
    identity: Uuid,
    path: PathBuf,
    reader: Mutex<Option<Arc<Reader>>>,
    /// Dropped when it is closed.
    open: Mutex<Option<Sender<Never>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: File,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal of a data folder, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Open`], [`JournalError::InUse`].
    pub fn open(data: &Path, config: &config::History) -> Result<Self, JournalError> {
        let lock = lock(data)?;
        let path = data.join(FILE);
        let mut store = Store::writer(&path, config.max_mb)?;
        let has_archive = !config.postgres_url.is_empty();
        let waiting = if has_archive { store.count()? } else { 0 };
        let oldest = if has_archive { store.oldest()? } else { None };
        let identity = store.identity()?;
        // Found now and not at the first turn.
        let writable = store.probe();
        if let Err(error) = &writable {
            tracing::error!(path = %path.display(), %error, "turns are refused until the journal can be written");
        }
        let shared = Arc::new(Shared {
            writable: AtomicBool::new(writable.is_ok()),
            amendments: Amendments::default(),
            commits: AtomicU64::new(0),
            records: AtomicU64::new(0),
            waiting: AtomicU64::new(waiting),
            filled: Notify::new(),
            amended: AtomicBool::new(true),
            npcs_changed: AtomicBool::new(true),
            oldest_ms: AtomicU64::new(oldest.map_or(0, moment_ms)),
            metrics: Arc::default(),
        });
        let known = Arc::new(Known::default());
        let (reader, mut threads) = Reader::start(&path, &shared.metrics)?;
        let (orders, ordered) = bounded(config.queue + OTHER_ORDERS);
        let writer = Writer {
            path: path.clone(),
            store,
            identity: writer::identity(&path),
            max_mb: config.max_mb,
            batch: config.batch,
            has_archive,
            orders: ordered,
            shared: Arc::clone(&shared),
        };
        threads.push(thread("journal-write", &path, move || writer.run())?);
        let (open, closed) = bounded(0);
        let tender =
            Tender { path: path.clone(), known: Arc::clone(&known), shared: Arc::clone(&shared), closed };
        threads.push(thread("journal-tend", &path, move || tender.run())?);
        Ok(Self {
            orders,
            room: Arc::new(Semaphore::new(config.queue)),
            queue: config.queue,
            patience_ms: config.write_timeout_ms,
            shared,
            known,
            identity,
            path,
            reader: Mutex::new(Some(Arc::new(reader))),
            open: Mutex::new(Some(open)),
            threads: Mutex::new(threads),
            _lock: lock,
        })
    }

    /// Migrates the journal of a data folder, up or so many down, and says what was done. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Open`], [`JournalError::InUse`].
    pub(super) fn migrate(data: &Path, down: Option<usize>) -> Result<Vec<String>, JournalError> {
        let _lock = lock(data)?;
        Store::migrate(&data.join(FILE), down)
    }

    /// Whether records can be written, as far as is known.
    pub fn is_writable(&self) -> bool {
        self.shared.is_writable()
    }

    /// What may be stored.
    pub fn known(&self) -> &Known {
        &self.known
    }

    pub fn stats(&self) -> JournalStats {
        JournalStats {
            commits: self.shared.commits.load(Ordering::Relaxed),
            records: self.shared.records.load(Ordering::Relaxed),
        }
    }

    /// Writes a record; when this returns it is on the disk. If it fails the record is not stored, but for
    /// [`JournalError::Late`], after which it may be.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn put(&self, record: &Record) -> Result<(), JournalError> {
        let row = Entry::new(record)?;
        self.known.add_turn(&record.key());
        self.known.add_conversation(&record.npc, &record.player);
        for (npc, player) in row.conversations() {
            self.known.add_conversation(npc, player);
        }
        let began = Instant::now();
        self.order(|done, place| Order::Put(Box::new(Put { row, done, _place: place }))).await?;
        self.shared.metrics.put.observe(began.elapsed());
        Ok(())
    }

    /// Writes an NPC over what is stored of it; when this returns it is on the disk.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_npc(&self, npc: &NpcRecord) -> Result<(), JournalError> {
        let row = NpcRow::new(npc)?;
        self.order(|done, place| Order::PutNpc(Box::new(Put { row, done, _place: place }))).await
    }

    /// The NPC with this id.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn npc(&self, id: &str) -> Result<Option<NpcRecord>, JournalError> {
        let id = id.to_owned();
        self.reader()?.ask(move |store| store.npc(&id)).await
    }

    /// Takes a player out: nothing is stored any more that began before this id, the player's records are deleted, and
    /// the name is taken out of those of others. When this returns it is done, on the disk and in the log.
    ///
    /// # Errors
    /// [`JournalError`]: it may have been done in part, and is to be asked for again.
    pub async fn erase(&self, player: &str, before: Uuid) -> Result<Erased, JournalError> {
        let (done, answer) = oneshot::channel();
        let order = Order::Erase(Erase { player: player.to_owned(), before, done });
        self.orders.try_send(order).map_err(|error| self.refused(error.is_full()))?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Has something written, and waits for it.
    async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), JournalError>>, OwnedSemaphorePermit) -> Order,
    ) -> Result<(), JournalError> {
        let written = async {
            let place = Arc::clone(&self.room).acquire_owned().await.map_err(|_| JournalError::Closed)?;
            let (done, answer) = oneshot::channel();
            // Who has a place finds room in the queue.
            self.orders.try_send(order(done, place)).map_err(|error| self.refused(error.is_full()))?;
            answer.await.unwrap_or(Err(JournalError::Closed))
        };
        let patience = Duration::from_millis(self.patience_ms);
        tokio::time::timeout(patience, written).await.unwrap_or_else(|_| {
            // Until a write returns, nothing more is let in to wait.
            self.shared.set_writable(false);
            Err(JournalError::Late(self.patience_ms))
        })
    }

    fn refused(&self, is_full: bool) -> JournalError {
        if is_full { JournalError::Busy(self.queue) } else { JournalError::Closed }
    }

    /// Changes what was heard of a stored record: soon, and nobody waits for it. `heard` is what holds when it is
    /// asked.
    pub fn amend(&self, id: Uuid, heard: impl FnOnce() -> Heard) {
        if self.shared.amendments.add(id, heard) {
            // Fails if the queue is full, and then the writer comes by in any case, or if the journal is closed.
            let _ = self.orders.try_send(Order::Amend);
        }
    }

    /// What is stored under this key, and where.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(super) async fn find(&self, key: IdempotencyKey) -> Result<Option<Found>, JournalError> {
        self.reader()?.ask(move |store| store.find(&key)).await
    }

    /// The last lines of a conversation that are here, newest first.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn conversation(
        &self,
        npc: &str,
        player: &str,
        limit: usize,
    ) -> Result<Vec<Record>, JournalError> {
        let (npc, player) = (npc.to_owned(), player.to_owned());
        self.reader()?.ask(move |store| store.conversation(&npc, &player, limit as i64)).await
    }

    /// The last records of other conversations that an NPC knows and that concern a player, newest first, and the ids of
    /// those that have left the journal. Without a player: what happened in the world.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn known_to(
        &self,
        npc: &str,
        player: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Record>, Vec<Uuid>), JournalError> {
        let (npc, player) = (npc.to_owned(), player.map(str::to_owned));
        self.reader()?.ask(move |store| store.known_to(&npc, player.as_deref(), limit as i64)).await
    }

    /// Whose history this is, in stores that others use too.
    pub fn identity(&self) -> Uuid {
        self.identity
    }

    /// What happened with an NPC and is here, newest first; `before`: what is older than this record.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn page(
        &self,
        npc: &str,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Record>, JournalError> {
        let npc = npc.to_owned();
        self.reader()?.ask(move |store| store.page(&npc, before, limit as i64)).await
    }

    fn reader(&self) -> Result<Arc<Reader>, JournalError> {
        self.reader.lock().clone().ok_or(JournalError::Closed)
    }

    /// Writes what waits and ends the threads. Blocks. What comes later is refused.
    pub fn close(&self) {
        drop(self.open.lock().take());
        drop(self.reader.lock().take());
        // Fails if it was closed before.
        let _ = self.orders.send(Order::Stop);
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal panicked");
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes the folder and takes it for this process.
fn lock(data: &Path) -> Result<File, JournalError> {
    let path = data.join(LOCK);
    let open = |error: std::io::Error| JournalError::Open { path: path.clone(), reason: error.to_string() };
    let missing: Vec<_> = data.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(data).map_err(open)?;
    for folder in missing {
        // A new folder is there after a crash only if the one that it lies in was synced.
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(open)?;
    }
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(open)?;
    let mut left = LOCK_PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if left.is_zero() => {
                return Err(JournalError::InUse(data.to_owned()));
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(LOCK_RETRY);
                left = left.saturating_sub(LOCK_RETRY);
            }
            Err(TryLockError::Error(error)) => return Err(open(error)),
        }
    }
}

fn thread(
    name: &str,
    path: &Path,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, JournalError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| JournalError::Open { path: path.to_owned(), reason: error.to_string() })
}
