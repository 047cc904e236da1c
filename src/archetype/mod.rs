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
mod tables;
mod task;
mod traits;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

pub use blocked::{Found, Phrases};
pub use cause::{Cause, UnknownCause};
pub use error::PackError;
pub use face::FaceOverrides;
pub use pack::{Pack, PackAdapter, version_number};
pub use tables::{
    AXES, BodyTable, Factor, GoalDef, GrowthTable, Mark, PersonalityTable, RelationshipTable, Span, Tables,
};
pub use task::{Task, UnknownTask};
pub use traits::{Trait, Traits, UnknownTrait};

/// The packs built into the binary: name and `pack.toml`.
const BUILT_IN: [(&str, &str); 5] = [
    ("ghoul", include_str!("../../adapters/ghoul/pack.toml")),
    ("lich", include_str!("../../adapters/lich/pack.toml")),
    ("vampire", include_str!("../../adapters/vampire/pack.toml")),
    ("werewolf", include_str!("../../adapters/werewolf/pack.toml")),
    ("zombie", include_str!("../../adapters/zombie/pack.toml")),
];

/// All packs of a server. They do not change while it runs.
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

impl Packs {
    /// The packs whose spoken adapters together take more than `most` bytes, and how many.
    pub fn crowded(&self, bytes: impl Fn(&PackAdapter) -> usize, most: usize) -> Vec<(Arc<Pack>, usize)> {
        let together = |pack: &Arc<Pack>| (Arc::clone(pack), pack.spoken().map(&bytes).sum::<usize>());
        self.by_name.values().map(together).filter(|(_, bytes)| *bytes > most).collect()
    }

    /// The packs without the adapters for which `keep` is false.
    #[must_use]
    pub fn with_adapters(&self, keep: impl Fn(&PackAdapter) -> bool) -> Self {
        let filtered = |pack: &Arc<Pack>| {
            let mut pack = Pack::clone(pack);
            pack.adapters.retain(|_, adapter| keep(adapter));
            Arc::new(pack)
        };
        Self { by_name: self.by_name.iter().map(|(name, pack)| (name.clone(), filtered(pack))).collect() }
    }
}

fn read_folder(dir: &Path) -> Result<Vec<Pack>, PackError> {
    let mut packs = Vec::new();
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| PackError::io(dir, &e))? {
        folders.push(entry.map_err(|e| PackError::io(dir, &e))?.path());
    }
    folders.sort();
    for folder in folders {
        let file = folder.join("pack.toml");
        if !file.is_file() {
            continue;
        }
        if packs.len() == limits::PACKS {
            return Err(PackError::new(dir, format!("it holds more than {} packs", limits::PACKS)));
        }
        let text = read_bounded(&file)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut pack = Pack::parse(&text, &name, &file)?;
        pack.adapters = discover::adapters(&folder, &pack)?;
        packs.push(pack);
    }
    if packs.is_empty() {
        return Err(PackError::new(dir, "it holds no pack: a pack is a folder with a pack.toml".to_owned()));
    }
    Ok(packs)
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
