//! What changes in NPCs goes to the store in the background: the newest state of each, however often it changed meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Npc;
use crate::history::{History, JournalError};

/// How long a change waits for others of the same NPC.
const GATHER: Duration = Duration::from_secs(1);
/// How often it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// NPCs that are written at the same time at most: turns need the journal too.
const WRITES: usize = 16;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Saver {
    history: Arc<History>,
    /// Read by who brings something to the store or from it, written by who erases a player.
    moving: Arc<RwLock<()>>,
    writes: Arc<Semaphore>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Saver {
    pub fn new(history: Arc<History>) -> Self {
        Self {
            history,
            moving: Arc::default(),
            writes: Arc::new(Semaphore::new(WRITES)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// While it is held nobody is erased.
    pub async fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.moving.read().await
    }

    /// While it is held nothing goes to the store or comes from it.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.moving.write().await
    }

    /// NPCs that are yet to be stored.
    pub fn waiting(&self) -> usize {
        self.tasks.len()
    }

    /// An NPC's mind has changed: it is stored soon. Must be called within a runtime.
    pub fn save(&self, npc: &Arc<Npc>) {
        // If not, whoever comes for the change before sees this one.
        if !npc.unsaved.swap(true, Ordering::AcqRel) {
            self.come_for(npc, GATHER);
        }
    }

    /// Stores an NPC in the background, until it is.
    fn come_for(&self, npc: &Arc<Npc>, after: Duration) {
        let npc = Arc::clone(npc);
        let (history, moving) = (Arc::clone(&self.history), Arc::clone(&self.moving));
        let (writes, closing) = (Arc::clone(&self.writes), self.closing.clone());
        self.tasks.spawn(async move {
            let _ = closing.run_until_cancelled(sleep(after)).await;
            while npc.unsaved.load(Ordering::Acquire) {
                // It fails when it is closed, which it is not.
                let place = writes.acquire().await;
                let still = moving.read().await;
                let written = write(&history, &npc).await;
                drop((still, place));
                let Err(error) = written else { continue };
                if closing.is_cancelled() {
                    tracing::error!(npc = npc.info.id, %error, "what became of an NPC is not stored");
                    break;
                }
                tracing::warn!(npc = npc.info.id, %error, "what became of an NPC is stored later");
                let _ = closing.run_until_cancelled(sleep(RETRY)).await;
            }
        });
    }

    /// The same at once; if it fails, or nobody waits until it is done, it is tried again in the background. `_still`: what
    /// [`Self::still`] gave.
    pub async fn save_now(&self, _still: &RwLockReadGuard<'_, ()>, npc: &Arc<Npc>) {
        let mut again = Again { saver: self, npc, armed: true };
        match write(&self.history, npc).await {
            Ok(()) => again.armed = false,
            Err(error) => {
                tracing::warn!(npc = npc.info.id, %error, "what became of an NPC is stored later");
            }
        }
    }

    /// Writes what is unsaved, without waiting for more.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Has an NPC stored in the background when it is dropped.
struct Again<'a> {
    saver: &'a Saver,
    npc: &'a Arc<Npc>,
    armed: bool,
}

impl Drop for Again<'_> {
    fn drop(&mut self) {
        // Without a runtime everything ends.
        if self.armed && Handle::try_current().is_ok() {
            self.npc.unsaved.store(true, Ordering::Release);
            self.saver.come_for(self.npc, RETRY);
        }
    }
}

/// Keeps an NPC in memory while it is being stored.
struct InUse(Arc<Npc>);

impl InUse {
    fn new(npc: &Arc<Npc>) -> Self {
        npc.saving.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(npc))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.saving.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Writes an NPC as it is now, unless the store has that. Waits for whoever is writing it.
async fn write(history: &History, npc: &Arc<Npc>) -> Result<(), JournalError> {
    let _in_use = InUse::new(npc);
    // One after the other: an older state never comes to the store behind a newer one.
    let _alone = npc.writing.lock().await;
    // First: what changes from here on is not in it, perhaps.
    if !npc.unsaved.swap(false, Ordering::AcqRel) {
        return Ok(());
    }
    let written = history.journal().put_npc(&npc.record()).await;
    if written.is_err() {
        npc.unsaved.store(true, Ordering::Release);
    }
    written
}
