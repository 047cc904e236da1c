//! `emotions.toml`: what feelings look like and how long they last.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::arkit::Units;
use super::error::{Source, TableError};
use crate::wire::EmotionLabel;

const FILE: &str = "emotions.toml";

/// All that a face shows: every label but neutral.
const SHOWN: [EmotionLabel; 7] = [
    EmotionLabel::Joy,
    EmotionLabel::Sadness,
    EmotionLabel::Anger,
    EmotionLabel::Fear,
    EmotionLabel::Disgust,
    EmotionLabel::Surprise,
    EmotionLabel::Contempt,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// For people: the prototype as it is quoted.
    published: String,
    #[serde(default)]
    units: BTreeMap<String, f32>,
    #[serde(default)]
    one_side: BTreeMap<String, f32>,
    onset_ms: u64,
    apex_ms: u64,
    decay_ms: u64,
    sustain: f32,
}

/// What one feeling looks like, and its course.
#[derive(Debug, Clone, PartialEq)]
pub struct Emotion {
    /// Units and their strengths.
    pub units: Vec<(usize, f32)>,
    pub one_side: Vec<(usize, f32)>,
    pub onset_ms: u64,
    pub apex_ms: u64,
    pub decay_ms: u64,
    /// What is left after the decay, 0 to 1.
    pub sustain: f32,
}

/// All feelings.
#[derive(Debug, Clone, PartialEq)]
pub struct Emotions {
    by_label: BTreeMap<EmotionLabel, Emotion>,
}

impl Emotions {
    pub fn read(text: &str, units: &Units) -> Result<Self, TableError> {
        let (source, file): (_, BTreeMap<String, Row>) = Source::parse(FILE, text)?;
        if let Some(name) = file.keys().find(|name| SHOWN.iter().all(|label| label.name() != *name)) {
            let all = SHOWN.map(EmotionLabel::name).join(", ");
            return Err(
                source.error(name, format!("a face shows {all}; neutral is all zero and has no entry"))
            );
        }
        let mut by_label = BTreeMap::new();
        for label in SHOWN {
            let name = label.name();
            let row = file.get(name).ok_or_else(|| source.error(name, "it is missing"))?;
            if row.published.trim().is_empty() {
                return Err(source.error(format!("{name}.published"), "it is empty"));
            }
            if row.units.is_empty() && row.one_side.is_empty() {
                return Err(source.error(format!("{name}.units"), "it names no action unit"));
            }
            let emotion = Emotion {
                units: strengths(&source, &format!("{name}.units"), &row.units, units)?,
                one_side: strengths(&source, &format!("{name}.one_side"), &row.one_side, units)?,
                onset_ms: source.within(format!("{name}.onset_ms"), row.onset_ms, 50, 5000)?,
                apex_ms: source.within(format!("{name}.apex_ms"), row.apex_ms, 0, 60_000)?,
                decay_ms: source.within(format!("{name}.decay_ms"), row.decay_ms, 50, 10_000)?,
                sustain: source.within(format!("{name}.sustain"), row.sustain, 0.0, 1.0)?,
            };
            by_label.insert(label, emotion);
        }
        Ok(Self { by_label })
    }

    /// What a feeling looks like; nothing for neutral.
    pub fn get(&self, label: EmotionLabel) -> Option<&Emotion> {
        self.by_label.get(&label)
    }
}

/// Action units with strengths from 0 to 1, by number.
pub fn strengths(
    source: &Source,
    key: &str,
    table: &BTreeMap<String, f32>,
    units: &Units,
) -> Result<Vec<(usize, f32)>, TableError> {
    let find = |(name, strength): (&String, &f32)| {
        let key = format!("{key}.{name}");
        source.within(key.clone(), *strength, 0.0, 1.0)?;
        let missing = || source.error(key, format!("there is no action unit {name} in arkit52.toml"));
        Ok((units.unit(name).ok_or_else(missing)?, *strength))
    };
    table.iter().map(find).collect()
}
