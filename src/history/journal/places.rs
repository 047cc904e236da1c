//! Where records belong besides their own conversation: with those who listened, with the NPCs that saw it.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use uuid::Uuid;

use super::JournalError;
use super::row::Row;
use super::schema::{interactions, places};
use super::store::{Store, read_error};
use crate::history::memory::{Memory, Place};
use crate::history::record::{Kind, Record};

/// One such place of a record.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = places)]
pub(super) struct PlaceRow {
    npc: String,
    /// Empty: the world.
    player: String,
    id: Vec<u8>,
}

impl PlaceRow {
    pub fn all(record: &Record) -> Vec<Self> {
        let own = (record.kind == Kind::Dialogue).then(|| Place::with(&record.npc, &record.player));
        let places = Memory::from(record).places().into_iter().filter(|place| Some(place) != own.as_ref());
        places
            .map(|place| Self {
                npc: place.npc,
                player: place.player.unwrap_or_default(),
                id: record.id.as_bytes().to_vec(),
            })
            .collect()
    }

    pub fn conversation(&self) -> (&str, &str) {
        (&self.npc, &self.player)
    }

    pub fn names(&self, player: &str) -> bool {
        self.npc == player || self.player == player
    }

    pub fn insert(&self, connection: &mut SqliteConnection) -> QueryResult<usize> {
        diesel::insert_or_ignore_into(places::table).values(self).execute(connection)
    }

    pub fn delete(&self, connection: &mut SqliteConnection) -> QueryResult<usize> {
        diesel::delete(places::table.find((&self.npc, &self.player, &self.id))).execute(connection)
    }
}

impl Store {
    /// The last records of other conversations that an NPC knows and that concern a player, newest first, and the ids of
    /// those that are not here any more. Without a player: what happened in the world.
    pub fn known_to(
        &mut self,
        npc: &str,
        player: Option<&str>,
        limit: i64,
    ) -> Result<(Vec<Record>, Vec<Uuid>), JournalError> {
        let ids: Vec<Vec<u8>> = places::table
            .filter(places::npc.eq(npc).and(places::player.eq(player.unwrap_or_default())))
            .order(places::id.desc())
            .limit(limit)
            .select(places::id)
            .load(&mut self.connection)
            .map_err(read_error)?;
        let rows: Vec<Row> = interactions::table
            .filter(interactions::id.eq_any(&ids))
            .order(interactions::id.desc())
            .select(Row::as_select())
            .load(&mut self.connection)
            .map_err(read_error)?;
        let records = rows.into_iter().map(Row::record).collect::<Result<Vec<_>, _>>()?;
        let gone = ids.iter().filter_map(|id| Uuid::from_slice(id).ok());
        let gone = gone.filter(|id| records.iter().all(|record| record.id != *id)).collect();
        Ok((records, gone))
    }

    /// The places behind this one, in their order; one without a player has an empty one.
    pub fn places(
        &mut self,
        after: &(String, String),
        limit: i64,
    ) -> Result<Vec<(String, String)>, JournalError> {
        let (npc, player) = after;
        places::table
            .filter(places::npc.ge(npc))
            .filter(places::npc.gt(npc).or(places::player.gt(player)))
            .order((places::npc.asc(), places::player.asc()))
            .limit(limit)
            .select((places::npc, places::player))
            .distinct()
            .load(&mut self.connection)
            .map_err(read_error)
    }
}
