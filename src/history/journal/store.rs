//! The journal's database: one connection, and every statement that is made on it.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::migration::Migration;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use uuid::Uuid;

use super::leaving::{Archived, amend_later, leave};
use super::npcs::NpcRow;
use super::places::PlaceRow;
use super::schema::{amendments, conversations, identity, interactions, keys, mentions, probes, tombstones};
use super::{Found, JournalError};
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
            heard: record.heard.stored_chars(),
            body,
        })
    }

    pub fn id(&self) -> &[u8] {
        &self.id
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// What it is kept for as long as there is a store.
    pub fn key(&self) -> &[u8] {
        &self.idempotency_key
    }

    pub fn record(self) -> Result<Record, JournalError> {
        Ok(Record::decode(self.stored()?)?)
    }

    pub fn stored(self) -> Result<Stored, JournalError> {
        Ok(Stored {
            id: uuid(&self.id)?,
            version: self.version,
            kind: self.kind,
            npc: self.npc,
            player: self.player,
            heard: Heard::from_stored(self.said, self.heard),
            body: self.body,
        })
    }
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, JournalError> {
    Uuid::from_slice(bytes).map_err(read_error)
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

    /// Migrates the database, up or so many down, and says what was done.
    pub fn migrate(path: &Path, down: Option<usize>) -> Result<Vec<String>, JournalError> {
        let open = |reason: String| JournalError::Open { path: path.to_owned(), reason };
        let mut store = Self::connect(path)?;
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| open(error.to_string());
        let mut done = Vec::new();
        if let Some(count) = down {
            while done.len() < count && !store.connection.applied_migrations().map_err(failed)?.is_empty() {
                let version = store.connection.revert_last_migration(MIGRATIONS).map_err(failed)?;
                done.push(version.to_string());
            }
            return Ok(done);
        }
        let pending: Vec<Box<dyn Migration<Sqlite>>> =
            store.connection.pending_migrations(MIGRATIONS).map_err(failed)?;
        for migration in pending {
            store.connection.run_migration(&migration).map_err(failed)?;
            done.push(migration.name().to_string());
        }
        Ok(done)
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

    fn write(store: &mut Store, records: &[Record]) {
        let entries: Vec<_> = records.iter().map(|record| Entry::new(record).unwrap()).collect();
        let done = store.write(&Batch { entries: entries.iter().collect(), ..Batch::default() }).unwrap();
        assert!(done.written.iter().all(|written| *written == Written::New));
    }

    #[test]
    fn migrations_go_up_and_down_and_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let mut store = Store::writer(&path, 0).unwrap();
        let all = [
            "__diesel_schema_migrations",
            "amendments",
            "conversations",
            "identity",
            "interactions",
            "keys",
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
        write(&mut store, &[record("n", "anna", "t")]);
        drop(store);
        assert_eq!(
            Store::writer(&path, 0).unwrap().page("n", None, 5).unwrap().len(),
            1,
            "opened as it was left"
        );
    }

    #[test]
    fn a_database_of_the_first_migration_opens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let mut old = Store::connect(&path).unwrap();
        old.connection.run_next_migration(MIGRATIONS).unwrap();
        let record = record("n", "anna", "t");
        let row = Row::new(&record).unwrap();
        diesel::insert_into(interactions::table).values(&row).execute(&mut old.connection).unwrap();
        drop(old);
        let mut store = Store::writer(&path, 0).unwrap();
        let found = store.find(&record.key()).unwrap();
        assert!(matches!(found, Some(Found::Here(found)) if *found == record));
        assert_eq!(store.conversations(&(String::new(), String::new()), 5).unwrap().len(), 1);
        let entry = Entry::new(&record).unwrap();
        let again = store.write(&Batch { entries: vec![&entry], ..Batch::default() }).unwrap();
        assert_eq!(again.written, [Written::Known], "its turn is known");
        let identity = store.identity().unwrap();
        drop(store);
        // And down to it, and up: the row stays.
        let mut store = Store::writer(&path, 0).unwrap();
        assert_eq!(store.identity().unwrap(), identity);
        store.connection.revert_last_migration(MIGRATIONS).unwrap();
        drop(store);
        assert_eq!(Store::writer(&path, 0).unwrap().page("n", None, 5).unwrap(), [record]);
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
        write(&mut store, &records);
        let (mut pairs, mut after) = (Vec::new(), (String::new(), String::new()));
        while let page @ [.., last] = store.conversations(&after, 2).unwrap().as_slice() {
            after = last.clone();
            pairs.extend_from_slice(page);
        }
        let pair = |player: &str, npc: &str| (player.to_owned(), npc.to_owned());
        assert_eq!(pairs, ["x", "y"].map(|player| ["a", "b", "c"].map(|npc| pair(player, npc))).concat());
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
