//! `visemes.toml`: spellings, what the mouth shows of them, and what of a feeling gives way to it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::arkit::Units;
use super::emotions::strengths;
use super::error::{Source, TableError};

const FILE: &str = "visemes.toml";
/// Letters of a spelling.
const LONGEST: usize = 8;
const MOST_VISEMES: usize = 64;
const MOST_SPELLINGS: usize = 4096;
/// Visemes of one spelling.
const MOST_SOUNDS: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    visemes: BTreeMap<String, Row>,
    lock: BTreeMap<String, f32>,
    shut: BTreeMap<String, f32>,
    text: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    units: BTreeMap<String, f32>,
    #[serde(default = "whole")]
    lock: f32,
    rank: u8,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    vowel: bool,
}

fn whole() -> f32 {
    1.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    rest: String,
    other: Vec<String>,
    spellings: BTreeMap<String, Vec<String>>,
    endings: BTreeMap<String, Vec<String>>,
    fold: BTreeMap<char, String>,
}

/// What the mouth shows of a sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Viseme {
    pub name: String,
    pub units: Vec<(usize, f32)>,
    pub lock: f32,
    pub rank: u8,
    pub closed: bool,
    pub vowel: bool,
}

/// The visemes of a spelling, by number.
pub type Spelling = Vec<usize>;

#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    visemes: Vec<Viseme>,
    /// The viseme of silence.
    pub rest: usize,
    /// By unit: how much of a feeling's gives way.
    pub lock: Vec<f32>,
    /// By unit: how much of a feeling's gives way from the first sound to the end of the line.
    pub shut: Vec<f32>,
    /// Characters at which the mouth comes to rest.
    pub stops: Vec<char>,
    pub other: Spelling,
    spellings: BTreeMap<String, Spelling>,
    endings: BTreeMap<String, Spelling>,
    fold: BTreeMap<char, char>,
    /// Letters of the longest spelling.
    pub longest: usize,
}

impl Speech {
    pub fn read(text: &str, units: &Units) -> Result<Self, TableError> {
        let (source, file): (_, File) = Source::parse(FILE, text)?;
        let visemes = visemes(&source, file.visemes, units)?;
        let rest = visemes.iter().position(|viseme| viseme.name == "rest");
        let rest = rest.ok_or_else(|| source.error("visemes.rest", "it is missing"))?;
        if !visemes[rest].units.is_empty() || visemes[rest].lock != 0.0 {
            return Err(source.error("visemes.rest", "at rest the mouth has no units, and locks nothing"));
        }
        let by_unit = |key: &str, table: &BTreeMap<String, f32>| {
            let mut parts = vec![0.0; units.slots() / 2];
            for (unit, part) in strengths(&source, key, table, units)? {
                parts[unit] = part;
            }
            Ok::<_, TableError>(parts)
        };
        let other = sounds(&source, "text.other", &file.text.other, &visemes)?;
        if other.is_empty() {
            return Err(source.error("text.other", "it is empty"));
        }
        let spellings = read_spellings(&source, "text.spellings", &file.text.spellings, &visemes)?;
        let endings = read_spellings(&source, "text.endings", &file.text.endings, &visemes)?;
        let letters = |table: &BTreeMap<String, Spelling>| {
            table.keys().map(|spelling| spelling.chars().count()).max().unwrap_or_default()
        };
        Ok(Self {
            rest,
            lock: by_unit("lock", &file.lock)?,
            shut: by_unit("shut", &file.shut)?,
            stops: file.text.rest.chars().collect(),
            other,
            longest: letters(&spellings).max(letters(&endings)).max(1),
            fold: fold(&source, &file.text.fold, &spellings)?,
            spellings,
            endings,
            visemes,
        })
    }

    pub fn viseme(&self, number: usize) -> &Viseme {
        &self.visemes[number]
    }

    #[cfg(test)]
    pub fn visemes(&self) -> &[Viseme] {
        &self.visemes
    }

    /// A letter as the spellings have it: in lower case, without its accents.
    pub fn letter(&self, letter: char) -> char {
        let lower = letter.to_lowercase().next().unwrap_or(letter);
        self.fold.get(&lower).copied().unwrap_or(lower)
    }

    pub fn spelling(&self, letters: &str) -> Option<&Spelling> {
        self.spellings.get(letters)
    }

    pub fn ending(&self, letters: &str) -> Option<&Spelling> {
        self.endings.get(letters)
    }
}

fn visemes(source: &Source, rows: BTreeMap<String, Row>, units: &Units) -> Result<Vec<Viseme>, TableError> {
    if rows.len() > MOST_VISEMES {
        return Err(source.error("visemes", format!("it has {} entries, at most {MOST_VISEMES}", rows.len())));
    }
    let read = |(name, row): (String, Row)| {
        let key = format!("visemes.{name}");
        Ok(Viseme {
            units: strengths(source, &format!("{key}.units"), &row.units, units)?,
            lock: source.within(format!("{key}.lock"), row.lock, 0.0, 1.0)?,
            rank: source.within(format!("{key}.rank"), row.rank, 1, 3)?,
            closed: row.closed,
            vowel: row.vowel,
            name,
        })
    };
    rows.into_iter().map(read).collect()
}

fn sounds(source: &Source, key: &str, names: &[String], visemes: &[Viseme]) -> Result<Spelling, TableError> {
    if names.len() > MOST_SOUNDS {
        return Err(source.error(key, format!("it has {} visemes, at most {MOST_SOUNDS}", names.len())));
    }
    let find = |name: &String| {
        let missing = || source.error(key, format!("there is no viseme {name}"));
        visemes.iter().position(|viseme| viseme.name == *name).ok_or_else(missing)
    };
    names.iter().map(find).collect()
}

fn read_spellings(
    source: &Source,
    key: &str,
    table: &BTreeMap<String, Vec<String>>,
    visemes: &[Viseme],
) -> Result<BTreeMap<String, Spelling>, TableError> {
    if table.len() > MOST_SPELLINGS {
        return Err(source.error(key, format!("it has {} entries, at most {MOST_SPELLINGS}", table.len())));
    }
    let read = |(letters, names): (&String, &Vec<String>)| {
        let key = format!("{key}.{letters}");
        if !(1..=LONGEST).contains(&letters.chars().count()) {
            return Err(source.error(key, format!("it must have 1 to {LONGEST} letters")));
        }
        if letters.chars().any(|letter| !letter.is_alphabetic() || letter.is_uppercase()) {
            return Err(source.error(key, "it must be letters in lower case"));
        }
        Ok((letters.clone(), sounds(source, &key, names, visemes)?))
    };
    table.iter().map(read).collect()
}

/// From accented letters to plain ones, which must have a spelling.
fn fold(
    source: &Source,
    table: &BTreeMap<char, String>,
    spellings: &BTreeMap<String, Spelling>,
) -> Result<BTreeMap<char, char>, TableError> {
    let mut fold = BTreeMap::new();
    for (plain, accented) in table {
        let key = format!("text.fold.{plain}");
        if !spellings.contains_key(&plain.to_string()) {
            return Err(source.error(key, "it has no spelling"));
        }
        for letter in accented.chars() {
            if spellings.contains_key(&letter.to_string()) || fold.insert(letter, *plain).is_some() {
                return Err(
                    source.error(key, format!("{letter} is there twice, or has a spelling of its own"))
                );
            }
        }
    }
    Ok(fold)
}
