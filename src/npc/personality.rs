//! How an NPC is: fifty traits, each −1 to 1, that it was born with, and how far it has drifted since.

use std::collections::BTreeMap;

use super::draw::{Source, rounded};
use crate::archetype::{Cause, GrowthTable, PersonalityTable, Trait, Traits};

/// How far a trait drifts from where it was born, in a whole life.
pub const MAX_DRIFT: f32 = 0.3;
/// What its prompt and its weights take notice of.
const NOTICED: f64 = 0.1;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Personality {
    born: Traits,
    drift: Traits,
}

impl Personality {
    /// Who a seed makes of an archetype; traits that are given are as they are given.
    ///
    /// A trait is its mean plus its standard deviation times what it has of each factor and of its own, all of which have
    /// mean 0 and variance 1 and are independent, so mean, standard deviation and correlation are what the table says.
    /// What lies beyond −1 to 1, three standard deviations away at least, is put on the end.
    pub fn born(seed: u64, table: &PersonalityTable, given: Option<&BTreeMap<String, f32>>) -> Self {
        let mut own = Source::new(seed, "personality");
        let own = Traits::new(|_| own.bell());
        let common: Vec<f64> = table
            .factors
            .iter()
            .map(|factor| Source::new(seed, &format!("personality.{}", factor.name)).bell())
            .collect();
        let born = Traits::new(|of| {
            if let Some(&value) = given.and_then(|given| given.get(of.key())) {
                return value;
            }
            let shared: f64 =
                table.factors.iter().zip(&common).map(|(factor, at)| factor.loading[of] * at).sum();
            let at = table.mean[of] + table.sd[of] * (shared + table.own[of] * own[of]);
            rounded(at.clamp(-1.0, 1.0))
        });
        Self { born, drift: Traits::default() }
    }

    /// As it was stored; `None`: not every trait is there.
    pub fn stored(born: &BTreeMap<String, f32>, drift: &BTreeMap<String, f32>) -> Option<Self> {
        let mut personality = Self::default();
        for of in Trait::ALL {
            let value = born.get(of.key())?;
            personality.born[of] = value.clamp(-1.0, 1.0);
            let drifted = drift.get(of.key()).copied().unwrap_or(0.0);
            personality.drift[of] = drifted.clamp(-MAX_DRIFT, MAX_DRIFT);
        }
        Some(personality)
    }

    /// A personality with these traits, for those who want to know what traits do.
    #[cfg(test)]
    pub fn of(traits: &[(Trait, f32)]) -> Self {
        let mut personality = Self::default();
        for (of, value) in traits {
            personality.born[*of] = *value;
        }
        personality
    }

    /// What it was born with.
    pub fn at_birth(&self) -> &Traits {
        &self.born
    }

    /// How far it has drifted, up to [`MAX_DRIFT`] to either side.
    pub fn drift(&self) -> &Traits {
        &self.drift
    }

    /// A trait as it is now, −1 to 1.
    pub fn value(&self, of: Trait) -> f32 {
        let (born, drift) = (self.born[of], self.drift[of]);
        if drift == 0.0 { born } else { rounded(f64::from(born) + f64::from(drift)).clamp(-1.0, 1.0) }
    }

    /// All of them.
    pub fn values(&self) -> Traits {
        Traits::new(|of| self.value(of))
    }

    /// A trait as prompts and weights see it: drift counts in steps of 0.1, so that they stay what they are while little
    /// changes, and what was computed for them stays of use.
    pub fn settled(&self, of: Trait) -> f64 {
        // Not short of a step by rounding.
        let steps = libm::trunc(f64::from(self.drift[of]) / NOTICED * (1.0 + 1e-6));
        (f64::from(self.born[of]) + steps * NOTICED).clamp(-1.0, 1.0)
    }

    /// Something has happened: some traits drift, each by the table's step × importance (0 to 1), and the less the further
    /// it has drifted already. Returns by how much they did.
    pub fn grow(&mut self, table: &GrowthTable, cause: Cause, importance: f32) -> Vec<(Trait, f32)> {
        let mut moved = Vec::new();
        for (of, step) in table.steps(cause) {
            let (born, drift) = (f64::from(self.born[*of]), f64::from(self.drift[*of]));
            let most = f64::from(MAX_DRIFT);
            let step = step * f64::from(importance.clamp(0.0, 1.0));
            let resistance = if step * drift > 0.0 { 1.0 - drift.abs() / most } else { 1.0 };
            let to = (drift + step * resistance).clamp(-most, most).clamp(-1.0 - born, 1.0 - born) as f32;
            let by = to - self.drift[*of];
            if by != 0.0 {
                self.drift[*of] = to;
                moved.push((*of, by));
            }
        }
        moved
    }
}
