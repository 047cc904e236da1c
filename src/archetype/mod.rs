//! Archetype packs: what makes a vampire a vampire.
//!
//! A pack is a folder named after its archetype, with a `pack.toml` (who such a character is and how it
//! speaks) and, once they are trained, its adapters: `TASK/vN/adapter_config.json` and
//! `adapter_model.safetensors`. `adapters/README.md` describes every key. Five packs are built into the binary.

mod blocked;
mod cause;
mod discover;
mod error;
mod face;
mod limits;
mod pack;
mod services;
mod tables;
mod task;
mod traits;
mod version;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use blocked::{Found, Phrases};
pub use cause::{Cause, UnknownCause};
pub use discover::Versions;
pub(crate) use discover::stays_inside;
pub use error::PackError;
pub use face::FaceOverrides;
pub use pack::{Pack, PackAdapter, version_number};
pub use tables::{
    AXES, BodyTable, Factor, GoalDef, GrowthTable, Mark, PersonalityTable, RelationshipTable, Span, Tables,
};
pub use task::{Task, UnknownTask};
pub use traits::{Trait, Traits, UnknownTrait};
pub use version::{Metrics, VersionFiles};

/// The packs built into the binary: name and `pack.toml`.
const BUILT_IN: [(&str, &str); 5] = [
    ("ghoul", include_str!("../../adapters/ghoul/pack.toml")),
    ("lich", include_str!("../../adapters/lich/pack.toml")),
    ("vampire", include_str!("../../adapters/vampire/pack.toml")),
    ("werewolf", include_str!("../../adapters/werewolf/pack.toml")),
    ("zombie", include_str!("../../adapters/zombie/pack.toml")),
];

/// The packs of a folder, as they are when it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Packs {
    by_name: BTreeMap<String, Arc<Pack>>,
}

impl Packs {
    /// Reads the packs of a folder, at most 256; `None`: those built into the binary, without adapters.
    ///
    /// Every folder in it that has a `pack.toml` is a pack; the rest is left alone. An error names the file
    /// and the key, and no pack is left out silently.
    pub fn load(dir: Option<&Path>) -> Result<Self, PackError> {
        let packs = match dir {
            None => BUILT_IN
                .iter()
                .map(|(name, text)| Pack::parse(text, name, &Path::new(name).join("pack.toml")))
                .collect::<Result<Vec<_>, _>>()?,
            Some(dir) => read_folder(dir)?,
        };
        Ok(Self { by_name: packs.into_iter().map(|pack| (pack.name.clone(), Arc::new(pack))).collect() })
    }

    /// The pack of an archetype.
    pub fn get(&self, name: &str) -> Option<&Arc<Pack>> {
        self.by_name.get(name)
    }

    /// The archetypes, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The packs, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.by_name.values()
    }
}

/// Whether a pack's folder has a name that an archetype can have.
///
/// # Errors
/// What is allowed.
pub fn check_name(dir: &Path, name: &str) -> Result<(), PackError> {
    if pack::is_name(name) {
        return Ok(());
    }
    Err(PackError::new(&dir.join(name), "a pack's folder is named by 1 to 32 of a-z 0-9 _ -".to_owned()))
}

/// Reads one pack of a folder; `None`: there is none of that name.
///
/// # Errors
/// [`PackError`].
pub fn read_pack(dir: &Path, name: &str) -> Result<Option<Pack>, PackError> {
    // A name is never a path.
    if !pack::is_name(name) || !dir.join(name).join("pack.toml").is_file() {
        return Ok(None);
    }
    read_one(&dir.join(name)).map(Some)
}

/// Finds the versions of a known pack's adapters anew. One that is not complete may still be on its way.
///
/// # Errors
/// [`PackError`].
pub fn read_versions(dir: &Path, pack: &Pack) -> Result<Versions, PackError> {
    discover::versions(&dir.join(&pack.name), pack, false)
}

/// One version of a known pack's adapter; `None`: there is no such folder.
///
/// # Errors
/// [`PackError`] if it is not complete, or leads out of the pack's folder.
pub fn read_version(
    dir: &Path,
    pack: &Pack,
    task: Task,
    version: u32,
) -> Result<Option<PackAdapter>, PackError> {
    let folder = dir.join(&pack.name);
    if !folder.join(task.name()).join(format!("v{version}")).is_dir() {
        return Ok(None);
    }
    discover::version(&folder, pack, task, version).map(Some)
}

/// Names of the packs of a folder, whether they can be read or not, at most as many as a server has.
///
/// # Errors
/// [`PackError`].
pub fn pack_names(dir: &Path) -> Result<Vec<String>, PackError> {
    let names =
        pack_folders(dir)?.into_iter().filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()));
    Ok(names.take(limits::PACKS).collect())
}

/// Whether a folder holds a pack.
pub fn holds_packs(dir: &Path) -> bool {
    pack_folders(dir).is_ok_and(|folders| !folders.is_empty())
}

/// The folders in a folder that have a `pack.toml`, sorted.
fn pack_folders(dir: &Path) -> Result<Vec<PathBuf>, PackError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| PackError::io(dir, &e))? {
        let folder = entry.map_err(|e| PackError::io(dir, &e))?.path();
        if folder.join("pack.toml").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

fn read_folder(dir: &Path) -> Result<Vec<Pack>, PackError> {
    let folders = pack_folders(dir)?;
    if folders.len() > limits::PACKS {
        return Err(PackError::new(dir, format!("it holds more than {} packs", limits::PACKS)));
    }
    if folders.is_empty() {
        return Err(PackError::new(dir, "it holds no pack: a pack is a folder with a pack.toml".to_owned()));
    }
    folders.iter().map(|folder| read_one(folder)).collect()
}

fn read_one(folder: &Path) -> Result<Pack, PackError> {
    let file = folder.join("pack.toml");
    discover::stays_inside(folder, &file)?;
    let text = read_bounded(&file)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut pack = Pack::parse(&text, &name, &file)?;
    pack.versions = discover::versions(folder, &pack, true)?;
    Ok(pack)
}

fn read_bounded(file: &Path) -> Result<String, PackError> {
    let bytes = fs::metadata(file).map_err(|e| PackError::io(file, &e))?.len();
    if bytes > limits::FILE_BYTES {
        return Err(PackError::new(
            file,
            format!("it has {bytes} bytes, at most {} are read", limits::FILE_BYTES),
        ));
    }
    fs::read_to_string(file).map_err(|e| PackError::io(file, &e))
}
