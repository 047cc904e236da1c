//! The journal's database: one connection, and every statement that is made on it.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use uuid::Uuid;

use super::JournalError;
use super::npcs::NpcRow;
use super::places::PlaceRow;
use super::schema::{interactions, mentions, probes, tombstones};
use crate::history::record::{Heard, IdempotencyKey, Kind, Record, Stored};

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// What a probe writes: room for some turns.
const PROBE_BYTES: usize = 256 << 10;

/// Pages of the write-ahead log at which the writer copies what is left of it into the database by itself: 64 MiB. Until
/// then a thread of its own does it, and no turn waits for that.
const LOG_PAGES: u32 = 16_384;

/// How long a statement waits for another process that holds the database, such as a backup.
const BUSY_MS: u32 = 1000;

/// A record to be written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    row: Row,
    /// Who is named in it besides its own player.
    mentions: Vec<String>,
    /// Where it belongs besides its own conversation.
    places: Vec<PlaceRow>,
}

impl Entry {
    pub fn new(record: &Record) -> Result<Self, JournalError> {
        let mentions = record.body.mentions().filter(|name| *name != record.player).map(str::to_owned);
        Ok(Self { mentions: mentions.collect(), places: PlaceRow::all(record), row: Row::new(record)? })
    }

    /// NPCs and players who know of it from elsewhere; an empty player stands for the world.
    pub fn conversations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(PlaceRow::conversation)
    }
}

/// What became of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    New,
    /// Its id or its key is stored already.
    Known,
    /// Its player was erased since.
    Erased,
}

/// A record as it is stored.
#[derive(Debug, Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = interactions, treat_none_as_default_value = false)]
pub(super) struct Row {
    id: Vec<u8>,
    idempotency_key: Vec<u8>,
    version: i32,
    kind: String,
    npc: String,
    player: String,
    said: String,
    heard: Option<i64>,
    body: Vec<u8>,
}

impl Row {
    pub fn new(record: &Record) -> Result<Self, JournalError> {
        let (version, body) = record.encode()?;
        Ok(Self {
            id: record.id.as_bytes().to_vec(),
            idempotency_key: record.key().to_vec(),
            version,
            kind: record.kind.name().to_owned(),
            npc: record.npc.clone(),
            player: record.player.clone(),
            said: record.heard.said.clone(),
            heard: stored_chars(&record.heard),
            body,
        })
    }

    pub fn id(&self) -> &[u8] {
        &self.id
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub fn record(self) -> Result<Record, JournalError> {
        let id = Uuid::from_slice(&self.id).map_err(|error| JournalError::Read(error.to_string()))?;
        let chars = self.heard.map(|chars| u64::try_from(chars).unwrap_or(0));
        Ok(Record::decode(Stored {
            id,
            version: self.version,
            kind: self.kind,
            npc: self.npc,
            player: self.player,
            heard: Heard { said: self.said, chars },
            body: self.body,
        })?)
    }
}

fn stored_chars(heard: &Heard) -> Option<i64> {
    heard.chars.map(|chars| i64::try_from(chars).unwrap_or(i64::MAX))
}

/// A connection.
pub(super) struct Store {
    pub(super) connection: SqliteConnection,
    /// Somebody was erased, some time.
    pub(super) has_tombstones: bool,
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

pub(super) fn write_error(error: impl std::fmt::Display) -> JournalError {
    JournalError::Write(error.to_string())
}

pub(super) fn read_error(error: impl std::fmt::Display) -> JournalError {
    JournalError::Read(error.to_string())
}

impl Store {
    /// Opens the database to write, makes it if it is missing, and brings it up to date. `max_mb`: how large it may
    /// become; 0: as large as the disk lets it.
    pub fn writer(path: &Path, max_mb: u64) -> Result<Self, JournalError> {
        let open = |reason: String| JournalError::Open { path: path.to_owned(), reason };
        let mut store = Self::connect(path)?;
        let connection = &mut store.connection;
        // Readers do not wait for the writer, and a commit has reached the disk when it returns.
        let mode: JournalMode = diesel::sql_query("PRAGMA journal_mode = WAL")
            .get_result(connection)
            .map_err(|error| open(error.to_string()))?;
        if mode.journal_mode != "wal" {
            return Err(open("its file system cannot hold a write-ahead log".into()));
        }
        connection
            .batch_execute(&format!(
                "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = {LOG_PAGES}"
            ))
            .map_err(|error| open(error.to_string()))?;
        connection.run_pending_migrations(MIGRATIONS).map_err(|error| open(error.to_string()))?;
        if max_mb > 0 {
            // Of 4096 bytes each, which is what SQLite makes.
            let pages = max_mb.saturating_mul(256);
            connection
                .batch_execute(&format!("PRAGMA max_page_count = {pages}"))
                .map_err(|error| open(error.to_string()))?;
        }
        let erased = tombstones::table.count().get_result::<i64>(connection);
        store.has_tombstones = erased.map_err(|error| open(error.to_string()))? > 0;
        Ok(store)
    }

