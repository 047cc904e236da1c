//! NPCs in the journal's database.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::JournalError;
use super::schema::npcs;
use super::store::{Store, read_error};
use crate::history::npc::{NpcRecord, NpcState};

/// An NPC as it is stored.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = npcs)]
pub(super) struct NpcRow {
    id: String,
    version: i32,
    archetype: String,
    name: String,
    seed: i64,
    state: Vec<u8>,
}

impl NpcRow {
    pub fn new(npc: &NpcRecord) -> Result<Self, JournalError> {
        let (version, state) = npc.encode()?;
        Ok(Self {
            id: npc.id.clone(),
            version,
            archetype: npc.archetype.clone(),
            name: npc.name.clone(),
            seed: npc.seed.cast_signed(),
            state,
        })
    }

    pub fn npc(self) -> Result<NpcRecord, JournalError> {
        let Self { id, version, archetype, name, seed, state } = self;
        let bare = NpcRecord { id, archetype, name, seed: seed.cast_unsigned(), state: NpcState::default() };
        Ok(bare.with_state(version, &state)?)
    }

    pub fn replace(&self, connection: &mut SqliteConnection) -> QueryResult<usize> {
        diesel::replace_into(npcs::table).values(self).execute(connection)
    }
}

impl Store {
    /// The NPC with this id.
    pub fn npc(&mut self, id: &str) -> Result<Option<NpcRecord>, JournalError> {
        npcs::table
            .find(id)
            .select(NpcRow::as_select())
            .first(&mut self.connection)
            .optional()
            .map_err(read_error)?
            .map(NpcRow::npc)
            .transpose()
    }
}
