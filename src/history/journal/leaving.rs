//! What leaves the journal: rows that the archive has, and what changes of them afterwards.

use std::sync::atomic::Ordering;

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::row::{Row, uuid};
use super::schema::{amendments, interactions, keys, mentions, places};
use super::store::{Store, read_error};
use super::writer::Order;
use super::{Journal, JournalError, npcs};
use crate::history::npc::NpcRecord;
use crate::history::record::{Heard, Stored};

/// A row as it was when it was read.
#[derive(Debug)]
pub(in crate::history) struct Leaving {
    pub stored: Stored,
    pub key: Vec<u8>,
    /// 1: as it was written first.
    pub revision: i64,
}

/// What was heard of a row that has left.
#[derive(Debug)]
pub(in crate::history) struct Amended {
    pub id: Uuid,
    pub revision: i64,
    pub heard: Heard,
}

/// What the archive has, each with the revision that it has.
#[derive(Debug, Clone, Default)]
pub(in crate::history) struct Archived {
    pub rows: Vec<(Uuid, i64)>,
    pub amendments: Vec<(Uuid, i64)>,
    /// Rows that had left and were erased, with their keys.
    pub erased: Vec<(Uuid, Vec<u8>)>,
    /// NPCs.
    pub npcs: Vec<(String, i64)>,
}

impl Journal {
    /// Rows behind `after`, by their id.
    pub(in crate::history) async fn leaving(
        &self,
        after: Uuid,
        limit: usize,
    ) -> Result<Vec<Leaving>, JournalError> {
        self.reader()?.ask(move |store| store.leaving(after, limit as i64)).await
    }

    /// What changes of rows that have left.
    pub(in crate::history) async fn amended(&self, limit: usize) -> Result<Vec<Amended>, JournalError> {
        self.reader()?.ask(move |store| store.amended(limit as i64)).await
    }

    /// What is yet to change of these, which have left.
    pub(in crate::history) async fn amended_of(
        &self,
        ids: Vec<Uuid>,
    ) -> Result<Vec<(Uuid, Heard)>, JournalError> {
        self.reader()?.ask(move |store| store.amended_of(&ids)).await
    }

    /// NPCs of which the archive does not have the last change.
    pub(in crate::history) async fn changed_npcs(
        &self,
        limit: usize,
    ) -> Result<Vec<(NpcRecord, i64)>, JournalError> {
        self.reader()?.ask(move |store| store.changed_npcs(limit as i64)).await
    }

    /// Whether NPCs have changed; false from now on, until some do.
    pub(in crate::history) fn take_npcs_changed(&self) -> bool {
        self.shared.npcs_changed.swap(false, Ordering::AcqRel)
    }

    /// Some may have changed.
    pub(in crate::history) fn set_npcs_changed(&self) {
        self.shared.npcs_changed.store(true, Ordering::Release);
    }

