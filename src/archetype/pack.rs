use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::blocked::{self, Phrases};
use super::tables::{self, Tables};
use super::{FaceOverrides, PackError, Task, UnknownTask, Versions, limits, services};
use crate::wire::ChainServices;

/// An archetype: who its characters are, how they speak, what they know, and its adapters.
///
/// In `persona`, `speech` and `lore`, `{name}` stands for the character's name.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    /// Name of the archetype and of the pack's folder: `[a-z0-9_-]{1,32}`.
    pub name: String,
    /// What people call it: "Vampire". 1 to 40 characters.
    pub title: String,
    /// Names for characters that come without one; at least 1, at most 256.
    pub names: Vec<String>,
    /// Who the character is, in the second person. 1 to 1,000 characters.
    pub persona: String,
    /// How it speaks: rules or example lines. At most 16 of at most 300 characters.
    pub speech: Vec<String>,
    /// What it knows: one fact each. At most 16 of at most 300 characters.
    pub lore: Vec<String>,
    /// Weights of tasks' adapters that the file names, -2 to 2; see [`Self::weight`].
    pub mix: BTreeMap<Task, f32>,
    /// Lines that it says instead of an answer while the server is overloaded; 1 to 64.
    pub overload_lines: Vec<String>,
    /// Characters a second that it speaks; `None`: as the server's setting says. 1 to 1,000.
    pub speech_rate: Option<f32>,
    /// A player's line with one of these is not answered.
    pub blocked_input: Phrases,
    /// An answer ends before one of these.
    pub blocked_output: Phrases,
    /// How its faces differ from others.
    pub face: FaceOverrides,
    /// What makes one of its characters differ from the next.
    pub tables: Tables,
    /// What runs elsewhere for its characters.
    pub services: Option<ChainServices>,
    /// The versions of each task's adapter that lie in its folder, by number.
    pub versions: Versions,
    /// Versions that the file asks for.
    pub(super) pinned: BTreeMap<Task, u32>,
}

/// A trained adapter of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackAdapter {
    /// `ARCHETYPE.TASK`, for example `vampire.dialogue_style`.
    pub id: String,
    pub task: Task,
    /// `v1`, `v2`, …
    pub version: String,
    /// The folder with `adapter_config.json` and `adapter_model.safetensors`.
    pub dir: PathBuf,
}

impl Pack {
    /// The version that the file asks for, which no promotion changes.
    pub fn pinned(&self, task: Task) -> Option<u32> {
        self.pinned.get(&task).copied()
    }

    /// The version of each task that is used when nothing else was promoted: the one that the file asks for, else the
    /// highest.
    pub fn adapters<'a>(&'a self) -> BTreeMap<Task, &'a PackAdapter> {
        let chosen = |(task, versions): (&Task, &'a BTreeMap<u32, PackAdapter>)| {
            let adapter = match self.pinned.get(task) {
                Some(number) => versions.get(number),
                None => versions.values().next_back(),
            };
            adapter.map(|adapter| (*task, adapter))
        };
        self.versions.iter().filter_map(chosen).collect()
    }

    /// The weight of a task's adapter, -2 to 2. Where the file names none, each adapter that speaks, of `speaking` in a
    /// line, has an equal part of 1: they have learned from the same lines, and several as strong as one alone would say
    /// everything several times over. What chooses is alone, and has 1.
    pub fn weight(&self, task: Task, speaking: usize) -> f32 {
        let part = if Task::SPOKEN.contains(&task) { 1.0 / speaking.max(1) as f32 } else { 1.0 };
        self.mix.get(&task).copied().unwrap_or(part)
    }
}

impl PackAdapter {
    /// `ARCHETYPE.TASK@VERSION`: what the engine knows it by.
    pub fn key(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }
}

/// `pack.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    names: Vec<String>,
    persona: String,
    #[serde(default)]
    speech: Vec<String>,
    #[serde(default)]
    lore: Vec<String>,
    overload_lines: Vec<String>,
    speech_rate: Option<f32>,
    #[serde(default)]
    blocked: blocked::File,
    #[serde(default)]
    mix: BTreeMap<String, f32>,
    #[serde(default)]
    face: FaceOverrides,
    #[serde(default)]
    services: services::File,
    #[serde(default)]
    versions: BTreeMap<String, String>,
    #[serde(default)]
    personality: tables::PersonalityFile,
    #[serde(default)]
    body: tables::BodyFile,
    #[serde(default)]
    relationship: tables::RelationshipFile,
    #[serde(default)]
    growth: tables::GrowthFile,
    #[serde(default)]
    goals: Vec<tables::GoalFile>,
}

