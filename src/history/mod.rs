//! What was said: the last exchanges in memory, the last day's in the warm tier, everything on the disk before a turn ends,
//! and in the archive after it; and what an NPC remembers of it.

mod archive;
mod error;
mod held;
mod hot;
mod journal;
mod known;
mod memory;
mod migrate;
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

pub use archive::{Archive, ArchiveError, ArchiveState, ErasedRows};
pub use error::HistoryError;
pub use hot::{Exchange, Hot, HotLimits};
pub use journal::{Erased, Journal, JournalError, JournalSize, JournalStats};
pub use memory::Memory;
pub use migrate::{MigrationsRun, migrate_journal, migrate_postgres};
pub use npc::{NpcGoal, NpcGrowth, NpcMood, NpcRecord, NpcState, NpcTie};
pub use recall::{Line, Origin, Recall, RecallStats, Recalled, tell};
pub use record::{Body, Felt, Heard, Kind, Outcome, Record, RecordError, Tie};
pub use transfer::{Restored, TransferError, export, restore};
pub use warm::{Warm, WarmError, WarmState, redis_client};

use self::journal::Found;
use self::record::IdempotencyKey;
use crate::config;
use crate::metrics::HistoryMetrics;

/// All tiers together.
#[derive(Debug)]
pub struct History {
    hot: Arc<Hot>,
    warm: Warm,
    journal: Arc<Journal>,
    /// `None`: the journal is the archive.
    archive: Option<Archive>,
    recall: Recall,
    recall_tokens: usize,
    /// How long a turn waits for the warm tier.
    warm_patience: Duration,
    /// Read by whoever fetches memories, written by whoever erases them.
    fetching: RwLock<()>,
    metrics: HistoryMetrics,
}

/// The last lines of a conversation.
#[derive(Debug)]
pub struct Recent {
    /// Newest first.
    pub records: Vec<Record>,
    /// Why there may be more of them in the archive.
    pub missing: Option<ArchiveError>,
}

impl History {
    /// Opens the history of a data folder, and starts to drain it if there is an archive. Blocks. With Redis or Postgres it
    /// must be called within a runtime.
    ///
    /// # Errors
    /// [`HistoryError`]. That Redis or Postgres is away is none.
    pub fn open(data: &Path, config: &config::History, limits: HotLimits) -> Result<Arc<Self>, HistoryError> {
        let journal = Arc::new(Journal::open(data, config)?);
        let warm = Warm::open(config, &journal.identity().simple().to_string())?;
        let archive = Archive::start(config, &journal)?;
        Ok(Arc::new(Self {
            hot: Arc::new(Hot::new(limits)),
            warm,
            journal,
            archive,
            recall: Recall::new(config.recall_mb << 20),
            recall_tokens: config.recall_tokens,
            warm_patience: Duration::from_millis(config.redis_timeout_ms),
            fetching: RwLock::new(()),
            metrics: HistoryMetrics::default(),
        }))
    }

    /// What the tiers do together.
    pub fn metrics(&self) -> &HistoryMetrics {
        &self.metrics
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

    /// Everything that was said, or what of it the archive does not have.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Everything that was said, if that is not in the journal.
    pub fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// The stored record of a turn. A turn that is not stored costs no look at the disk, but for a few, and never one at
    /// the archive.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn find(&self, player: &str, npc: &str, turn: &str) -> Result<Option<Record>, HistoryError> {
        self.stored(record::turn_key(player, npc, turn)).await
    }

