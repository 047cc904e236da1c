//! What is written in one transaction.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use uuid::Uuid;

use super::JournalError;
use super::leaving::{Archived, amend_later, leave};
use super::npcs::NpcRow;
use super::row::{Entry, Row};
use super::schema::{conversations, interactions, keys, mentions, tombstones};
use super::store::Store;
use crate::history::record::Heard;

/// What became of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    New,
    /// Its id or its key is stored already.
    Known,
    /// Its player was erased since.
    Erased,
}

/// What is written at once.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub entries: Vec<&'a Entry>,
    pub amendments: &'a [(Uuid, Heard)],
    pub npcs: Vec<&'a NpcRow>,
    /// What the archive has.
    pub archived: Vec<&'a Archived>,
    /// Whether there is an archive: what changes of a row that has left is kept for it.
    pub has_archive: bool,
}

impl Batch<'_> {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.amendments.is_empty()
            && self.npcs.is_empty()
            && self.archived.is_empty()
    }
}

/// What became of a [`Batch`].
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Of each entry.
    pub written: Vec<Written>,
    /// Rows that have left.
    pub left: usize,
    /// There is something that changes rows that have left.
    pub amended: bool,
}

impl Store {
    /// Writes all of it and syncs once, or nothing of it.
    pub fn write(&mut self, batch: &Batch<'_>) -> Result<Done, JournalError> {
        let has_tombstones = self.has_tombstones;
        self.transaction(|connection| {
            let mut done = Done::default();
            for entry in &batch.entries {
                let erased = has_tombstones && is_erased(connection, &entry.row)?;
                done.written.push(if erased { Written::Erased } else { insert(connection, entry)? });
            }
            for (id, heard) in batch.amendments {
                if !amend(connection, *id, heard)? && batch.has_archive {
                    amend_later(connection, *id, heard)?;
                    done.amended = true;
                }
            }
            for npc in &batch.npcs {
                npc.replace(connection)?;
            }
            for archived in &batch.archived {
                done.left += leave(connection, archived)?;
            }
            Ok(done)
        })
    }
}

fn insert(connection: &mut SqliteConnection, entry: &Entry) -> QueryResult<Written> {
    let row = &entry.row;
    let key = (keys::idempotency_key.eq(&row.idempotency_key), keys::id.eq(&row.id));
    if diesel::insert_or_ignore_into(keys::table).values(key).execute(connection)? == 0 {
        return Ok(Written::Known);
    }
    diesel::insert_into(interactions::table).values(row).execute(connection)?;
    let conversation = (conversations::player.eq(&row.player), conversations::npc.eq(&row.npc));
    diesel::insert_or_ignore_into(conversations::table).values(conversation).execute(connection)?;
    for name in &entry.mentions {
        diesel::insert_or_ignore_into(mentions::table)
            .values((mentions::player.eq(name), mentions::interaction.eq(&row.id)))
            .execute(connection)?;
    }
    for place in &entry.places {
        place.insert(connection)?;
    }
    Ok(Written::New)
}

/// Changes what was heard; false if the row is not here.
fn amend(connection: &mut SqliteConnection, id: Uuid, heard: &Heard) -> QueryResult<bool> {
    let changed = diesel::update(interactions::table.find(id.as_bytes().as_slice()))
        .set((
            interactions::said.eq(&heard.said),
            interactions::heard.eq(heard.stored_chars()),
            interactions::revision.eq(interactions::revision + 1),
        ))
        .execute(connection)?;
    Ok(changed == 1)
}

/// Whether a row began before its player was erased.
fn is_erased(connection: &mut SqliteConnection, row: &Row) -> QueryResult<bool> {
    let before: Option<Vec<u8>> =
        tombstones::table.find(&row.player).select(tombstones::before).first(connection).optional()?;
    Ok(before.is_some_and(|before| row.id < before))
}
