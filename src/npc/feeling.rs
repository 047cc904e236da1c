//! What an NPC feels: what the model says, coloured by its mood and its temper.

use std::collections::BTreeMap;

use super::mind::valence;
use crate::wire::EmotionLabel;

/// So many labels there are.
pub const LABELS: usize = EmotionLabel::ALL.len();

/// Of each of [`EmotionLabel::ALL`]; they sum to 1.
pub type Probs = [f32; LABELS];

/// A change of intensity that is told although the label stays.
const SHIFT: f32 = 0.25;

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
    /// What is felt where the model says `probs`, in a `mood` of −1 to 1, by somebody who feels everything `sensitivity`
    /// times as strongly.
    ///
    /// The mood makes a feeling exp(mood · valence) times as likely, so that the best of moods makes joy some six times as
    /// likely beside sadness as it is in none. The intensity of the likeliest label l among n is
    /// `sensitivity · (p(l) − 1/n) / (1 − 1/n)`, at most 1: 0 where all are as likely, 1 where nothing else is. Neutral has
    /// none.
    pub fn new(probs: Probs, mood: f32, sensitivity: f32) -> Self {
        let tilt = |label| libm::exp(f64::from(mood) * valence(label)) as f32;
        let mut felt: Probs = std::array::from_fn(|i| probs[i] * tilt(EmotionLabel::ALL[i]));
        let sum: f32 = felt.iter().sum();
        felt = if sum > 0.0 { felt.map(|p| p / sum) } else { probs };
        let likeliest = |best: (EmotionLabel, f32), (label, p)| if p > best.1 { (label, p) } else { best };
        let (label, p) =
            EmotionLabel::ALL.into_iter().zip(felt).fold((EmotionLabel::Neutral, 0.0), likeliest);
        let even = 1.0 / LABELS as f32;
        let strength = sensitivity * (p - even) / (1.0 - even);
        let intensity = if label == EmotionLabel::Neutral { 0.0 } else { strength.clamp(0.0, 1.0) };
        Self { label, intensity, probs: felt }
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
        let felt = |p, sensitivity| Feeling::new(probs(EmotionLabel::Fear, p), 0.0, sensitivity).intensity;
        assert_eq!([felt(1.0, 1.0), felt(1.0, 0.5), felt(1.0, 1.5)], [1.0, 0.5, 1.0]);
        assert!(felt(0.126, 1.0) < 0.01);
        let neutral = Feeling::new(probs(EmotionLabel::Neutral, 1.0), 0.0, 1.0);
        assert_eq!((neutral.label, neutral.intensity), (EmotionLabel::Neutral, 0.0));
    }

    #[test]
    fn another_label_or_much_more_of_it_is_a_shift() {
        let feel = |label, p| Feeling::new(probs(label, p), 0.0, 1.0);
        let little = feel(EmotionLabel::Joy, 0.4);
        assert!(!feel(EmotionLabel::Joy, 0.5).is_shift_from(&little));
        assert!(feel(EmotionLabel::Joy, 0.9).is_shift_from(&little));
        assert!(feel(EmotionLabel::Anger, 0.4).is_shift_from(&little));
        assert_eq!(little.by_label().len(), LABELS);
    }

    #[test]
    fn a_mood_colours_what_is_felt() {
        let even = [1.0 / LABELS as f32; LABELS];
        let in_mood = |mood| Feeling::new(even, mood, 1.0);
        assert_eq!(in_mood(1.0).label, EmotionLabel::Joy);
        assert!(matches!(in_mood(-1.0).label, EmotionLabel::Sadness | EmotionLabel::Fear));
        let of = |mood, label| in_mood(mood).by_label()[&label];
        assert!(of(1.0, EmotionLabel::Joy) / of(1.0, EmotionLabel::Sadness) > 5.0);
        for mood in [-1.0, -0.3, 0.0, 0.7] {
            assert!((in_mood(mood).probs.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