    /// Forgets what the archive has, unless it has changed since.
    pub(in crate::history) async fn archived(&self, archived: Archived) -> Result<(), JournalError> {
        let (done, answer) = oneshot::channel();
        let order = Order::Archived(Box::new((archived, done)));
        self.orders.try_send(order).map_err(|error| self.refused(error.is_full()))?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Forgets everything about rows that had left and were erased in the archive.
    pub(in crate::history) async fn forget(&self, erased: Vec<(Uuid, Vec<u8>)>) -> Result<(), JournalError> {
        self.archived(Archived { erased, ..Archived::default() }).await
    }

    /// Rows that the archive does not have.
    pub fn waiting(&self) -> u64 {
        self.shared.waiting.load(Ordering::Acquire)
    }

    /// Whether something is to change of rows that have left; false from now on, until there is.
    pub(in crate::history) fn take_amended(&self) -> bool {
        self.shared.amended.swap(false, Ordering::AcqRel)
    }

    /// There may be something to change.
    pub(in crate::history) fn set_amended(&self) {
        self.shared.amended.store(true, Ordering::Release);
    }

    /// Waits until rows were written since the last time.
    pub(in crate::history) async fn filled(&self) {
        self.shared.filled.notified().await;
    }
}

impl Store {
    /// How many rows are here.
    pub fn count(&mut self) -> Result<u64, JournalError> {
        let count: i64 = interactions::table.count().get_result(&mut self.connection).map_err(read_error)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The first row.
    pub fn oldest(&mut self) -> Result<Option<Uuid>, JournalError> {
        let first = interactions::table.order(interactions::id.asc()).select(interactions::id);
        let id: Option<Vec<u8>> = first.first(&mut self.connection).optional().map_err(read_error)?;
        id.map(|id| uuid(&id)).transpose()
    }

    fn leaving(&mut self, after: Uuid, limit: i64) -> Result<Vec<Leaving>, JournalError> {
        let rows: Vec<(Row, i64)> = interactions::table
            .filter(interactions::id.gt(after.as_bytes().as_slice()))
            .order(interactions::id.asc())
            .limit(limit)
            .select((Row::as_select(), interactions::revision))
            .load(&mut self.connection)
            .map_err(read_error)?;
        let leaving = |(row, revision): (Row, i64)| {
            Ok(Leaving { key: row.key().to_vec(), stored: row.stored()?, revision })
        };
        rows.into_iter().map(leaving).collect()
    }

    fn amended(&mut self, limit: i64) -> Result<Vec<Amended>, JournalError> {
        let rows: Vec<(Vec<u8>, i64, String, Option<i64>)> =
            amendments::table.limit(limit).load(&mut self.connection).map_err(read_error)?;
        let amended = |(id, revision, said, chars): (Vec<u8>, _, _, _)| {
            Ok(Amended { id: uuid(&id)?, revision, heard: Heard::from_stored(said, chars) })
        };
        rows.into_iter().map(amended).collect()
    }

    pub fn amended_of(&mut self, ids: &[Uuid]) -> Result<Vec<(Uuid, Heard)>, JournalError> {
        let mut found = Vec::new();
        for id in ids {
            let amended = amendments::table.find(id.as_bytes().as_slice());
            let amended: Option<(String, Option<i64>)> = amended
                .select((amendments::said, amendments::heard))
                .first(&mut self.connection)
                .optional()
                .map_err(read_error)?;
            found.extend(amended.map(|(said, chars)| (*id, Heard::from_stored(said, chars))));
        }
        Ok(found)
    }
}

/// Notes what was heard of a row that has left.
pub(super) fn amend_later(connection: &mut SqliteConnection, id: Uuid, heard: &Heard) -> QueryResult<()> {
    let change = (amendments::said.eq(&heard.said), amendments::heard.eq(heard.stored_chars()));
    diesel::insert_into(amendments::table)
        .values((amendments::id.eq(id.as_bytes().as_slice()), amendments::revision.eq(1_i64), change))
        .on_conflict(amendments::id)
        .do_update()
        .set((amendments::revision.eq(amendments::revision + 1), change))
        .execute(connection)?;
    Ok(())
}

/// Removes what the archive has and what has not changed since; returns how many rows that were.
pub(super) fn leave(connection: &mut SqliteConnection, archived: &Archived) -> QueryResult<usize> {
    let mut left = 0;
    for (id, revision) in &archived.rows {
        let row = interactions::table.find(id.as_bytes().as_slice());
        if diesel::delete(row.filter(interactions::revision.eq(revision))).execute(connection)? == 1 {
            left += 1;
            // The archive has an index of its own for them.
            let named = mentions::table.filter(mentions::interaction.eq(id.as_bytes().as_slice()));
            diesel::delete(named).execute(connection)?;
        }
    }
    for (id, revision) in &archived.amendments {
        let amendment = amendments::table.find(id.as_bytes().as_slice());
        diesel::delete(amendment.filter(amendments::revision.eq(revision))).execute(connection)?;
    }
    npcs::archived(connection, &archived.npcs)?;
    for (id, key) in &archived.erased {
        diesel::delete(amendments::table.find(id.as_bytes().as_slice())).execute(connection)?;
        diesel::delete(keys::table.find(key)).execute(connection)?;
        let places = places::table.filter(places::id.eq(id.as_bytes().as_slice()));
        diesel::delete(places).execute(connection)?;
    }
    Ok(left)
}
