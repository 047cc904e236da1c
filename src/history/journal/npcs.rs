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
        let Self { id: _, version, archetype, name, seed, state } = self;
        let change = (
            npcs::version.eq(version),
            npcs::archetype.eq(archetype),
            npcs::name.eq(name),
            npcs::seed.eq(seed),
            npcs::state.eq(state),
        );
        diesel::insert_into(npcs::table)
            .values(self)
            .on_conflict(npcs::id)
            .do_update()
            .set((npcs::revision.eq(npcs::revision + 1), change))
            .execute(connection)
    }
}

/// Notes what the archive has of NPCs.
pub(super) fn archived(connection: &mut SqliteConnection, npcs: &[(String, i64)]) -> QueryResult<()> {
    for (id, revision) in npcs {
        diesel::update(npcs::table.find(id)).set(npcs::archived.eq(revision)).execute(connection)?;
    }
    Ok(())
}

impl Store {
    /// NPCs of which the archive does not have the last change, each with its revision, but for those that this program
    /// cannot read.
    pub fn changed_npcs(&mut self, limit: i64) -> Result<Vec<(NpcRecord, i64)>, JournalError> {
        let rows: Vec<(NpcRow, i64)> = npcs::table
            .filter(npcs::revision.ne(npcs::archived))
            .order(npcs::id.asc())
            .limit(limit)
            .select((NpcRow::as_select(), npcs::revision))
            .load(&mut self.connection)
            .map_err(read_error)?;
        let readable = |(row, revision): (NpcRow, i64)| match row.npc() {
            Ok(npc) => Some((npc, revision)),
            Err(error) => {
                tracing::error!(%error, "an NPC is not archived");
                None
            }
        };
        Ok(rows.into_iter().filter_map(readable).collect())
    }

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
