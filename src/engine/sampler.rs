//! Logits → the next token.

use std::collections::VecDeque;
use std::fmt;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::logits::{Row, TOP};
use super::{EngineError, Sampling};

impl Sampling {
    /// Checks every field's range.
    pub fn check(&self) -> Result<(), EngineError> {
        let bad = |field, value: f32, allowed: &str| {
            Err(EngineError::BadRequest { field, value: value.to_string(), allowed: allowed.into() })
        };
        if !(self.temperature > 0.0 && self.temperature <= 2.0) {
            return bad("temperature", self.temperature, "above 0 and at most 2");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad("top_p", self.top_p, "above 0 and at most 1");
        }
        if !(0.0..1.0).contains(&self.min_p) {
            return bad("min_p", self.min_p, "at least 0 and below 1");
        }
        if !(1.0..=2.0).contains(&self.repetition_penalty) {
            return bad("repetition_penalty", self.repetition_penalty, "1 to 2");
        }
        Ok(())
    }
}

/// Draws tokens for one request.
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// Tokens drawn lately, oldest first; at most [`RECENT`].
    recent: VecDeque<u32>,
    /// Reused between draws: the tokens drawn lately, each once.
    penalized: Vec<u32>,
    /// Reused between draws: the largest of every [`TOP`] logits, with the penalty applied.
    tops: Vec<f32>,
    /// Reused between draws: the candidates that are left, with their unnormalized probabilities.
    candidates: Vec<(u32, f32)>,
}