impl Pack {
    /// Reads the text of a `pack.toml`; its `name` must be `folder`, the name of the folder that it is in.
    /// Errors name `path` and the key. The pack has no adapters yet.
    pub(super) fn parse(text: &str, folder: &str, path: &Path) -> Result<Self, PackError> {
        let toml = toml::Deserializer::parse(text).map_err(|e| syntax_error(path, text, &e))?;
        let file: File = serde_path_to_error::deserialize(toml).map_err(|e| {
            let key = e.path().to_string();
            let reason = e.inner().message().to_owned();
            if key == "." { PackError::new(path, reason) } else { PackError::at(path, key, reason) }
        })?;
        let check = Check { path };
        check.archetype_name(&file.name, folder)?;
        check.text("title", &file.title, limits::NAME_CHARS)?;
        check.list("names", &file.names, 1, limits::NAMES, limits::NAME_CHARS)?;
        check.text("persona", &file.persona, limits::PERSONA_CHARS)?;
        check.list("speech", &file.speech, 0, limits::RULES, limits::RULE_CHARS)?;
        check.list("lore", &file.lore, 0, limits::RULES, limits::RULE_CHARS)?;
        check.list("overload_lines", &file.overload_lines, 1, limits::LINES, limits::LINE_CHARS)?;
        if let Some(rate) = file.speech_rate.filter(|rate| !limits::SPEECH_RATE.contains(rate)) {
            let reason = format!("it is {rate}, but must be from 1 to 1000 characters a second");
            return Err(PackError::at(path, "speech_rate", reason));
        }
        let blocked::File { input, output } = file.blocked;
        check.list("blocked.input", &input, 0, limits::PHRASES, limits::PHRASE_CHARS)?;
        check.list("blocked.output", &output, 0, limits::PHRASES, limits::PHRASE_CHARS)?;
        let mut mix = BTreeMap::new();
        for (name, weight) in file.mix {
            if !(-limits::WEIGHT..=limits::WEIGHT).contains(&weight) {
                let reason = format!("it is {weight}, but must be from -{0} to {0}", limits::WEIGHT);
                return Err(PackError::at(path, format!("mix.{name}"), reason));
            }
            mix.insert(check.task("mix", &name)?, weight);
        }
        let mut pinned = BTreeMap::new();
        for (name, version) in file.versions {
            let number = version_number(&version).ok_or_else(|| {
                let reason = format!("it is {version:?}, but must be a version such as \"v1\"");
                PackError::at(path, format!("versions.{name}"), reason)
            })?;
            pinned.insert(check.task("versions", &name)?, number);
        }
        file.face.check().map_err(|(key, reason)| PackError::at(path, key, reason))?;
        let services = file.services.read().map_err(|(key, reason)| PackError::at(path, key, reason))?;
        let written = tables::Written {
            personality: file.personality,
            body: file.body,
            relationship: file.relationship,
            growth: file.growth,
            goals: file.goals,
        };
        Ok(Self {
            tables: Tables::new(written, path)?,
            name: file.name,
            title: file.title,
            names: file.names,
            persona: file.persona,
            speech: file.speech,
            lore: file.lore,
            mix,
            overload_lines: file.overload_lines,
            speech_rate: file.speech_rate,
            blocked_input: Phrases::new(&input),
            blocked_output: Phrases::new(&output),
            face: file.face,
            services,
            versions: BTreeMap::new(),
            pinned,
        })
    }
}

/// `v12` → 12. No leading zeros, so that a number has one spelling.
pub fn version_number(version: &str) -> Option<u32> {
    let digits = version.strip_prefix('v')?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|&number| plain && number <= limits::VERSION)
}

/// Whether a text may be the name of an archetype.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(allowed)
}

/// A syntax error with its line, which the parser knows as a byte offset.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> PackError {
    let line = error.span().map_or(1, |span| {
        let before = text.as_bytes().iter().take(span.start);
        before.filter(|&&byte| byte == b'\n').count() + 1
    });
    PackError::new(path, format!("line {line}: {}", error.message()))
}

/// Checks the values of one file.
struct Check<'a> {
    path: &'a Path,
}

impl Check<'_> {
    fn archetype_name(&self, name: &str, folder: &str) -> Result<(), PackError> {
        if !is_name(name) {
            let reason = format!("it is {name:?}, but must be 1 to 32 of a-z, 0-9, _ and -");
            return Err(PackError::at(self.path, "name", reason));
        }
        if name != folder {
            let reason = format!("it is {name:?}, but the pack's folder is named {folder:?}");
            return Err(PackError::at(self.path, "name", reason));
        }
        Ok(())
    }

    /// A key of a table that has one entry for each task.
    fn task(&self, table: &str, name: &str) -> Result<Task, PackError> {
        name.parse()
            .map_err(|e: UnknownTask| PackError::at(self.path, format!("{table}.{name}"), e.to_string()))
    }

    /// One text: not blank, not too long, printable. Line breaks are allowed.
    fn text(&self, key: &str, text: &str, limit: usize) -> Result<(), PackError> {
        let fail = |reason: String| Err(PackError::at(self.path, key, reason));
        let chars = text.chars().count();
        if text.trim().is_empty() {
            return fail("it is empty".to_owned());
        }
        if chars > limit {
            return fail(format!("it has {chars} characters, at most {limit} are allowed"));
        }
        if let Some(control) = text.chars().find(|&c| c.is_control() && c != '\n') {
            return fail(format!("it holds the control character U+{:04X}", u32::from(control)));
        }
        Ok(())
    }

    fn list(
        &self,
        key: &str,
        list: &[String],
        min: usize,
        max: usize,
        chars: usize,
    ) -> Result<(), PackError> {
        if !(min..=max).contains(&list.len()) {
            let reason = format!("it has {} entries, but must have {min} to {max}", list.len());
            return Err(PackError::at(self.path, key, reason));
        }
        list.iter().enumerate().try_for_each(|(i, text)| self.text(&format!("{key}[{i}]"), text, chars))
    }
}
