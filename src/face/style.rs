//! How the faces of an archetype and of one character differ from the tables.

use std::sync::Arc;

use super::Tables;
use crate::archetype::FaceOverrides;
use crate::wire::EmotionLabel;

/// One half of a face; left and right are the character's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    pub(super) fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }
}

/// A pack names something that the tables do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct LookError {
    /// The key in the pack's file: `face.gains.AU99`.
    pub key: String,
    pub reason: String,
}

/// What all faces of an archetype have in common: a pack's `[face]`, made out against the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    expressivity: f32,
    mouth: f32,
    gaze: f32,
    /// 1: as fast as the tables say, 2: twice as fast.
    tempo: f32,
    /// `None`: as often as the tables say.
    blinks_per_minute: Option<f32>,
    /// By slot.
    gains: Box<[f32]>,
    /// Slots and strengths for each emotion, by its place in the enum.
    extra: [Vec<(usize, f32)>; 8],
}

impl Look {
    /// The look of a pack. A unit that the tables do not have is an error; to be called for every pack at the start.
    pub fn new(tables: &Tables, face: &FaceOverrides) -> Result<Self, LookError> {
        let find = |key: String, name: &str| {
            tables.units.find(name).ok_or_else(|| LookError {
                key,
                reason: format!("there is no action unit {name} in schemas/face/arkit52.toml"),
            })
        };
        let mut gains = vec![1.0; tables.units.slots()];
        // Those of both sides first, so that one of a single side counts beside it.
        let (one_sided, both): (Vec<_>, Vec<_>) =
            face.gains.iter().partition(|(name, _)| name.ends_with(['L', 'R']));
        for (name, gain) in both.into_iter().chain(one_sided) {
            for slot in find(format!("face.gains.{name}"), name)? {
                gains[slot] = *gain;
            }
        }
        let mut extra: [Vec<(usize, f32)>; 8] = Default::default();
        for (label, units) in &face.extra {
            for (name, strength) in units {
                let key = format!("face.extra.{}.{name}", label.name());
                extra[*label as usize].extend(find(key, name)?.map(|slot| (slot, *strength)));
            }
        }
        Ok(Self {
            expressivity: face.expressivity,
            mouth: face.mouth,
            gaze: face.gaze,
            tempo: face.tempo,
            blinks_per_minute: face.blinks_per_minute,
            gains: gains.into(),
            extra,
        })
    }

    pub(super) fn gain(&self, slot: usize) -> f32 {
        self.gains[slot]
    }

    pub(super) fn extra(&self, label: EmotionLabel) -> &[(usize, f32)] {
        &self.extra[label as usize]
    }

    pub(super) fn mouth(&self) -> f32 {
        self.mouth
    }

    pub(super) fn gaze(&self) -> f32 {
        self.gaze
    }

    pub(super) fn tempo(&self) -> f32 {
        self.tempo
    }

    pub(super) fn blinks_per_minute(&self) -> Option<f32> {
        self.blinks_per_minute
    }
}

/// One character's face.
#[derive(Debug, Clone, PartialEq)]
pub struct Style {
    look: Arc<Look>,
    expressivity: f32,
    asymmetry: f32,
    contempt: Side,
}

/// How much weaker the weaker half of a face is when its asymmetry is 1.
const UNEVEN: f32 = 0.4;

impl Style {
    /// * `expressivity`: how much of what it feels the character shows, 0 to 2; 1 is the table's. Times the pack's.
    /// * `asymmetry`: -1 to 1; below 0 the character's right half moves less, above 0 its left one, at 1 by 40 %. 0 is
    ///   even.
    /// * `seed`: the character's, not the turn's: one who sneers does so with the same side every time.
    ///
    /// Numbers outside are brought into these bounds; what is no number counts as 1 and 0.
    pub fn new(look: &Arc<Look>, expressivity: f32, asymmetry: f32, seed: u64) -> Self {
        let or = |value: f32, instead: f32| if value.is_nan() { instead } else { value };
        Self {
            look: Arc::clone(look),
            expressivity: or(expressivity, 1.0).clamp(0.0, 2.0),
            asymmetry: or(asymmetry, 0.0).clamp(-1.0, 1.0),
            // The seed's bits, mixed: seeds that follow each other must not take turns.
            contempt: if seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 0 {
                Side::Left
            } else {
                Side::Right
            },
        }
    }

    /// The half of the face that shows contempt.
    pub fn contempt_side(&self) -> Side {
        self.contempt
    }

    pub(super) fn look(&self) -> &Look {
        &self.look
    }

    pub(super) fn expressivity(&self) -> f32 {
        self.expressivity * self.look.expressivity
    }

    /// What a half of the face shows of a unit that has two.
    pub(super) fn share(&self, side: usize) -> f32 {
        let weaker = if side == Side::Left.index() { self.asymmetry } else { -self.asymmetry };
        1.0 - UNEVEN * weaker.max(0.0)
    }
}
