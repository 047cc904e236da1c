//! What was said: the last exchanges in memory, the last day's in the warm tier, and everything on the disk before a turn
//! ends; and what an NPC remembers of it.

mod held;
mod hot;
mod journal;
mod known;
mod memory;
mod npc;
mod recall;
mod record;
mod remember;
mod transfer;
mod warm;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use uuid::Uuid;

pub use hot::{Exchange, Hot, HotLimits};
pub use journal::{Erased, Journal, JournalError, JournalStats};
pub use memory::Memory;
pub use npc::{NpcRecord, NpcState};
pub use recall::{Line, Origin, Recall, RecallStats, Recalled, tell};
pub use record::{Body, Heard, Kind, Outcome, Record, RecordError};
pub use transfer::{Restored, TransferError, export, restore};
pub use warm::{Warm, WarmError, WarmState};

use crate::config;

/// Why a history cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Warm(#[from] WarmError),
}

/// All tiers together.
#[derive(Debug)]
pub struct History {
    hot: Arc<Hot>,
    warm: Warm,
    journal: Journal,
    recall: Recall,
    recall_tokens: usize,
    /// How long a turn waits for the warm tier.
    warm_patience: Duration,
    /// Read by whoever fetches memories, written by whoever erases them.
    fetching: RwLock<()>,
}

impl History {
    /// Opens the history of a data folder. Blocks. With Redis it must be called within a runtime.
    ///
    /// # Errors
    /// [`JournalError::Open`], [`JournalError::InUse`], [`WarmError::Url`], [`WarmError::Certificate`].
    pub fn open(data: &Path, config: &config::History, limits: HotLimits) -> Result<Arc<Self>, OpenError> {
        let journal = Journal::open(data, config)?;
        let warm = Warm::open(config, journal.identity())?;
        Ok(Arc::new(Self {
            hot: Arc::new(Hot::new(limits)),
            warm,
            journal,
            recall: Recall::new(config.recall_mb << 20),
            recall_tokens: config.recall_tokens,
            warm_patience: Duration::from_millis(config.redis_timeout_ms),
            fetching: RwLock::new(()),
        }))
    }

    /// What was said last.
    pub fn hot(&self) -> &Arc<Hot> {
        &self.hot
    }

    /// The last day's memories.
    pub fn warm(&self) -> &Warm {
        &self.warm
    }

    /// What NPCs remember.
    pub fn recall(&self) -> &Recall {
        &self.recall
    }

    /// Everything that was said.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The stored record of a turn. A turn that is not stored costs no look at the disk, but for a few.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn find(&self, player: &str, npc: &str, turn: &str) -> Result<Option<Record>, JournalError> {
        let key = record::turn_key(player, npc, turn);
        if self.journal.known().may_have_turn(&key) { self.journal.find(key).await } else { Ok(None) }
    }

    /// Whether a turn may be stored; if not, [`Self::find`] finds nothing.
    pub fn may_hold(&self, player: &str, npc: &str, turn: &str) -> bool {
        self.journal.known().may_have_turn(&record::turn_key(player, npc, turn))
    }

    /// Stores something that is no line, and returns what is stored: one that has the same id with the client is told
    /// again.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn tell(&self, record: Record) -> Result<Record, JournalError> {
        let key = record.key();
        if self.journal.known().may_have_turn(&key)
            && let Some(stored) = self.journal.find(key).await?
        {
            return Ok(stored);
        }
        match self.journal.put(&record).await {
            Ok(()) => {
                self.remember(&record);
                Ok(record)
            }
            // Another one was quicker.
            Err(JournalError::Stored) => self.journal.find(key).await?.ok_or(JournalError::Stored),
            Err(error) => Err(error),
        }
    }

    /// Takes a player out of all tiers, with everything that began before this id.
    ///
    /// # Errors
    /// [`JournalError`]: it may have been done in part, and is to be asked for again.
    pub async fn erase(&self, player: &str, before: Uuid) -> Result<Erased, JournalError> {
        // What is being fetched meanwhile would bring something back.
        let _alone = self.fetching.write().await;
        // First, and it refuses what is on its way.
        let erased = self.journal.erase(player, before).await?;
        self.hot.forget_player(player);
        self.recall.forget_player(player);
        self.warm.forget_player(player).await?;
        Ok(erased)
    }

    /// Changes what was heard of a stored turn.
    pub fn amend(&self, id: Uuid, heard: impl FnOnce() -> Heard) {
        self.journal.amend(id, heard);
    }

    /// Writes what waits. Blocks. Nothing is stored any more after it.
    pub fn close(&self) {
        self.warm.close();
        self.journal.close();
    }
}