    /// Opens the database to copy the write-ahead log into it.
    pub fn copier(path: &Path) -> Result<Self, JournalError> {
        let mut store = Self::connect(path)?;
        store.connection.batch_execute("PRAGMA synchronous = FULL").map_err(write_error)?;
        Ok(store)
    }

    /// Copies what the write-ahead log holds, while others go on reading and writing.
    pub fn copy(&mut self) -> Result<(), JournalError> {
        self.connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)").map_err(write_error)
    }

    /// Opens the database to read.
    pub fn reader(path: &Path) -> Result<Self, JournalError> {
        let mut store = Self::connect(path)?;
        store.connection.batch_execute("PRAGMA query_only = ON").map_err(read_error)?;
        Ok(store)
    }

    fn connect(path: &Path) -> Result<Self, JournalError> {
        let open = |reason: String| JournalError::Open { path: path.to_owned(), reason };
        let name = path.to_str().ok_or_else(|| open("the name is no UTF-8".into()))?;
        let mut connection = SqliteConnection::establish(name).map_err(|error| open(error.to_string()))?;
        connection
            .batch_execute(&format!("PRAGMA busy_timeout = {BUSY_MS}"))
            .map_err(|error| open(error.to_string()))?;
        Ok(Self { connection, has_tombstones: false })
    }

    /// Writes all of it and syncs once, or nothing of it. Returns what became of each entry.
    pub fn write(
        &mut self,
        entries: &[&Entry],
        amendments: &[(Uuid, Heard)],
        npcs: &[&NpcRow],
    ) -> Result<Vec<Written>, JournalError> {
        let has_tombstones = self.has_tombstones;
        self.transaction(|connection| {
            let mut written = Vec::with_capacity(entries.len());
            for entry in entries {
                let erased = has_tombstones && is_erased(connection, &entry.row)?;
                written.push(if erased { Written::Erased } else { insert(connection, entry)? });
            }
            for (id, heard) in amendments {
                diesel::update(interactions::table.find(id.as_bytes().as_slice()))
                    .set((interactions::said.eq(&heard.said), interactions::heard.eq(stored_chars(heard))))
                    .execute(connection)?;
            }
            for npc in npcs {
                npc.replace(connection)?;
            }
            Ok(written)
        })
    }

    /// Whether there is room for some turns: writes as much and takes it back.
    pub fn probe(&mut self) -> Result<(), JournalError> {
        let filling = vec![0_u8; PROBE_BYTES];
        self.transaction(|connection| {
            diesel::replace_into(probes::table)
                .values((probes::id.eq(1), probes::filling.eq(&filling)))
                .execute(connection)
        })?;
        diesel::delete(probes::table).execute(&mut self.connection).map_err(write_error)?;
        Ok(())
    }

    /// All of it or nothing. SQLite takes some failed transactions back by itself, and diesel then tells of that alone:
    /// the cause is what is wanted.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, JournalError> {
        let mut cause = None;
        let done = self.connection.immediate_transaction(|connection| {
            work(connection).inspect_err(|error| cause = Some(error.to_string()))
        });
        done.map_err(|error: diesel::result::Error| {
            cause.map_or_else(|| write_error(error), JournalError::Write)
        })
    }

    /// The record with this key.
    pub fn find(&mut self, key: &IdempotencyKey) -> Result<Option<Record>, JournalError> {
        interactions::table
            .filter(interactions::idempotency_key.eq(key.as_slice()))
            .select(Row::as_select())
            .first(&mut self.connection)
            .optional()
            .map_err(read_error)?
            .map(Row::record)
            .transpose()
    }

    /// The last lines of a conversation, newest first.
    pub fn conversation(&mut self, npc: &str, player: &str, limit: i64) -> Result<Vec<Record>, JournalError> {
        let rows = interactions::table
            .filter(interactions::npc.eq(npc).and(interactions::player.eq(player)))
            .filter(interactions::kind.eq(Kind::Dialogue.name()))
            .order(interactions::id.desc())
            .limit(limit)
            .select(Row::as_select())
            .load(&mut self.connection)
            .map_err(read_error)?;
        rows.into_iter().map(Row::record).collect()
    }

    /// What happened with an NPC, newest first; `before`: what is older than this record.
    pub fn page(&mut self, npc: &str, before: Option<Uuid>, limit: i64) -> Result<Vec<Record>, JournalError> {
        let before = before.unwrap_or(Uuid::max());
        let rows = interactions::table
            .filter(interactions::npc.eq(npc).and(interactions::id.lt(before.as_bytes().as_slice())))
            .order(interactions::id.desc())
            .limit(limit)
            .select(Row::as_select())
            .load(&mut self.connection)
            .map_err(read_error)?;
        rows.into_iter().map(Row::record).collect()
    }

