//! What an NPC feels, and the mood that is left of it.

use std::collections::BTreeMap;

use crate::wire::EmotionLabel;

/// So many labels there are.
pub const LABELS: usize = EmotionLabel::ALL.len();

/// Of each of [`EmotionLabel::ALL`]; they sum to 1.
pub type Probs = [f32; LABELS];

/// A change of intensity that is told although the label stays.
const SHIFT: f32 = 0.25;

/// Half of a mood is gone after so many milliseconds: five minutes.
const HALF_LIFE_MS: f64 = 300_000.0;

/// How much of a feeling stays as mood.
const GAIN: f32 = 0.5;

/// A feeling.
#[derive(Debug, Clone, PartialEq)]
pub struct Feeling {
    /// The likeliest.
    pub label: EmotionLabel,
    /// 0..1; 0 for neutral.
    pub intensity: f32,
    pub probs: Probs,
}

impl Feeling {
    /// The intensity of the likeliest label l among n is `sensitivity · (p(l) − 1/n) / (1 − 1/n)`, at most 1: 0 where
    /// all are as likely, 1 where nothing else is. Neutral has none.
    pub fn new(probs: Probs, sensitivity: f32) -> Self {
        let likeliest = |best: (EmotionLabel, f32), (label, p)| if p > best.1 { (label, p) } else { best };
        let (label, p) =
            EmotionLabel::ALL.into_iter().zip(probs).fold((EmotionLabel::Neutral, 0.0), likeliest);
        let even = 1.0 / LABELS as f32;
        let strength = sensitivity * (p - even) / (1.0 - even);
        let intensity = if label == EmotionLabel::Neutral { 0.0 } else { strength.clamp(0.0, 1.0) };
        Self { label, intensity, probs }
    }

    /// Whether it differs from the one before so much that it is to be told.
    pub fn is_shift_from(&self, before: &Self) -> bool {
        self.label != before.label || (self.intensity - before.intensity).abs() >= SHIFT
    }

    /// By label, as clients read it.
    pub fn by_label(&self) -> BTreeMap<EmotionLabel, f32> {
        EmotionLabel::ALL.into_iter().zip(self.probs).collect()
    }
}

/// How somebody feels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temper {
    /// What intensities are multiplied with, 0.5..1.5.
    pub sensitivity: f32,
    /// How much of a feeling is mood, 0..0.5.
    pub inertia: f32,
}

impl Default for Temper {
    fn default() -> Self {
        Self { sensitivity: 1.0, inertia: 0.2 }
    }
}

/// What earlier feelings have left: `share` of it is `probs`, the rest is nothing in particular. It decays by half in five
/// minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mood {
    probs: Probs,
    share: f32,
    /// Milliseconds since 1970, UTC.
    at_ms: u64,
}

impl Default for Mood {
    fn default() -> Self {
        Self { probs: [1.0 / LABELS as f32; LABELS], share: 0.0, at_ms: 0 }
    }
}

impl Mood {
    /// What is felt where the model says `probs`: a part of it, `inertia · share`, is the mood, which the feeling then
    /// shifts.
    pub fn feel(&mut self, probs: Probs, temper: Temper, at_ms: u64) -> Feeling {
        let age = at_ms.saturating_sub(self.at_ms) as f64;
        let share = self.share * libm::exp2(-age / HALF_LIFE_MS) as f32;
        let part = temper.inertia.clamp(0.0, 0.5) * share;
        let felt: Probs = std::array::from_fn(|i| probs[i] + part * (self.probs[i] - probs[i]));
        // The more mood there was, the less of it is new.
        let new = GAIN / (GAIN + share);
        self.probs = std::array::from_fn(|i| self.probs[i] + new * (felt[i] - self.probs[i]));
        self.share = share + GAIN * (1.0 - share);
        self.at_ms = self.at_ms.max(at_ms);
        Feeling::new(felt, temper.sensitivity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probs(label: EmotionLabel, p: f32) -> Probs {
        let mut probs = [(1.0 - p) / (LABELS - 1) as f32; LABELS];
        probs[EmotionLabel::ALL.iter().position(|other| *other == label).unwrap()] = p;
        probs
    }

    #[test]
    fn what_is_certain_is_felt_wholly_and_what_is_even_not_at_all() {
        let felt = |p, sensitivity| Feeling::new(probs(EmotionLabel::Fear, p), sensitivity).intensity;
        assert_eq!([felt(1.0, 1.0), felt(1.0, 0.5), felt(1.0, 1.5)], [1.0, 0.5, 1.0]);
        assert!(felt(0.126, 1.0) < 0.01);
        let neutral = Feeling::new(probs(EmotionLabel::Neutral, 1.0), 1.0);
        assert_eq!((neutral.label, neutral.intensity), (EmotionLabel::Neutral, 0.0));
    }

    #[test]
    fn another_label_or_much_more_of_it_is_a_shift() {
        let feel = |label, p| Feeling::new(probs(label, p), 1.0);
        let little = feel(EmotionLabel::Joy, 0.4);
        assert!(!feel(EmotionLabel::Joy, 0.5).is_shift_from(&little));
        assert!(feel(EmotionLabel::Joy, 0.9).is_shift_from(&little));
        assert!(feel(EmotionLabel::Anger, 0.4).is_shift_from(&little));
        assert_eq!(little.by_label().len(), LABELS);
    }

    #[test]
    fn a_mood_colours_what_is_felt_and_goes() {
        let (temper, minute) = (Temper { sensitivity: 1.0, inertia: 0.5 }, 60_000);
        let mut mood = Mood::default();
        let first = mood.feel(probs(EmotionLabel::Anger, 0.9), temper, minute);
        assert_eq!(first.probs, probs(EmotionLabel::Anger, 0.9), "there was none before");
        let calm = probs(EmotionLabel::Joy, 0.5);
        let anger = |mut mood: Mood, at| mood.feel(calm, temper, at).by_label()[&EmotionLabel::Anger];
        let even = Feeling::new(calm, 1.0).by_label()[&EmotionLabel::Anger];
        let (soon, later, next_day) =
            (anger(mood, minute), anger(mood, 6 * minute), anger(mood, 1500 * minute));
        assert!(soon > later && later > next_day, "{soon} {later} {next_day}");
        assert!((next_day - even).abs() < 1e-6);
        let clock_went_back = mood.feel(calm, temper, 0);
        assert!((clock_went_back.probs.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn however_often_it_is_asked_it_stays_a_distribution() {
        let mut mood = Mood::default();
        for i in 0..1000_u64 {
            let label = EmotionLabel::ALL[i as usize * 5 % LABELS];
            let feeling = mood.feel(probs(label, 0.8), Temper::default(), i * 7919 % 500_000);
            assert!(
                (feeling.probs.iter().sum::<f32>() - 1.0).abs() < 1e-4
                    && feeling.probs.iter().all(|p| *p >= 0.0)
            );
            assert!((0.0..=1.0).contains(&mood.share), "{mood:?}");
        }
    }
}
