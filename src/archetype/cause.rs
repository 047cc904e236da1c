use std::fmt;
use std::str::FromStr;

use crate::wire::{EmotionLabel, EventKind};

/// What leaves its mark on a character: things that happen to it, and what it feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    Injury,
    Gift,
    Threat,
    Witness,
    Custom,
    Joy,
    Sadness,
    Anger,
    Fear,
    Disgust,
    Surprise,
    Contempt,
}

impl Cause {
    pub const ALL: [Self; 12] = [
        Self::Injury,
        Self::Gift,
        Self::Threat,
        Self::Witness,
        Self::Custom,
        Self::Joy,
        Self::Sadness,
        Self::Anger,
        Self::Fear,
        Self::Disgust,
        Self::Surprise,
        Self::Contempt,
    ];

    /// The name in files and stores: the `kind` of an event, the `label` of an emotion.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Injury => "injury",
            Self::Gift => "gift",
            Self::Threat => "threat",
            Self::Witness => "witness",
            Self::Custom => "custom",
            Self::Joy => "joy",
            Self::Sadness => "sadness",
            Self::Anger => "anger",
            Self::Fear => "fear",
            Self::Disgust => "disgust",
            Self::Surprise => "surprise",
            Self::Contempt => "contempt",
        }
    }

    /// What an emotion does; `None`: feeling nothing changes nobody.
    pub const fn of_emotion(label: EmotionLabel) -> Option<Self> {
        match label {
            EmotionLabel::Neutral => None,
            EmotionLabel::Joy => Some(Self::Joy),
            EmotionLabel::Sadness => Some(Self::Sadness),
            EmotionLabel::Anger => Some(Self::Anger),
            EmotionLabel::Fear => Some(Self::Fear),
            EmotionLabel::Disgust => Some(Self::Disgust),
            EmotionLabel::Surprise => Some(Self::Surprise),
            EmotionLabel::Contempt => Some(Self::Contempt),
        }
    }
}

impl From<EventKind> for Cause {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Injury => Self::Injury,
            EventKind::Gift => Self::Gift,
            EventKind::Threat => Self::Threat,
            EventKind::Witness => Self::Witness,
            EventKind::Custom => Self::Custom,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`Cause`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing of that name changes a character; there are injury, gift, threat, witness, custom, joy, sadness, anger, \
     fear, disgust, surprise and contempt"
)]
pub struct UnknownCause;

impl FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(name: &str) -> Result<Self, UnknownCause> {
        Self::ALL.into_iter().find(|cause| cause.name() == name).ok_or(UnknownCause)
    }
}
