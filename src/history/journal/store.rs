//! The journal's database: one connection, opened for what it is for, and kept up to date.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::migration::Migration;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::JournalError;
use super::schema::{probes, tombstones};

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// What a probe writes: room for some turns.
const PROBE_BYTES: usize = 256 << 10;

/// Pages of the write-ahead log at which the writer copies what is left of it into the database by itself: 64 MiB. Until
/// then a thread of its own does it, and no turn waits for that.
const LOG_PAGES: u32 = 16_384;

/// How long a statement waits for another process that holds the database, such as a backup.
const BUSY_MS: u32 = 1000;

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
        let mut store = Self::connect(path, true)?;
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
        let mut store = Self::connect(path, true)?;
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
        let mut store = Self::connect(path, false)?;
        store.connection.batch_execute("PRAGMA synchronous = FULL").map_err(write_error)?;
        Ok(store)
    }

    /// Copies what the write-ahead log holds, while others go on reading and writing.
    pub fn copy(&mut self) -> Result<(), JournalError> {
        self.connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)").map_err(write_error)
    }

    /// Opens the database to read.
    pub fn reader(path: &Path) -> Result<Self, JournalError> {
        let mut store = Self::connect(path, false)?;
        store.connection.batch_execute("PRAGMA query_only = ON").map_err(read_error)?;
        Ok(store)
    }

    /// `make`: also if there is no file yet.
    fn connect(path: &Path, make: bool) -> Result<Self, JournalError> {
        let open = |reason: String| JournalError::Open { path: path.to_owned(), reason };
        let plain = path.to_str().ok_or_else(|| open("the name is no UTF-8".into()))?;
        // What has a meaning in a URI is written as its code.
        let coded = plain.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let name = format!("file:{coded}?mode={}", if make { "rwc" } else { "rw" });
        let mut connection = SqliteConnection::establish(&name).map_err(|error| open(error.to_string()))?;
        connection
            .batch_execute(&format!("PRAGMA busy_timeout = {BUSY_MS}"))
            .map_err(|error| open(error.to_string()))?;
        Ok(Self { connection, has_tombstones: false })
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
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Found;
    use super::super::row::{Entry, Row};
    use super::super::schema::interactions;
    use super::super::write::{Batch, Written};
    use super::*;
    use crate::history::record::Record;
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
        let mut old = Store::connect(&path, true).unwrap();
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
    fn any_name_will_do_and_only_a_writer_makes_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("100% d'été? #1 %3f");
        assert!(Store::reader(&path).is_err() && Store::copier(&path).is_err());
        assert!(!path.exists());
        drop(Store::writer(&path, 0).unwrap());
        assert!(path.exists());
        assert_eq!(Store::reader(&path).unwrap().count().unwrap(), 0);
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
