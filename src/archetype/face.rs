//! `[face]` of a pack: how the faces of an archetype differ from the tables in `schemas/face/`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::wire::EmotionLabel;

/// Entries of `gains`, and of each table in `extra`.
const MOST_UNITS: usize = 100;

/// `[face]` as it is written; every key may be left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaceOverrides {
    /// How much of a feeling such a face shows, 0 to 2.
    pub expressivity: f32,
    /// How far the mouth moves in speech, 0 to 1.5.
    pub mouth: f32,
    /// How fast feelings come and go, 0.25 to 2; 0.5 is half as fast.
    pub tempo: f32,
    /// How far the eyes wander, 0 to 2.
    pub gaze: f32,
    /// Blinks a minute, 0 to 60; 0: it never blinks. `None`: as often as people.
    pub blinks_per_minute: Option<f32>,
    /// Action unit (`AU6`; one side: `AU6L`) → factor, 0 to 2. 0: it has no such muscle.
    pub gains: BTreeMap<String, f32>,
    /// For an emotion, action units that it shows besides, 0 to 1.
    pub extra: BTreeMap<EmotionLabel, BTreeMap<String, f32>>,
}

impl Default for FaceOverrides {
    fn default() -> Self {
        Self {
            expressivity: 1.0,
            mouth: 1.0,
            tempo: 1.0,
            gaze: 1.0,
            blinks_per_minute: None,
            gains: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }
}

/// The key that is wrong, and why.
type Mistake = (String, String);

impl FaceOverrides {
    /// Whether every number is within its bounds and every unit's name looks like one. Whether there is such a unit the
    /// tables of the face know.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        within("face.expressivity", self.expressivity, 0.0, 2.0)?;
        within("face.mouth", self.mouth, 0.0, 1.5)?;
        within("face.tempo", self.tempo, 0.25, 2.0)?;
        within("face.gaze", self.gaze, 0.0, 2.0)?;
        if let Some(blinks) = self.blinks_per_minute {
            within("face.blinks_per_minute", blinks, 0.0, 60.0)?;
        }
        units("face.gains", &self.gains, 2.0)?;
        for (label, extra) in &self.extra {
            if *label == EmotionLabel::Neutral {
                return Err(("face.extra.neutral".to_owned(), "the neutral face is all zero".to_owned()));
            }
            units(&format!("face.extra.{}", format!("{label:?}").to_lowercase()), extra, 1.0)?;
        }
        Ok(())
    }
}

fn units(key: &str, units: &BTreeMap<String, f32>, most: f32) -> Result<(), Mistake> {
    if units.len() > MOST_UNITS {
        return Err((
            key.to_owned(),
            format!("it has {} entries, at most {MOST_UNITS} are allowed", units.len()),
        ));
    }
    for (name, value) in units {
        let key = format!("{key}.{name}");
        let digits = name.strip_prefix("AU").unwrap_or_default().trim_end_matches(['L', 'R']);
        let sides = name.len() - digits.len() - 2.min(name.len());
        let number = (1..=2).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        if !number || sides > 1 {
            return Err((key, "it must be an action unit such as AU12, or AU12L for one side".to_owned()));
        }
        within(&key, *value, 0.0, most)?;
    }
    Ok(())
}

fn within(key: &str, value: f32, least: f32, most: f32) -> Result<(), Mistake> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err((key.to_owned(), format!("it is {value}, but must be from {least} to {most}")))
}
