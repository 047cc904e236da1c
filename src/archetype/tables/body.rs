//! `[body]`: what an archetype's characters look like.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::At;
use crate::archetype::PackError;

/// What a body can be at all; packs stay within it. Heights lie between those of dwarfism and of gigantism, and the
/// proportions reach a little further than what was measured of 6,068 adults (Gordon et al. 2014, ANSUR II: stature,
/// biacromial breadth, hip breadth). A body mass index of about 12 is the least with which people were seen to live (Henry
/// 1990, European Journal of Clinical Nutrition 44).
mod limits {
    pub const HEIGHT_M: (f64, f64) = (0.9, 2.5);
    pub const BUILD: (f64, f64) = (12.0, 50.0);
    pub const AGE: (f64, f64) = (16.0, 100.0);
    pub const SHOULDER_RATIO: (f64, f64) = (0.18, 0.30);
    pub const HIP_RATIO: (f64, f64) = (0.14, 0.28);
    pub const ASYMMETRY: (f64, f64) = (0.0, 1.0);
    pub const COUNT: (f64, f64) = (0.0, 8.0);
    pub const MORPH: (f64, f64) = (-1.0, 1.0);
    pub const MORPHS: usize = 64;
    pub const MARKS: usize = 32;
}

/// The smallest and the largest that something is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Span(pub f64, pub f64);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::archetype) struct Written {
    height_m: Option<Span>,
    build: Option<Span>,
    age: Option<Span>,
    shoulder_ratio: Option<Span>,
    hip_ratio: Option<Span>,
    asymmetry: Option<Span>,
    scars: Option<Span>,
    warts: Option<Span>,
    morphs: BTreeMap<String, Span>,
    marks: Vec<Mark>,
}

/// Something to recognize a character by, which some have.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub id: String,
    /// Share of the characters that have it, 0 to 1.
    pub chance: f64,
}

/// From what to what the measures of a body lie; most characters are near the middle.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyTable {
    pub height_m: Span,
    /// Body mass index, kg/m².
    pub build: Span,
    /// Years that one would give it.
    pub age: Span,
    /// Breadth of the shoulders (biacromial) and of the hips, in heights.
    pub shoulder_ratio: Span,
    pub hip_ratio: Span,
    /// 0: both halves of the face alike; 1: as unlike as the rig allows.
    pub asymmetry: Span,
    /// How many it has from the beginning.
    pub scars: Span,
    pub warts: Span,
    /// Weight of a shape of the game's own, -1 to 1.
    pub morphs: BTreeMap<String, Span>,
    pub marks: Vec<Mark>,
}

impl Written {
    pub(super) fn over(self, under: &Self) -> Self {
        let mut morphs = under.morphs.clone();
        morphs.extend(self.morphs);
        // Marks are an archetype's own.
        Self {
            height_m: self.height_m.or(under.height_m),
            build: self.build.or(under.build),
            age: self.age.or(under.age),
            shoulder_ratio: self.shoulder_ratio.or(under.shoulder_ratio),
            hip_ratio: self.hip_ratio.or(under.hip_ratio),
            asymmetry: self.asymmetry.or(under.asymmetry),
            scars: self.scars.or(under.scars),
            warts: self.warts.or(under.warts),
            morphs,
            marks: self.marks,
        }
    }

    pub(super) fn check(self, at: &At<'_>) -> Result<BodyTable, PackError> {
        let span = |name: &str, span: Option<Span>, limits: (f64, f64)| {
            let key = format!("body.{name}");
            let span = span.unwrap_or(Span(limits.0, limits.0));
            at.number(&key, span.0, limits)?;
            at.number(&key, span.1, limits)?;
            if span.0 > span.1 {
                return at.fail(key, format!("it is [{}, {}], but must be [least, most]", span.0, span.1));
            }
            Ok(span)
        };
        at.at_most("body.morphs", self.morphs.len(), limits::MORPHS)?;
        for (name, morph) in &self.morphs {
            at.id("body.morphs", name)?;
            span(&format!("morphs.{name}"), Some(*morph), limits::MORPH)?;
        }
        at.at_most("body.marks", self.marks.len(), limits::MARKS)?;
        for (index, mark) in self.marks.iter().enumerate() {
            at.id(&format!("body.marks[{index}].id"), &mark.id)?;
            at.number(&format!("body.marks[{index}].chance"), mark.chance, (0.0, 1.0))?;
            if self.marks[..index].iter().any(|other| other.id == mark.id) {
                return at.fail(format!("body.marks[{index}].id"), format!("{:?} is there twice", mark.id));
            }
        }
        Ok(BodyTable {
            height_m: span("height_m", self.height_m, limits::HEIGHT_M)?,
            build: span("build", self.build, limits::BUILD)?,
            age: span("age", self.age, limits::AGE)?,
            shoulder_ratio: span("shoulder_ratio", self.shoulder_ratio, limits::SHOULDER_RATIO)?,
            hip_ratio: span("hip_ratio", self.hip_ratio, limits::HIP_RATIO)?,
            asymmetry: span("asymmetry", self.asymmetry, limits::ASYMMETRY)?,
            scars: span("scars", self.scars, limits::COUNT)?,
            warts: span("warts", self.warts, limits::COUNT)?,
            morphs: self.morphs,
            marks: self.marks,
        })
    }
}