    /// The stored record of what an NPC did on its own.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn find_act(&self, player: &str, npc: &str, act: &str) -> Result<Option<Record>, HistoryError> {
        self.stored(record::act_key(player, npc, act)).await
    }

    async fn stored(&self, key: IdempotencyKey) -> Result<Option<Record>, HistoryError> {
        if !self.journal.known().may_have_turn(&key) {
            return Ok(None);
        }
        match self.journal.find(key).await? {
            None => Ok(None),
            Some(Found::Here(record)) => Ok(Some(*record)),
            Some(Found::Left { id, heard }) => {
                let archive = self.archive.as_ref().ok_or(HistoryError::Elsewhere(id))?;
                let record = archive.find(id).await?.ok_or(HistoryError::Lost(id))?;
                Ok(Some(Record { heard: heard.unwrap_or(record.heard), ..record }))
            }
        }
    }

    /// Whether a turn may be stored; if not, [`Self::find`] finds nothing.
    pub fn may_hold(&self, player: &str, npc: &str, turn: &str) -> bool {
        self.journal.known().may_have_turn(&record::turn_key(player, npc, turn))
    }

    /// The last lines of a conversation.
    ///
    /// # Errors
    /// [`HistoryError`] of the journal.
    pub async fn conversation(&self, npc: &str, player: &str, limit: usize) -> Result<Recent, HistoryError> {
        // First: a row that leaves meanwhile is in the archive by then.
        let records = self.journal.conversation(npc, player, limit).await?;
        let Some(archive) = self.archive.as_ref().filter(|_| records.len() < limit) else {
            return Ok(Recent { records, missing: None });
        };
        match archive.conversation(npc, player, limit).await {
            Ok(archived) => {
                let records = self.joined(records, archived, limit).await?;
                Ok(Recent { records, missing: None })
            }
            Err(error) => Ok(Recent { records, missing: Some(error) }),
        }
    }

    /// What happened with an NPC, newest first; `before`: what is older than this record.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn page(
        &self,
        npc: &str,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Record>, HistoryError> {
        let records = self.journal.page(npc, before, limit).await?;
        let Some(archive) = &self.archive else { return Ok(records) };
        let archived = archive.page(npc, before, limit).await?;
        self.joined(records, archived, limit).await
    }

    /// The newest of both, newest first, each as it is now.
    async fn joined(
        &self,
        mut records: Vec<Record>,
        mut archived: Vec<Record>,
        limit: usize,
    ) -> Result<Vec<Record>, HistoryError> {
        archived.retain(|record| records.iter().all(|here| here.id != record.id));
        records.append(&mut self.as_heard(archived).await?);
        records.sort_unstable_by_key(|record| std::cmp::Reverse(record.id));
        records.truncate(limit);
        Ok(records)
    }

    /// Records of the archive with what was heard of them since.
    async fn as_heard(&self, mut archived: Vec<Record>) -> Result<Vec<Record>, HistoryError> {
        let ids = archived.iter().map(|record| record.id).collect();
        for (id, heard) in self.journal.amended_of(ids).await? {
            if let Some(record) = archived.iter_mut().find(|record| record.id == id) {
                record.heard = heard;
            }
        }
        Ok(archived)
    }

    /// Stores something that is no line, and returns what is stored: one that has the same id with the client is told
    /// again.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn tell(&self, record: Record) -> Result<Record, HistoryError> {
        let key = record.key();
        if let Some(stored) = self.stored(key).await? {
            return Ok(stored);
        }
        match self.journal.put(&record).await {
            Ok(()) => {
                self.remember(&record);
                Ok(record)
            }
            // Another one was quicker.
            Err(JournalError::Stored) => Ok(self.stored(key).await?.ok_or(JournalError::Stored)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a player out of all tiers, with everything that began before this id.
    ///
    /// # Errors
    /// [`HistoryError`]: it may have been done in part, and is to be asked for again.
    pub async fn erase(&self, player: &str, before: Uuid) -> Result<Erased, HistoryError> {
        // What is being fetched meanwhile would bring something back.
        let _alone = self.fetching.write().await;
        // First, and it refuses what is on its way.
        let mut erased = self.journal.erase(player, before).await?;
        self.hot.forget_player(player);
        self.recall.forget_player(player);
        self.warm.forget_player(player).await?;
        if let Some(archive) = &self.archive {
            let archived = archive.erase_player(player, before).await?;
            erased.interactions += archived.rows.len();
            erased.mentions += archived.mentions;
            if !archived.rows.is_empty() {
                self.journal.forget(archived.rows).await?;
                // Once more, for what the journal still had of them, and its log.
                erased.add(self.journal.erase(player, before).await?);
            }
        }
        Ok(erased)
    }

    /// Changes what was heard of a stored turn.
    pub fn amend(&self, id: Uuid, heard: impl FnOnce() -> Heard) {
        self.journal.amend(id, heard);
    }

    /// Writes what waits, and drains what it can in a few seconds. Blocks. Nothing is stored any more after it.
    pub fn close(&self) {
        self.warm.close();
        if let Some(archive) = &self.archive {
            archive.stop();
        }
        self.journal.close();
    }
}
