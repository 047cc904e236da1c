//! What the base model answers when it is asked about nothing.
//!
//! A small model that was not trained for a question prefers some answers whatever it is asked about: those that are
//! frequent words, or in the list's first place. Zhao et al. 2021 ("Calibrate Before Use: Improving Few-Shot Performance of
//! Language Models") ask it about nothing, "N/A", and divide by what it answers. An adapter that was trained for a task has
//! learned how often what is the answer, and is left alone.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::Question;

/// Questions whose prior is kept; the least recently used leave first.
// Settled when it is compiled.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Added to a prior: what is hardly ever answered is not made likely by noise.
const FLOOR: f32 = 0.005;

/// Of a question and its answers, without what it is about.
type Key = [u8; 32];

/// The priors that are known.
#[derive(Debug)]
pub(in crate::turn) struct Priors(Mutex<LruCache<Key, Arc<[f32]>>>);

impl Default for Priors {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Priors {
    pub fn get(&self, question: &Question) -> Option<Arc<[f32]>> {
        self.0.lock().get(&key(question)).cloned()
    }

    pub fn put(&self, question: &Question, probs: Vec<f32>) -> Arc<[f32]> {
        let prior: Arc<[f32]> = probs.into();
        self.0.lock().put(key(question), Arc::clone(&prior));
        prior
    }
}

fn key(question: &Question) -> Key {
    let mut digest = Sha256::new();
    for text in question.systems.iter().chain(&question.options) {
        // With their lengths, so that no two lists of texts read the same.
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.finalize().into()
}

/// What is answered, beside what is answered to nothing: pᵢ / (priorᵢ + 0.005), made to sum to 1.
pub fn calibrated(probs: &[f32], prior: &[f32]) -> Vec<f32> {
    let weight = |(p, prior): (&f32, &f32)| p / (prior + FLOOR);
    let weights: Vec<f32> = probs.iter().zip(prior).map(weight).collect();
    let sum: f32 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.iter().map(|weight| weight / sum).collect()
    } else {
        probs.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archetype::Packs;

    #[test]
    fn what_is_answered_more_than_usual_counts() {
        let told = calibrated(&[0.75, 0.05, 0.2], &[0.57, 0.03, 0.4]);
        assert!((told.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(told[1] > told[0] && told[0] > told[2], "{told:?}");
        let same = calibrated(&[0.6, 0.4], &[0.6, 0.4]);
        assert!((same[0] - same[1]).abs() < 0.01, "{same:?}");
        // Noise about what is never answered stays noise.
        assert!(calibrated(&[0.999, 0.001], &[0.9999, 0.0001])[1] < 0.2);
        assert_eq!(calibrated(&[0.0, 0.0], &[0.5, 0.5]), [0.0, 0.0]);
    }

    #[test]
    fn a_prior_is_of_a_question_whatever_it_is_about() {
        let packs = Packs::load(None).unwrap();
        let (vampire, lich) = (packs.get("vampire").unwrap(), packs.get("lich").unwrap());
        let priors = Priors::default();
        priors.put(&Question::social(vampire, "Lucy", "Hi"), vec![0.5; 9]);
        assert!(priors.get(&Question::social(vampire, "Lucy", "Go!")).is_some());
        for other in [Question::social(vampire, "Mina", "Hi"), Question::social(lich, "Lucy", "Hi")] {
            assert!(priors.get(&other).is_none());
        }
        assert!(priors.get(&Question::emotion(vampire, "Lucy", "Hi", None)).is_none());
    }
}
