//! What was promoted, on the disk: a server that starts again goes on with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archetype::{Task, version_number};

/// In the folder `server.data`.
const FILE: &str = "adapters.json";
const FORMAT: u32 = 1;
/// Bytes of the file.
const MAX_BYTES: u64 = 4 << 20;
/// Versions that can be gone back to.
const EARLIER: usize = 16;

/// What was promoted of one task's adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promoted {
    /// `None`: only a trial was begun.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "number::option")]
    pub version: Option<u32>,
    /// What was in use before, the last one at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "number::list")]
    pub earlier: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<OnTrial>,
}

/// A version on trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnTrial {
    #[serde(with = "number")]
    pub version: u32,
    pub share: f32,
}

impl Promoted {
    /// Another version after `now`, which can be gone back to.
    pub fn follow(&mut self, version: u32, now: Option<u32>) {
        self.canary = None;
        self.version = Some(version);
        if let Some(now) = now.filter(|now| *now != version) {
            self.earlier.push(now);
        }
        let spare = self.earlier.len().saturating_sub(EARLIER);
        self.earlier.drain(..spare);
    }
}

/// Archetype → task → what was promoted. What nobody promoted is not in it.
pub type State = BTreeMap<String, BTreeMap<Task, Promoted>>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    archetypes: State,
}

/// Why what was promoted cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct StateError {
    pub path: PathBuf,
    pub reason: String,
}

/// The file.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    pub fn new(data: &Path) -> Self {
        Self { folder: data.to_owned() }
    }

    fn error(&self, reason: &impl ToString) -> StateError {
        StateError { path: self.folder.join(FILE), reason: reason.to_string() }
    }

    /// What was promoted; nothing if there is no file.
    ///
    /// # Errors
    /// [`StateError`]: going on with other versions than those that were promoted would be no better.
    pub fn read(&self) -> Result<State, StateError> {
        let file = match File::open(self.folder.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::new()),
            Err(error) => return Err(self.error(&error)),
        };
        let mut text = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| self.error(&error))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(self.error(&format!("it has more than {MAX_BYTES} bytes")));
        }
        let written: Written = serde_json::from_slice(&text).map_err(|error| self.error(&error))?;
        if written.format != FORMAT {
            return Err(
                self.error(&format!("its format is {}, and this version reads {FORMAT}", written.format))
            );
        }
        Ok(written.archetypes)
    }

    /// Replaces the file; when this returns it is on the disk. Blocks.
    ///
    /// # Errors
    /// [`StateError`]: the file is as it was.
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            let written = Written { format: FORMAT, archetypes: state.clone() };
            serde_json::to_writer_pretty(&mut file, &written)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(self.folder.join(FILE)).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| self.error(&error))
    }
}

/// Numbers of versions are written as their folders are named: `v3`.
mod number {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::version_number;

    fn parse<E: de::Error>(text: &str) -> Result<u32, E> {
        version_number(text).ok_or_else(|| E::custom(format!("{text:?} is no version such as \"v1\"")))
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
    pub fn serialize<S: Serializer>(number: &u32, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("v{number}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        parse(&String::deserialize(from)?)
    }

    pub mod option {
        use super::{Deserialize, Deserializer, Serializer, parse};

        #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)] // As serde calls it.
        pub fn serialize<S: Serializer>(number: &Option<u32>, out: S) -> Result<S::Ok, S::Error> {
            match number {
                Some(number) => super::serialize(number, out),
                None => out.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
            Option::<String>::deserialize(from)?.map(|text| parse(&text)).transpose()
        }
    }

    pub mod list {
        use super::{Deserialize, Deserializer, Serializer, parse};

        pub fn serialize<S: Serializer>(numbers: &[u32], out: S) -> Result<S::Ok, S::Error> {
            out.collect_seq(numbers.iter().map(|number| format!("v{number}")))
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
            Vec::<String>::deserialize(from)?.iter().map(|text| parse(text)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("data"));
        assert_eq!(store.read().unwrap(), State::new());
        let mut promoted = Promoted { version: None, earlier: Vec::new(), canary: None };
        promoted.follow(1, None);
        promoted.follow(2, Some(1));
        promoted.canary = Some(OnTrial { version: 3, share: 0.25 });
        let state = State::from([("imp".to_owned(), BTreeMap::from([(Task::Personality, promoted)]))]);
        store.write(&state).unwrap();
        assert_eq!(store.read().unwrap(), state);
        let file = folder.path().join("data").join(FILE);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("\"earlier\": [\n          \"v1\"\n        ]"), "{text}");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
        let damaged = [
            (&text[..40], "EOF"),
            (&text.replace("\"v2\"", "\"../v2\"")[..], "no version such as"),
            (&text.replace("\"format\": 1", "\"format\": 2")[..], "its format is 2"),
        ];
        for (text, wanted) in damaged {
            fs::write(&file, text).unwrap();
            let error = store.read().unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_way_back_is_bounded() {
        let mut promoted = Promoted { version: None, earlier: Vec::new(), canary: None };
        for version in 1..=40 {
            promoted.follow(version, promoted.version);
        }
        assert_eq!(
            (promoted.version, promoted.earlier.len(), promoted.earlier.last()),
            (Some(40), EARLIER, Some(&39))
        );
        promoted.follow(40, Some(40));
        assert_eq!(promoted.earlier.last(), Some(&39));
    }
}
