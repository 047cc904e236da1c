//! `motion.toml`: times and limits.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::arkit::Units;
use super::error::{Source, TableError};
use crate::wire::FACE_SHAPES;

const FILE: &str = "motion.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Keys,
    mouth: Mouth,
    blink: Blink,
    gaze: Gaze,
    end: End,
    limits: BTreeMap<String, u64>,
}

/// How many keys there may be.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // The unit, as in the file.
pub struct Keys {
    pub least_ms: u64,
    pub spacing_ms: u64,
    pub burst_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // The unit, as in the file.
pub struct Mouth {
    pub ease_ms: u64,
    pub close_ms: u64,
    pub gap_ms: u64,
    pub longest_ms: u64,
    pub late_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blink {
    pub per_minute: f32,
    pub spread: f32,
    pub close_ms: u64,
    pub open_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaze {
    pub mutual_ms: u64,
    pub away_ms: u64,
    pub move_ms: u64,
    pub sideways: f32,
    pub up: f32,
    pub down: f32,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // The unit, as in the file.
pub struct End {
    pub linger_ms: u64,
    pub fade_ms: u64,
    pub neutral_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    pub keys: Keys,
    pub mouth: Mouth,
    pub blink: Blink,
    pub gaze: Gaze,
    pub end: End,
    /// For each shape the least time of its whole range, in milliseconds.
    pub limits: [u64; FACE_SHAPES],
}

impl Motion {
    pub fn read(text: &str, units: &Units) -> Result<Self, TableError> {
        let (source, file): (_, File) = Source::parse(FILE, text)?;
        let limits = limits(&source, &file.limits, units)?;
        let slowest = limits.iter().copied().max().unwrap_or_default();
        let File { keys, mouth, blink, gaze, end, .. } = file;
        let times = [
            ("keys.least_ms", keys.least_ms, 20, 500),
            ("keys.spacing_ms", keys.spacing_ms, 20, 1000),
            ("keys.burst_ms", keys.burst_ms, 0, 2000),
            ("mouth.ease_ms", mouth.ease_ms, 20, 500),
            ("mouth.close_ms", mouth.close_ms, 50, 500),
            ("mouth.gap_ms", mouth.gap_ms, 50, 1000),
            ("mouth.longest_ms", mouth.longest_ms, 200, 5000),
            ("mouth.late_ms", mouth.late_ms, 0, 1000),
            ("blink.close_ms", blink.close_ms, 20, 2000),
            ("blink.open_ms", blink.open_ms, 20, 2000),
            ("gaze.mutual_ms", gaze.mutual_ms, 200, 600_000),
            ("gaze.away_ms", gaze.away_ms, 200, 600_000),
            ("gaze.move_ms", gaze.move_ms, 20, 2000),
            ("end.linger_ms", end.linger_ms, 0, 5000),
            ("end.fade_ms", end.fade_ms, 50, 10_000),
            ("end.neutral_ms", end.neutral_ms, slowest, 10_000),
        ];
        for (key, value, least, most) in times {
            source.within(key, value, least, most)?;
        }
        let parts = [
            ("blink.per_minute", blink.per_minute, 60.0),
            ("blink.spread", blink.spread, 0.9),
            ("gaze.sideways", gaze.sideways, 1.0),
            ("gaze.up", gaze.up, 1.0),
            ("gaze.down", gaze.down, 1.0),
        ];
        for (key, value, most) in parts {
            source.within(key, value, 0.0, most)?;
        }
        Ok(Self { keys, mouth, blink, gaze, end, limits })
    }
}

/// The limit of every shape: that of the longest name that fits.
fn limits(
    source: &Source,
    table: &BTreeMap<String, u64>,
    units: &Units,
) -> Result<[u64; FACE_SHAPES], TableError> {
    let fits = |name: &str, shape: &str| match name.strip_suffix('*') {
        Some(stem) => shape.starts_with(stem),
        None => shape == name,
    };
    for (name, ms) in table {
        let key = format!("limits.{name}");
        source.within(key.clone(), *ms, 1, 2000)?;
        if !units.shapes().iter().any(|shape| fits(name, shape)) {
            return Err(source.error(key, "it fits no shape"));
        }
    }
    let mut limits = [0; FACE_SHAPES];
    for (limit, shape) in limits.iter_mut().zip(units.shapes()) {
        let best = table.iter().filter(|(name, _)| fits(name, shape)).max_by_key(|(name, _)| name.len());
        *limit = *best.ok_or_else(|| source.error("limits", format!("none fits {shape}")))?.1;
    }
    Ok(limits)
}