    /// What happened with an NPC after this record, oldest first.
    pub fn page_after(&mut self, npc: &str, after: Uuid, limit: i64) -> Result<Vec<Record>, JournalError> {
        let rows = interactions::table
            .filter(interactions::npc.eq(npc).and(interactions::id.gt(after.as_bytes().as_slice())))
            .order(interactions::id.asc())
            .limit(limit)
            .select(Row::as_select())
            .load(&mut self.connection)
            .map_err(read_error)?;
        rows.into_iter().map(Row::record).collect()
    }

    /// The keys behind `after`, in their order, from the index alone.
    pub fn keys(&mut self, after: &[u8], limit: i64) -> Result<Vec<Vec<u8>>, JournalError> {
        interactions::table
            .filter(interactions::idempotency_key.gt(after))
            .order(interactions::idempotency_key.asc())
            .limit(limit)
            .select(interactions::idempotency_key)
            .load(&mut self.connection)
            .map_err(read_error)
    }

    /// The conversations behind this one, in their order, from the index alone.
    pub fn conversations(
        &mut self,
        after: &(String, String),
        limit: i64,
    ) -> Result<Vec<(String, String)>, JournalError> {
        let (npc, player) = after;
        interactions::table
            .filter(interactions::npc.ge(npc))
            .filter(interactions::npc.gt(npc).or(interactions::player.gt(player)))
            .order((interactions::npc.asc(), interactions::player.asc()))
            .limit(limit)
            .select((interactions::npc, interactions::player))
            .distinct()
            .load(&mut self.connection)
            .map_err(read_error)
    }
}

fn insert(connection: &mut SqliteConnection, entry: &Entry) -> QueryResult<Written> {
    let row = &entry.row;
    if diesel::insert_or_ignore_into(interactions::table).values(row).execute(connection)? == 0 {
        return Ok(Written::Known);
    }
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

/// Whether a row began before its player was erased.
fn is_erased(connection: &mut SqliteConnection, row: &Row) -> QueryResult<bool> {
    let before: Option<Vec<u8>> =
        tombstones::table.find(&row.player).select(tombstones::before).first(connection).optional()?;
    Ok(before.is_some_and(|before| row.id < before))
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::history::record::tests::record;

    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = Text)]
        name: String,
    }

    fn tables(store: &mut Store) -> Vec<String> {
        let names: Vec<Name> =
            diesel::sql_query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
                .load(&mut store.connection)
                .unwrap();
        names.into_iter().map(|name| name.name).collect()
    }

    #[test]
    fn migrations_go_up_and_down_and_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let mut store = Store::writer(&path, 0).unwrap();
        let all = [
            "__diesel_schema_migrations",
            "identity",
            "interactions",
            "mentions",
            "npcs",
            "places",
            "probes",
            "tombstones",
        ];
        assert_eq!(tables(&mut store), all);
        store.connection.revert_all_migrations(MIGRATIONS).unwrap();
        assert_eq!(tables(&mut store), all[..1]);
        drop(store);
        let mut store = Store::writer(&path, 0).unwrap();
        assert_eq!(tables(&mut store), all);
        store.write(&[&Entry::new(&record("n", "anna", "t")).unwrap()], &[], &[]).unwrap();
        drop(store);
        assert_eq!(
            Store::writer(&path, 0).unwrap().page("n", None, 5).unwrap().len(),
            1,
            "opened as it was left"
        );
    }

    #[test]
    fn a_commit_is_on_the_disk() {
        #[derive(QueryableByName)]
        struct Level {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            synchronous: i32,
        }
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::writer(&folder.path().join("journal.sqlite"), 0).unwrap();
        let level: Level = diesel::sql_query("PRAGMA synchronous").get_result(&mut store.connection).unwrap();
        assert_eq!(level.synchronous, 2, "FULL");
    }

    #[test]
    fn conversations_and_keys_are_read_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::writer(&folder.path().join("journal.sqlite"), 0).unwrap();
        let mut records = Vec::new();
        for npc in ["a", "b", "c"] {
            for player in ["x", "y"] {
                for turn in ["1", "2"] {
                    records.push(record(npc, player, turn));
                }
            }
        }
        let entries: Vec<_> = records.iter().map(|record| Entry::new(record).unwrap()).collect();
        let written = store.write(&entries.iter().collect::<Vec<_>>(), &[], &[]).unwrap();
        assert!(written.iter().all(|written| *written == Written::New));
        let (mut pairs, mut after) = (Vec::new(), (String::new(), String::new()));
        while let page @ [.., last] = store.conversations(&after, 2).unwrap().as_slice() {
            after = last.clone();
            pairs.extend_from_slice(page);
        }
        let pair = |npc: &str, player: &str| (npc.to_owned(), player.to_owned());
        assert_eq!(pairs, ["a", "b", "c"].map(|npc| [pair(npc, "x"), pair(npc, "y")]).concat());
        let (mut keys, mut after) = (Vec::new(), Vec::new());
        while let page @ [.., last] = store.keys(&after, 5).unwrap().as_slice() {
            after.clone_from(last);
            keys.extend_from_slice(page);
        }
        let mut expected: Vec<_> = records.iter().map(|record| record.key().to_vec()).collect();
        expected.sort();
        assert_eq!(keys, expected);
    }
}