/// How many tokens of the answer the repetition penalty looks back.
const RECENT: usize = 128;

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("sampling", &self.sampling).finish_non_exhaustive()
    }
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        let rng = match sampling.seed {
            Some(seed) => ChaCha8Rng::seed_from_u64(seed),
            None => ChaCha8Rng::from_os_rng(),
        };
        Self {
            sampling,
            rng,
            recent: VecDeque::new(),
            penalized: Vec::new(),
            tops: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// The next token. Ties go to the lowest id; logits that are not finite are never chosen while a
    /// finite one is there. Writes the penalty into the logits.
    pub fn sample(&mut self, row: Row<'_>) -> u32 {
        let Row { values, tops } = row;
        self.tops.clear();
        if tops.is_empty() {
            self.tops.extend(values.chunks(TOP).map(largest));
        } else {
            self.tops.extend_from_slice(tops);
        }
        if self.sampling.greedy {
            return argmax(values, &self.tops);
        }
        if self.sampling.repetition_penalty == 1.0 {
            return self.draw(values);
        }
        self.penalize(values);
        let token = self.draw(values);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
        token
    }

    /// Makes what was drawn lately less likely, each token once.
    fn penalize(&mut self, logits: &mut [f32]) {
        self.penalized.clear();
        self.penalized.extend(&self.recent);
        self.penalized.sort_unstable();
        self.penalized.dedup();
        let penalty = self.sampling.repetition_penalty;
        for token in &self.penalized {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
        for token in &self.penalized {
            let run = *token as usize / TOP;
            if let (Some(values), Some(top)) = (logits.chunks(TOP).nth(run), self.tops.get_mut(run)) {
                *top = largest(values);
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let best = argmax(logits, &self.tops);
        let highest = logits[best as usize];
        let inverse = self.sampling.temperature.recip();
        // exp((l - max)/T) < min_p  ⇔  l < max + T·ln(min_p): dropped before the exponential is taken.
        // Without min_p, what is below e⁻³⁰ of the best cannot be drawn from an f32 sum anyway.
        let floor = highest + self.sampling.temperature * self.sampling.min_p.max(1e-13).ln();
        self.candidates.clear();
        for (run, _) in self.tops.iter().enumerate().filter(|(_, top)| **top >= floor) {
            let ids = run * TOP..;
            let likely = ids.zip(&logits[run * TOP..]).take(TOP).filter(|(_, logit)| **logit >= floor);
            let weights = likely.map(|(id, logit)| (id as u32, ((logit - highest) * inverse).exp()));
            self.candidates.extend(weights);
        }
        if self.candidates.is_empty() {
            return best;
        }
        // Descending; equal ones by id, so that the order, and with it the draw, is the same every time.
        self.candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let total: f32 = self.candidates.iter().map(|c| c.1).sum();
        let mut kept = 0.0;
        let mut count = 0;
        for candidate in &self.candidates {
            kept += candidate.1;
            count += 1;
            if kept >= self.sampling.top_p * total {
                break;
            }
        }
        let mut left = self.rng.random::<f32>() * kept;
        for candidate in &self.candidates[..count] {
            left -= candidate.1;
            if left < 0.0 {
                return candidate.0;
            }
        }
        self.candidates[count - 1].0
    }
}

/// The largest of some logits; -∞ if none is a number.
pub fn largest(logits: &[f32]) -> f32 {
    // In this form, and in lanes, the compiler makes vector instructions of it.
    let (chunks, rest) = logits.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > lane { *logit } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, logit| if *logit > most { *logit } else { most })
}

/// Index of the largest logit; the first of equals; 0 if none is a number. `tops`: the largest of every [`TOP`].
fn argmax(logits: &[f32], tops: &[f32]) -> u32 {
    let highest = largest(tops);
    if highest == f32::NEG_INFINITY {
        return 0;
    }
    let run = tops.iter().position(|top| *top == highest).unwrap_or(0);
    let at = logits[run * TOP..].iter().position(|logit| *logit == highest).unwrap_or(0);
    (run * TOP + at) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling() -> Sampling {
        Sampling {
            greedy: false,
            temperature: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: Some(7),
        }
    }

    /// How often each token is drawn in `n` draws.
    fn frequencies(sampling: Sampling, logits: &[f32], n: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..n {
            counts[sampler.sample(Row::from(&mut *logits.to_vec())) as usize] += 1.0 / n as f64;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        let mut sampler = Sampler::new(Sampling { greedy: true, ..sampling() });
        assert_eq!(sampler.sample(Row::from(&mut [0.5, 2.0, 2.0, f32::NAN, -1.0][..])), 1);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [1.0_f32, 0.0, -1.0, 2.0];
        let total: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let drawn = frequencies(sampling(), &logits, 20_000);
        for (logit, share) in logits.iter().zip(drawn) {
            assert!((f64::from(*logit).exp() / total - share).abs() < 0.015, "{share}");
        }
    }

    #[test]
    fn temperature_sharpens() {
        let logits = [1.0_f32, 0.0];
        let expected = 1.0 / (1.0 + (-2.0_f64).exp());
        let drawn = frequencies(Sampling { temperature: 0.5, ..sampling() }, &logits, 20_000);
        assert!((drawn[0] - expected).abs() < 0.015, "{drawn:?}");
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_it() {
        // Probabilities 0.5, 0.3, 0.15, 0.05.
        let logits = [0.5_f32, 0.3, 0.15, 0.05].map(f32::ln);
        let drawn = frequencies(Sampling { top_p: 0.7, ..sampling() }, &logits, 10_000);
        assert!(drawn[2] == 0.0 && drawn[3] == 0.0, "{drawn:?}");
        assert!((drawn[0] - 0.625).abs() < 0.02, "{drawn:?}");
    }

    #[test]
    fn min_p_drops_what_is_unlikely_beside_the_best() {
        let logits = [0.5_f32, 0.3, 0.15, 0.05].map(f32::ln);
        let drawn = frequencies(Sampling { min_p: 0.4, ..sampling() }, &logits, 10_000);
        assert!(drawn[2] == 0.0 && drawn[3] == 0.0 && drawn[1] > 0.3, "{drawn:?}");
    }

    #[test]
    fn a_seed_repeats_and_no_seed_does_not() {
        let logits: Vec<f32> = (0..1000).map(|i| (i % 17) as f32 / 10.0).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling { seed, ..sampling() });
            (0..20).map(|_| sampler.sample(Row::from(&mut *logits.clone()))).collect::<Vec<_>>()
        };
        assert_eq!(draw(Some(3)), draw(Some(3)));
        assert_ne!(draw(Some(3)), draw(Some(4)));
        assert_ne!(draw(None), draw(None));
    }

    #[test]
    fn the_penalty_makes_what_was_drawn_less_likely() {
        let logits = [2.0_f32, -2.0, 0.0];
        let mut sampler = Sampler::new(Sampling { repetition_penalty: 2.0, ..sampling() });
        sampler.recent.extend([0, 0, 1]);
        let mut counts = [0_u32; 3];
        for _ in 0..20_000 {
            let mut row = logits;
            counts[sampler.sample(Row::from(&mut row[..])) as usize] += 1;
            sampler.recent.truncate(3);
        }
        // The logits become 1, -4, 0: e/(e+e⁻⁴+1), ...
        let total = 1.0_f64.exp() + (-4.0_f64).exp() + 1.0;
        assert!((f64::from(counts[0]) / 2e4 - 1.0_f64.exp() / total).abs() < 0.015, "{counts:?}");
        assert!((f64::from(counts[1]) / 2e4 - (-4.0_f64).exp() / total).abs() < 0.01, "{counts:?}");
    }

    #[test]
    fn strange_logits_do_not_panic() {
        for mut logits in [vec![f32::NAN; 4], vec![f32::NEG_INFINITY; 4], vec![f32::INFINITY, 0.0], vec![0.0]]
        {
            let id = Sampler::new(sampling()).sample(Row::from(&mut *logits));
            assert!((id as usize) < logits.len());
        }
    }

    #[test]
    fn ranges_are_checked_by_name() {
        let cases = [
            (Sampling { temperature: 0.0, ..sampling() }, "temperature"),
            (Sampling { temperature: f32::NAN, ..sampling() }, "temperature"),
            (Sampling { top_p: 0.0, ..sampling() }, "top_p"),
            (Sampling { min_p: 1.0, ..sampling() }, "min_p"),
            (Sampling { repetition_penalty: 0.5, ..sampling() }, "repetition_penalty"),
        ];
        for (sampling, name) in cases {
            match sampling.check() {
                Err(EngineError::BadRequest { field, .. }) => assert_eq!(field, name),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sampling().check(), Ok(()));
    }

    #[test]
    fn tops_that_are_given_change_nothing() {
        for (seed, penalty) in [(1, 1.0), (2, 1.5), (3, 2.0)] {
            // A length that is no multiple of what a top is of; many equal ones.
            let logits: Vec<f32> = (0..1003).map(|i| ((i * 37 + 11) % 97) as f32 / 9.0 - 4.0).collect();
            let tops: Vec<f32> = logits.chunks(TOP).map(largest).collect();
            let sampling = Sampling { repetition_penalty: penalty, seed: Some(seed), ..sampling() };
            let (mut with, mut without) = (Sampler::new(sampling.clone()), Sampler::new(sampling));
            for _ in 0..300 {
                let token = with.sample(Row { values: &mut logits.clone(), tops: &tops });
                assert_eq!(token, without.sample(Row::from(&mut *logits.clone())));
            }
        }
    }
}
