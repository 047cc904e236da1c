//! `schemas/face/*.toml`: all numbers of the face.

mod arkit;
mod emotions;
mod error;
mod motion;
mod visemes;

use std::sync::Arc;

pub use error::TableError;

pub(super) use arkit::Units;
pub(super) use emotions::{Emotion, Emotions};
pub(super) use motion::Motion;
pub(super) use visemes::{Speech, Viseme};

/// The texts of the tables.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    pub arkit52: &'a str,
    pub emotions: &'a str,
    pub motion: &'a str,
    pub visemes: &'a str,
}

impl Sources<'static> {
    /// Those built into the binary.
    pub const BUILT_IN: Self = Self {
        arkit52: include_str!("../../../schemas/face/arkit52.toml"),
        emotions: include_str!("../../../schemas/face/emotions.toml"),
        motion: include_str!("../../../schemas/face/motion.toml"),
        visemes: include_str!("../../../schemas/face/visemes.toml"),
    };
}

/// The tables, read and checked. They do not change while a server runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Tables {
    pub(super) units: Units,
    pub(super) emotions: Emotions,
    pub(super) motion: Motion,
    pub(super) speech: Speech,
}

impl Tables {
    /// The tables built into the binary.
    pub fn built_in() -> Result<Arc<Self>, TableError> {
        Self::read(&Sources::BUILT_IN).map(Arc::new)
    }

    /// Reads tables; an error names the file and the key.
    pub fn read(sources: &Sources) -> Result<Self, TableError> {
        let units = Units::read(sources.arkit52)?;
        Ok(Self {
            emotions: Emotions::read(sources.emotions, &units)?,
            motion: Motion::read(sources.motion, &units)?,
            speech: Speech::read(sources.visemes, &units)?,
            units,
        })
    }

    /// The rig's name, as `npc.joined` tells it: `arkit52`.
    pub fn rig(&self) -> &str {
        self.units.rig()
    }

    /// How long a face takes to be neutral from wherever it is, in milliseconds.
    pub fn neutral_ms(&self) -> u64 {
        self.motion.end.neutral_ms
    }

    /// The names of the 52 shapes, in the order of the weights.
    pub fn shapes(&self) -> &[String] {
        self.units.shapes()
    }
}
