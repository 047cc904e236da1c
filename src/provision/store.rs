//! The records on the disk: a small file for each archetype, and a folder for what its trainer writes.
//!
//! A file is written beside its place, synced, and moved there, so that whenever the process is killed there is the record
//! from before or the one from after.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::fault;
use super::state::{FORMAT, Record};

/// Bytes of a record's file that are read at most.
const MAX_BYTES: u64 = 1 << 20;
/// Records at most: as many as there may be packs.
pub const MAX_RECORDS: usize = 256;

const KIND: &str = "json";
const PARTIAL: &str = "json.partial";
const WORK: &str = "work";

/// The folder `provision` of `server.data`.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("provision");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Every record. A file that cannot be read is logged and left alone.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|kind| kind != KIND) || records.len() == MAX_RECORDS {
                continue;
            }
            match read(&path) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a record of provisioning is passed over");
                }
            }
        }
        Ok(records)
    }

    /// Writes a record; it is on the disk when this returns.
    ///
    /// # Errors
    /// It could not be written; the one from before is still there.
    pub fn save(&self, record: &Record) -> io::Result<()> {
        let place = self.folder.join(&record.archetype).with_extension(KIND);
        let partial = place.with_extension(PARTIAL);
        fault::point("before a record is written");
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        fault::point("while a record is written");
        file.sync_all()?;
        drop(file);
        fault::point("before a record is moved");
        fs::rename(&partial, &place)?;
        sync(&self.folder)?;
        fault::point("behind a record");
        Ok(())
    }

    /// Takes a record away.
    ///
    /// # Errors
    /// It could not.
    pub fn forget(&self, archetype: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(archetype).with_extension(KIND))
    }

    /// Where an archetype's trainer writes.
    pub fn work(&self, archetype: &str) -> PathBuf {
        self.folder.join(archetype).with_extension(WORK)
    }

    /// Takes away what an archetype's trainer wrote.
    ///
    /// # Errors
    /// It could not, or not all of it.
    pub fn clear(&self, archetype: &str) -> io::Result<()> {
        fault::point("before a folder is cleared");
        match fs::remove_dir_all(self.work(archetype)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&crate::config::read_file(path, MAX_BYTES)?)?;
    let named = path.file_stem().is_some_and(|name| *name == *record.archetype);
    if record.format != FORMAT || !named {
        return Err(io::Error::other("it is of another version, or of another archetype"));
    }
    Ok(record)
}

/// Makes what was moved in a folder outlive the machine.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Task;
    use crate::provision::state::Cause;

    #[test]
    fn what_was_saved_is_there_again() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let mut record = Record::new("banshee", Cause::Met, Task::ALL, 5);
        store.save(&record).unwrap();
        record.trained_ms = 9;
        store.save(&record).unwrap();
        store.save(&Record::new("wraith", Cause::Asked, [], 6)).unwrap();
        let mut found = Store::open(data.path()).unwrap().load().unwrap();
        found.sort_by_key(|record| record.requested_ms);
        assert_eq!((&found[0], found[1].archetype.as_str(), found.len()), (&record, "wraith", 2));
    }

    #[test]
    fn what_is_no_record_is_passed_over_and_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let at = |name: &str| store.folder.join(name);
        fs::write(at("ghoul.json"), b"{").unwrap();
        fs::write(at("lich.json.partial"), b"{}").unwrap();
        let stranger = Record::new("vampire", Cause::Asked, [], 6);
        fs::write(at("zombie.json"), serde_json::to_vec(&stranger).unwrap()).unwrap();
        let newer = Record { format: 2, ..Record::new("wraith", Cause::Asked, [], 6) };
        fs::write(at("wraith.json"), serde_json::to_vec(&newer).unwrap()).unwrap();
        assert_eq!(store.load().unwrap(), []);
        assert!(at("ghoul.json").exists());
    }

    #[test]
    fn clearing_what_is_not_there_is_done() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        fs::create_dir_all(store.work("banshee").join("out")).unwrap();
        store.clear("banshee").unwrap();
        store.clear("banshee").unwrap();
        assert!(!store.work("banshee").exists());
    }
}
