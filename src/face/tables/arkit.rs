//! `arkit52.toml`: the shapes, and the action units that move them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::error::{Source, TableError};
use crate::wire::FACE_SHAPES;

const FILE: &str = "arkit52.toml";
/// Action units of a table.
const MOST_UNITS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rig: String,
    shapes: Vec<String>,
    units: BTreeMap<String, Unit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    /// For people; FACS's name.
    name: String,
    shapes: BTreeMap<String, f32>,
}

/// A shape that a half of a unit moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub shape: usize,
    pub weight: f32,
}

/// The action units, each with two slots, its left and its right half, and the shapes that they move.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    rig: String,
    shapes: Box<[String]>,
    /// `AU12`, by unit.
    names: Vec<String>,
    by_name: BTreeMap<String, usize>,
    /// By slot.
    links: Vec<Vec<Link>>,
    /// By unit: whether its halves move shapes of their own.
    paired: Vec<bool>,
    /// What the eyes' own movements need.
    pub eyes: EyeUnits,
}

/// Units that the code itself moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EyeUnits {
    pub lid_raiser: usize,
    pub blink: usize,
    /// Left, right, up, down.
    pub turns: [usize; 4],
}

impl Units {
    pub fn read(text: &str) -> Result<Self, TableError> {
        let (source, file): (_, File) = Source::parse(FILE, text)?;
        let shapes = check_shapes(&source, file.shapes)?;
        if file.units.len() > MOST_UNITS {
            let reason = format!("it has {} entries, at most {MOST_UNITS} are allowed", file.units.len());
            return Err(source.error("units", reason));
        }
        let mut units = Self {
            rig: file.rig,
            shapes,
            names: Vec::new(),
            by_name: BTreeMap::new(),
            links: Vec::new(),
            paired: Vec::new(),
            eyes: EyeUnits { lid_raiser: 0, blink: 0, turns: [0; 4] },
        };
        for (name, unit) in file.units {
            units.add(&source, name, &unit)?;
        }
        let find = |name: &str| {
            let missing =
                || source.error(format!("units.{name}"), "it is missing, and blinks or gaze need it");
            units.by_name.get(name).copied().ok_or_else(missing)
        };
        units.eyes = EyeUnits {
            lid_raiser: find("AU5")?,
            blink: find("AU45")?,
            turns: [find("AU61")?, find("AU62")?, find("AU63")?, find("AU64")?],
        };
        Ok(units)
    }

    fn add(&mut self, source: &Source, name: String, unit: &Unit) -> Result<(), TableError> {
        let key = format!("units.{name}");
        if !is_unit(&name) {
            return Err(source.error(key, "it must be named AU and one or two digits"));
        }
        if unit.name.trim().is_empty() || unit.shapes.is_empty() {
            return Err(source.error(key, "it needs a name and at least one shape"));
        }
        let (mut left, mut right, mut paired) = (Vec::new(), Vec::new(), false);
        for (shape, weight) in &unit.shapes {
            let key = format!("units.{name}.shapes.{shape}");
            source.within(key.clone(), *weight, 0.0, 1.0)?;
            let find = |name: &str| {
                let missing = || source.error(key.clone(), format!("there is no shape {name}"));
                self.shapes.iter().position(|shape| shape == name).ok_or_else(missing)
            };
            if let Some(stem) = shape.strip_suffix('*') {
                paired = true;
                left.push(Link { shape: find(&format!("{stem}Left"))?, weight: *weight });
                right.push(Link { shape: find(&format!("{stem}Right"))?, weight: *weight });
            } else {
                let half = Link { shape: find(shape)?, weight: weight * 0.5 };
                left.push(half);
                right.push(half);
            }
        }
        self.by_name.insert(name.clone(), self.names.len());
        self.names.push(name);
        self.links.extend([left, right]);
        self.paired.push(paired);
        Ok(())
    }

    pub fn rig(&self) -> &str {
        &self.rig
    }

    pub fn shapes(&self) -> &[String] {
        &self.shapes
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub fn slots(&self) -> usize {
        self.links.len()
    }

    pub fn links(&self, slot: usize) -> &[Link] {
        &self.links[slot]
    }

    pub fn paired(&self, unit: usize) -> bool {
        self.paired[unit]
    }

    /// A unit without a side: its number.
    pub fn unit(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The slots of `AU12`, `AU12L` or `AU12R`.
    pub fn find(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let (stem, sides) = match name.strip_suffix(['L', 'R']) {
            None => (name, 0..2),
            Some(stem) if name.ends_with('L') => (stem, 0..1),
            Some(stem) => (stem, 1..2),
        };
        self.unit(stem).map(|unit| 2 * unit + sides.start..2 * unit + sides.end)
    }
}

fn check_shapes(source: &Source, shapes: Vec<String>) -> Result<Box<[String]>, TableError> {
    if shapes.len() != FACE_SHAPES {
        return Err(
            source.error("shapes", format!("it has {} names, but must have {FACE_SHAPES}", shapes.len()))
        );
    }
    let mut seen = BTreeSet::new();
    for (i, shape) in shapes.iter().enumerate() {
        if shape.is_empty() || !shape.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(source
                .error(format!("shapes[{i}]"), format!("it is {shape:?}, but must be letters and digits")));
        }
        if !seen.insert(shape) {
            return Err(source.error(format!("shapes[{i}]"), format!("{shape} is there twice")));
        }
    }
    Ok(shapes.into())
}

fn is_unit(name: &str) -> bool {
    let digits = name.strip_prefix("AU").unwrap_or_default();
    (1..=2).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
}
