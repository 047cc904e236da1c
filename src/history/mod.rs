//! What was said: the last exchanges in memory, and everything on the disk before a turn ends.

mod hot;
mod journal;
mod known;
mod npc;
mod record;
mod transfer;

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

pub use hot::{Exchange, Hot, HotLimits};
pub use journal::{Erased, Journal, JournalError, JournalStats};
pub use npc::{NpcRecord, NpcState};
pub use record::{Body, Heard, Kind, Outcome, Record, RecordError};
pub use transfer::{Restored, TransferError, export, restore};

use crate::config;

/// All tiers together.
#[derive(Debug)]
pub struct History {
    hot: Arc<Hot>,
    journal: Journal,
}

impl History {
    /// Opens the history of a data folder. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Open`], [`JournalError::InUse`].
    pub fn open(data: &Path, config: &config::History, limits: HotLimits) -> Result<Arc<Self>, JournalError> {
        let journal = Journal::open(data, config)?;
        Ok(Arc::new(Self { hot: Arc::new(Hot::new(limits)), journal }))
    }

    /// What was said last.
    pub fn hot(&self) -> &Arc<Hot> {
        &self.hot
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

    /// Whether a conversation may be stored that the hot tier has not been given yet.
    pub fn is_cold(&self, npc: &str, player: &str) -> bool {
        self.journal.known().may_have_conversation(npc, player) && !self.hot.is_hydrated(npc, player)
    }

    /// Gives the hot tier a conversation as it is stored. `exchange` makes an exchange of a record, where it is one.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn hydrate(
        &self,
        npc: &str,
        player: &str,
        exchange: impl Fn(&Record) -> Option<Exchange>,
    ) -> Result<(), JournalError> {
        if !self.is_cold(npc, player) {
            return Ok(());
        }
        // Some may be no exchanges, such as lines that were cancelled before they began.
        let wanted = self.hot.limits().window_max;
        let records = self.journal.conversation(npc, player, wanted * 2).await?;
        let exchanges = records.iter().filter_map(exchange).take(wanted).collect();
        self.hot.hydrate(npc, player, exchanges);
        Ok(())
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
            Ok(()) => Ok(record),
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
        // First, and it refuses what is on its way: nothing brings anything back.
        let erased = self.journal.erase(player, before).await?;
        self.hot.forget_player(player);
        Ok(erased)
    }

    /// Changes what was heard of a stored turn.
    pub fn amend(&self, id: Uuid, heard: impl FnOnce() -> Heard) {
        self.journal.amend(id, heard);
    }

    /// Writes what waits. Blocks. Nothing is stored any more after it.
    pub fn close(&self) {
        self.journal.close();
    }
}
