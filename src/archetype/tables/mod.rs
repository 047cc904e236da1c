//! The tables of a `pack.toml` that make one character differ from the next. What a pack leaves out of them is that of
//! `adapters/defaults.toml`; lists and maps are laid over each other key by key.

mod body;
mod goals;
mod growth;
mod personality;
mod relationship;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

pub use body::{BodyTable, Mark, Span};
pub use goals::GoalDef;
pub use growth::GrowthTable;
pub use personality::{Factor, PersonalityTable};
pub use relationship::{AXES, RelationshipTable};

pub(super) use body::Written as BodyFile;
pub(super) use goals::Written as GoalFile;
pub(super) use growth::Written as GrowthFile;
pub(super) use personality::Written as PersonalityFile;
pub(super) use relationship::Written as RelationshipFile;

use super::PackError;

/// Characters of a key and of a reason in an error.
const ERROR_CHARS: usize = 300;

/// The tables as they are written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Written {
    pub personality: PersonalityFile,
    pub body: BodyFile,
    pub relationship: RelationshipFile,
    pub growth: GrowthFile,
    pub goals: Vec<GoalFile>,
}

/// What each character of an archetype is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Tables {
    pub personality: PersonalityTable,
    pub body: BodyTable,
    pub relationship: RelationshipTable,
    pub growth: GrowthTable,
    /// In the order of the file.
    pub goals: Vec<GoalDef>,
}

/// What packs leave out. It is part of the program: that it can be read is a test's business.
static DEFAULTS: LazyLock<Written> =
    LazyLock::new(|| toml::from_str(include_str!("../../../adapters/defaults.toml")).unwrap_or_default());

impl Tables {
    /// Errors name `path` and the key.
    pub(super) fn new(written: Written, path: &Path) -> Result<Self, PackError> {
        let defaults = &*DEFAULTS;
        let at = At { path };
        Ok(Self {
            personality: written.personality.over(&defaults.personality).check(&at)?,
            body: written.body.over(&defaults.body).check(&at)?,
            relationship: written.relationship.over(&defaults.relationship).check(&at)?,
            growth: written.growth.over(&defaults.growth).check(&at)?,
            goals: goals::check(written.goals, &at)?,
        })
    }
}

/// Where a value stands.
struct At<'a> {
    path: &'a Path,
}

impl At<'_> {
    fn fail<T>(&self, key: impl Into<String>, reason: impl Into<String>) -> Result<T, PackError> {
        Err(PackError::at(self.path, shortened(key.into()), shortened(reason.into())))
    }

    /// A number within bounds.
    fn number(&self, key: &str, value: f64, (from, to): (f64, f64)) -> Result<f64, PackError> {
        if (from..=to).contains(&value) {
            return Ok(value);
        }
        self.fail(key, format!("it is {value}, but must be from {from} to {to}"))
    }

    /// Something that a name stands for.
    fn named<T: std::str::FromStr<Err: ToString>>(&self, key: &str, name: &str) -> Result<T, PackError> {
        name.parse().or_else(|error: T::Err| self.fail(key, error.to_string()))
    }

    /// An id: `[a-z0-9_-]{1,32}`.
    fn id(&self, key: &str, id: &str) -> Result<(), PackError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if (1..=32).contains(&id.len()) && id.bytes().all(allowed) {
            return Ok(());
        }
        self.fail(key, format!("it is {id:?}, but must be 1 to 32 of a-z, 0-9, _ and -"))
    }

    /// A text that ends in prompts: not blank, printable, on one line.
    fn text(&self, key: &str, text: &str, most: usize) -> Result<(), PackError> {
        let chars = text.chars().count();
        if text.trim().is_empty() {
            return self.fail(key, "it is empty");
        }
        if chars > most {
            return self.fail(key, format!("it has {chars} characters, at most {most} are allowed"));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(control) => {
                self.fail(key, format!("it holds the control character U+{:04X}", u32::from(control)))
            }
            None => Ok(()),
        }
    }

    fn at_most(&self, key: &str, count: usize, most: usize) -> Result<(), PackError> {
        if count <= most {
            return Ok(());
        }
        self.fail(key, format!("it has {count} entries, at most {most} are allowed"))
    }
}

/// What a file has in it may be long.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(ERROR_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// One map of maps over another.
fn overlaid<K: Ord + Clone, L: Ord + Clone, V: Clone>(
    mut over: BTreeMap<K, BTreeMap<L, V>>,
    under: &BTreeMap<K, BTreeMap<L, V>>,
) -> BTreeMap<K, BTreeMap<L, V>> {
    for (key, entries) in under {
        let own = over.entry(key.clone()).or_default();
        for (name, value) in entries {
            own.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    over
}
