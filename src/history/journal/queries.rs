//! What is asked of the journal's database.

use diesel::prelude::*;
use uuid::Uuid;

use super::row::{Row, uuid};
use super::schema::{amendments, conversations, identity, interactions, keys};
use super::store::{Store, read_error};
use super::{Found, JournalError};
use crate::history::record::{Heard, IdempotencyKey, Kind, Record};

impl Store {
    /// What is stored under this key.
    pub fn find(&mut self, key: &IdempotencyKey) -> Result<Option<Found>, JournalError> {
        // Both at one moment: the row may be about to leave.
        let found = self.connection.transaction(|connection| {
            let id: Option<Vec<u8>> =
                keys::table.find(key.as_slice()).select(keys::id).first(connection).optional()?;
            let Some(id) = id else { return Ok(None) };
            let row = interactions::table.find(&id).select(Row::as_select()).first(connection).optional()?;
            let amended = amendments::table.find(&id).select((amendments::said, amendments::heard));
            let amended: Option<(String, Option<i64>)> = amended.first(connection).optional()?;
            Ok(Some((id, row, amended)))
        });
        let Some((id, row, amended)) = found.map_err(|error: diesel::result::Error| read_error(error))?
        else {
            return Ok(None);
        };
        Ok(Some(match row {
            Some(row) => Found::Here(Box::new(row.record()?)),
            None => Found::Left {
                id: uuid(&id)?,
                heard: amended.map(|(said, chars)| Heard::from_stored(said, chars)),
            },
        }))
    }

    /// The last lines of a conversation, newest first.
    pub fn conversation(&mut self, npc: &str, player: &str, limit: i64) -> Result<Vec<Record>, JournalError> {
        let of_both = interactions::npc.eq(npc).and(interactions::player.eq(player));
        let lines = of_both.and(interactions::kind.eq(Kind::Dialogue.name()));
        let query = interactions::table.filter(lines).order(interactions::id.desc()).limit(limit);
        records(query.select(Row::as_select()).load(&mut self.connection))
    }

    /// What happened with an NPC, newest first; `before`: what is older than this record.
    pub fn page(&mut self, npc: &str, before: Option<Uuid>, limit: i64) -> Result<Vec<Record>, JournalError> {
        let before = before.unwrap_or(Uuid::max());
        let older = interactions::npc.eq(npc).and(interactions::id.lt(before.as_bytes().as_slice()));
        let query = interactions::table.filter(older).order(interactions::id.desc()).limit(limit);
        records(query.select(Row::as_select()).load(&mut self.connection))
    }

    /// What happened with an NPC after this record, oldest first.
    pub fn page_after(&mut self, npc: &str, after: Uuid, limit: i64) -> Result<Vec<Record>, JournalError> {
        let newer = interactions::npc.eq(npc).and(interactions::id.gt(after.as_bytes().as_slice()));
        let query = interactions::table.filter(newer).order(interactions::id.asc()).limit(limit);
        records(query.select(Row::as_select()).load(&mut self.connection))
    }

    /// The keys behind `after`, in their order.
    pub fn keys(&mut self, after: &[u8], limit: i64) -> Result<Vec<Vec<u8>>, JournalError> {
        keys::table
            .filter(keys::idempotency_key.gt(after))
            .order(keys::idempotency_key.asc())
            .limit(limit)
            .select(keys::idempotency_key)
            .load(&mut self.connection)
            .map_err(read_error)
    }

    /// The conversations behind this one, by player and NPC, in their order.
    pub fn conversations(
        &mut self,
        after: &(String, String),
        limit: i64,
    ) -> Result<Vec<(String, String)>, JournalError> {
        let (player, npc) = after;
        conversations::table
            .filter(conversations::player.ge(player))
            .filter(conversations::player.gt(player).or(conversations::npc.gt(npc)))
            .order((conversations::player.asc(), conversations::npc.asc()))
            .limit(limit)
            .load(&mut self.connection)
            .map_err(read_error)
    }

    /// Which journal this is.
    pub fn identity(&mut self) -> Result<Uuid, JournalError> {
        let id: Vec<u8> =
            identity::table.select(identity::id).first(&mut self.connection).map_err(read_error)?;
        uuid(&id)
    }
}

/// The records that a query found.
fn records(rows: QueryResult<Vec<Row>>) -> Result<Vec<Record>, JournalError> {
    rows.map_err(read_error)?.into_iter().map(Row::record).collect()
}
