//! An NPC answers one line at a time, in the order of arrival.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use tokio::sync::OwnedMutexGuard;

use super::Npc;

/// A line's place in the mailbox of an NPC, given back when it is dropped.
pub struct Place {
    npc: Arc<Npc>,
    queued: Queued,
    /// It counts among the lines that wait or are answered.
    counts: bool,
}

/// A place in the queue of a lock.
enum Queued {
    Waiting(Pin<Box<dyn Future<Output = OwnedMutexGuard<()>> + Send>>),
    /// Held for its end: the guard is never read.
    Reached {
        _guard: OwnedMutexGuard<()>,
    },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("npc", &self.npc.info.id).finish_non_exhaustive()
    }
}

impl Place {
    /// Waits until every earlier line is answered; from then on it is this one's turn until it is dropped.
    pub async fn reached(&mut self) {
        if let Queued::Waiting(lock) = &mut self.queued {
            let guard = lock.await;
            self.queued = Queued::Reached { _guard: guard };
        }
    }

    /// The line is answered: there is room for another one, whose turn comes when this place is dropped.
    pub fn vacate(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.npc.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.vacate();
    }
}

impl Npc {
    /// Takes a place in the mailbox; `None` if `limit` lines wait or are answered already. Lines are answered
    /// in the order of these calls.
    pub fn take_place(self: &Arc<Self>, limit: usize) -> Option<Place> {
        self.waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1))
            .ok()?;
        // Tokio's mutex is fair from the first poll on. Polled here, not in the task that will wait: tasks do
        // not start in the order in which they were spawned.
        let mut lock = Box::pin(Arc::clone(&self.mailbox).lock_owned());
        let queued = match lock.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(guard) => Queued::Reached { _guard: guard },
            Poll::Pending => Queued::Waiting(lock),
        };
        Some(Place { npc: Arc::clone(self), queued, counts: true })
    }
}
