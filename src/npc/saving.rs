//! What changes in NPCs goes to the store in the background: the newest state of each, however often it changed meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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

/// See the module's documentation. There is at most one task for each NPC in memory.
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

    /// An NPC's mind has changed: it is stored soon. Must be called within a runtime.
    pub fn save(&self, npc: &Arc<Npc>) {
        if npc.unsaved.swap(true, Ordering::AcqRel) {
            // Whoever comes for the change before sees this one.
            return;
        }
        let in_use = InUse::new(npc);
        let (history, moving) = (Arc::clone(&self.history), Arc::clone(&self.moving));
        let (writes, closing) = (Arc::clone(&self.writes), self.closing.clone());
        self.tasks.spawn(async move {
            let npc = &in_use.0;
            let _ = closing.run_until_cancelled(sleep(GATHER)).await;
            while npc.unsaved.load(Ordering::Acquire) {
                // It fails when it is closed, which it is not.
                let place = writes.acquire().await;
                let written = write(&history, &moving, npc).await;
                drop(place);
                let Err(error) = written else { continue };
                npc.unsaved.store(true, Ordering::Release);
                if closing.is_cancelled() {
                    tracing::error!(npc = npc.info.id, %error, "what became of an NPC is not stored");
                    break;
                }
                tracing::warn!(npc = npc.info.id, %error, "what became of an NPC is stored later");
                let _ = closing.run_until_cancelled(sleep(RETRY)).await;
            }
        });
    }

    /// The same at once, and waits for it. If it fails it is tried again in the background.
    pub async fn save_now(&self, npc: &Arc<Npc>) {
        let _in_use = InUse::new(npc);
        if npc.unsaved.load(Ordering::Acquire)
            && let Err(error) = write(&self.history, &self.moving, npc).await
        {
            tracing::warn!(npc = npc.info.id, %error, "what became of an NPC is stored later");
            self.save(npc);
        }
    }

    /// Writes what is unsaved, without waiting for more.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
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

/// Writes an NPC as it is now. If it fails the change is to be noted again.
async fn write(history: &History, moving: &RwLock<()>, npc: &Npc) -> Result<(), JournalError> {
    let _still = moving.read().await;
    // One after the other: an older state never comes to the store behind a newer one.
    let _alone = npc.writing.lock().await;
    // First: what changes from here on is not in it, perhaps.
    npc.unsaved.store(false, Ordering::Release);
    history.journal().put_npc(&npc.record()).await
}
