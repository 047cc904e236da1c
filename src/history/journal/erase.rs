//! Taking a player out of the journal's database, piece by piece, so that no turn waits long for it.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Integer};
use diesel::sqlite::SqliteConnection;
use uuid::Uuid;

use super::JournalError;
use super::npcs::NpcRow;
use super::places::PlaceRow;
use super::row::Row;
use super::schema::{conversations, interactions, keys, mentions, npcs, places, tombstones};
use super::store::{Store, read_error, write_error};

/// Rows that one transaction changes at most.
const PIECE: i64 = 500;

/// What was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// The player's own records.
    pub interactions: usize,
    /// Records of others that named the player.
    pub mentions: usize,
    /// NPCs that knew the player.
    pub npcs: usize,
}

impl Erased {
    pub fn add(&mut self, other: Self) {
        self.interactions += other.interactions;
        self.mentions += other.mentions;
        self.npcs += other.npcs;
    }

    /// Nothing was found any more.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[derive(QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = Integer)]
    busy: i32,
}

impl Store {
    /// From now on nothing of the player is stored that began before this id.
    pub fn bury(&mut self, player: &str, before: Uuid) -> Result<(), JournalError> {
        self.transaction(|connection| {
            let known: Option<Vec<u8>> =
                tombstones::table.find(player).select(tombstones::before).first(connection).optional()?;
            let before = known.unwrap_or_default().max(before.as_bytes().to_vec());
            diesel::replace_into(tombstones::table)
                .values((tombstones::player.eq(player), tombstones::before.eq(before)))
                .execute(connection)
        })?;
        self.has_tombstones = true;
        Ok(())
    }

    /// Who was erased, with everything that began before which id.
    pub fn erased(&mut self) -> Result<Vec<(String, Uuid)>, JournalError> {
        let rows: Vec<(String, Vec<u8>)> = tombstones::table
            .select((tombstones::player, tombstones::before))
            .load(&mut self.connection)
            .map_err(read_error)?;
        Ok(rows
            .into_iter()
            .filter_map(|(player, before)| Some((player, Uuid::from_slice(&before).ok()?)))
            .collect())
    }

    /// Takes out some of what there is of a player from before this id. To be repeated until it finds nothing.
    pub fn erase(&mut self, player: &str, before: Uuid) -> Result<Erased, JournalError> {
        let mut unreadable = None;
        let erased = self.transaction(|connection| {
            let own = erase_own(connection, player, before)?;
            let (named, error) = unmention(connection, player)?;
            let (known, other) = forget(connection, player)?;
            unreadable = error.or(other);
            Ok(Erased { interactions: own, mentions: named, npcs: known })
        })?;
        // What can be erased is; that the rest cannot must be known.
        unreadable.map_or(Ok(erased), Err)
    }

    /// Empties the write-ahead log, in which what was erased may still stand. False: readers were in the way.
    pub fn empty_log(&mut self) -> Result<bool, JournalError> {
        let done: Checkpoint = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)")
            .get_result(&mut self.connection)
            .map_err(write_error)?;
        Ok(done.busy == 0)
    }
}

/// Deletes records of the player.
fn erase_own(connection: &mut SqliteConnection, player: &str, before: Uuid) -> QueryResult<usize> {
    let rows = interactions::table
        .filter(interactions::player.eq(player).and(interactions::id.lt(before.as_bytes().as_slice())))
        .order(interactions::id.asc())
        .limit(PIECE)
        .select(Row::as_select())
        .load(connection)?;
    for row in &rows {
        let id = row.id().to_vec();
        diesel::delete(interactions::table.find(&id)).execute(connection)?;
        diesel::delete(keys::table.find(row.key())).execute(connection)?;
        // One that cannot be read is deleted all the same; whom it named is found by the name.
        let Ok(record) = row.clone().record() else { continue };
        for name in record.body.mentions() {
            diesel::delete(mentions::table.find((name, &id))).execute(connection)?;
        }
        for place in PlaceRow::all(&record) {
            place.delete(connection)?;
        }
    }
    if rows.is_empty() {
        // Also of rows that have left.
        let of_player = places::table.filter(places::player.eq(player).or(places::npc.eq(player)));
        diesel::delete(of_player.filter(places::id.lt(before.as_bytes().as_slice()))).execute(connection)?;
        // At the end: those that go on are there again with the next line.
        let of_player = interactions::table.filter(interactions::player.eq(player)).count();
        if of_player.get_result::<i64>(connection)? == 0 {
            diesel::delete(conversations::table.filter(conversations::player.eq(player)))
                .execute(connection)?;
        }
    }
    Ok(rows.len())
}

/// Takes the player's name out of the records of others. With what went wrong with those that cannot be read.
fn unmention(connection: &mut SqliteConnection, player: &str) -> QueryResult<(usize, Option<JournalError>)> {
    let ids: Vec<Vec<u8>> = mentions::table
        .filter(mentions::player.eq(player))
        .limit(PIECE)
        .select(mentions::interaction)
        .load(connection)?;
    let mut unreadable = None;
    let mut changed = 0;
    for id in ids {
        let row = interactions::table.find(&id).select(Row::as_select()).first(connection).optional()?;
        let mut places = Vec::new();
        let scrubbed = row.map(|row| {
            let mut record = row.record()?;
            places = PlaceRow::all(&record);
            record.body.unmention(player);
            Row::new(&record)
        });
        match scrubbed.transpose() {
            Ok(Some(row)) => {
                diesel::update(interactions::table.find(&id))
                    .set(interactions::body.eq(row.body()))
                    .execute(connection)?;
                for place in places.iter().filter(|place| place.names(player)) {
                    place.delete(connection)?;
                }
            }
            // It has gone meanwhile.
            Ok(None) => {}
            Err(error) => {
                unreadable = Some(error);
                continue;
            }
        }
        diesel::delete(mentions::table.find((player, &id))).execute(connection)?;
        changed += 1;
    }
    Ok((changed, unreadable))
}

diesel::define_sql_function! {
    /// Where a blob contains another one, from 1; 0: nowhere.
    fn instr(haystack: Binary, needle: Binary) -> Integer;
}

/// Takes the player out of what NPCs think of players.
fn forget(connection: &mut SqliteConnection, player: &str) -> QueryResult<(usize, Option<JournalError>)> {
    let rows = npcs::table
        .filter(instr(npcs::state, player.as_bytes()).gt(0))
        .select(NpcRow::as_select())
        .load(connection)?;
    let mut unreadable = None;
    let mut changed = 0;
    for row in rows {
        let forgotten = row.npc().and_then(|mut npc| {
            let knew = npc.state.forget(player);
            Ok(if knew { Some(NpcRow::new(&npc)?) } else { None })
        });
        match forgotten {
            Ok(Some(row)) => changed += row.replace(connection)?,
            // Its name is part of another word.
            Ok(None) => {}
            Err(error) => unreadable = Some(error),
        }
    }
    Ok((changed, unreadable))
}
