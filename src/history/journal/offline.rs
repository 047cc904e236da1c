//! The journal without its threads, for commands that run beside a server or in its place.

use std::fs::File;
use std::path::Path;

use diesel::connection::SimpleConnection;
use uuid::Uuid;

use super::npcs::NpcRow;
use super::row::Entry;
use super::store::{Store, read_error};
use super::write::{Batch, Written};
use super::{FILE, JournalError, lock};
use crate::config;
use crate::history::npc::NpcRecord;
use crate::history::record::Record;

/// Records that are read at once.
const PAGE: i64 = 500;

/// What is stored at one moment, while a server may go on writing.
#[derive(Debug)]
pub struct Snapshot(Store);

impl Snapshot {
    /// # Errors
    /// [`JournalError::Open`] if there is no journal.
    pub fn open(data: &Path) -> Result<Self, JournalError> {
        let path = data.join(FILE);
        if !path.exists() {
            return Err(JournalError::Open { path, reason: "there is no journal".to_owned() });
        }
        let mut store = Store::reader(&path)?;
        store.connection.batch_execute("BEGIN").map_err(read_error)?;
        Ok(Self(store))
    }

    /// # Errors
    /// [`JournalError`].
    pub fn npc(&mut self, id: &str) -> Result<Option<NpcRecord>, JournalError> {
        self.0.npc(id)
    }

    /// What happened with an NPC after this record, oldest first; empty: nothing more.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn page(&mut self, npc: &str, after: Option<Uuid>) -> Result<Vec<Record>, JournalError> {
        self.0.page_after(npc, after.unwrap_or(Uuid::nil()), PAGE)
    }

    /// Brings records of the archive up to what is known here.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn amend(&mut self, records: &mut [Record]) -> Result<(), JournalError> {
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        for (id, heard) in self.0.amended_of(&ids)? {
            if let Some(record) = records.iter_mut().find(|record| record.id == id) {
                record.heard = heard;
            }
        }
        Ok(())
    }
}

/// Takes records in, in the place of a server.
#[derive(Debug)]
pub struct Intake {
    store: Store,
    _lock: File,
}

/// What became of records that were taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    pub new: u64,
    pub known: u64,
    pub erased: u64,
}

impl Intake {
    /// # Errors
    /// [`JournalError::Open`], [`JournalError::InUse`].
    pub fn open(data: &Path, config: &config::History) -> Result<Self, JournalError> {
        let lock = lock(data)?;
        Ok(Self { store: Store::writer(&data.join(FILE), config.max_mb)?, _lock: lock })
    }

    /// # Errors
    /// [`JournalError`].
    pub fn npc(&mut self, id: &str) -> Result<Option<NpcRecord>, JournalError> {
        self.store.npc(id)
    }

    /// Without what it has of players who were erased since.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn put_npc(&mut self, mut npc: NpcRecord) -> Result<(), JournalError> {
        for (player, before) in self.store.erased()? {
            npc.state.forget_until(&player, (before.as_u128() >> 80) as u64);
        }
        let row = NpcRow::new(&npc)?;
        self.store.write(&Batch { npcs: vec![&row], ..Batch::default() }).map(drop)
    }

    /// All of them or none.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn put(&mut self, records: &[Record]) -> Result<Taken, JournalError> {
        let entries = records.iter().map(Entry::new).collect::<Result<Vec<_>, _>>()?;
        let mut taken = Taken::default();
        let batch = Batch { entries: entries.iter().collect(), ..Batch::default() };
        for written in self.store.write(&batch)?.written {
            match written {
                Written::New => taken.new += 1,
                Written::Known => taken.known += 1,
                Written::Erased => taken.erased += 1,
            }
        }
        Ok(taken)
    }
}
