//! `[personality]`: how an archetype's characters are, and how far they differ.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{At, overlaid};
use crate::archetype::{PackError, Trait, traits::Traits};

/// Factors of a pack, with those of the defaults.
const FACTORS: usize = 24;
/// A trait lies so many standard deviations from the ends of its scale at least.
const ROOM: f64 = 3.0;
/// For rounding.
const TOLERANCE: f64 = 1e-9;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::archetype) struct Written {
    sd: Option<f64>,
    means: BTreeMap<String, f64>,
    sds: BTreeMap<String, f64>,
    factors: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Means, standard deviations and correlations of the traits. They hold for what characters get.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonalityTable {
    pub mean: Traits<f64>,
    pub sd: Traits<f64>,
    /// By name. What traits have in common: two correlate as the sum of the products of their loadings says.
    pub factors: Vec<Factor>,
    /// The loading of what a trait has for itself.
    pub own: Traits<f64>,
}

/// Something that several traits come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    pub name: String,
    pub loading: Traits<f64>,
}

impl PersonalityTable {
    /// How two traits correlate.
    pub fn correlation(&self, a: Trait, b: Trait) -> f64 {
        if a == b {
            return 1.0;
        }
        self.factors.iter().map(|factor| factor.loading[a] * factor.loading[b]).sum()
    }
}

impl Written {
    pub(super) fn over(self, under: &Self) -> Self {
        let over = |over: BTreeMap<String, f64>, under: &BTreeMap<String, f64>| {
            let mut all = under.clone();
            all.extend(over);
            all
        };
        Self {
            sd: self.sd.or(under.sd),
            means: over(self.means, &under.means),
            sds: over(self.sds, &under.sds),
            factors: overlaid(self.factors, &under.factors),
        }
    }

    pub(super) fn check(self, at: &At<'_>) -> Result<PersonalityTable, PackError> {
        let common = at.number("personality.sd", self.sd.unwrap_or(0.0), (0.0, 1.0 / ROOM))?;
        let mut mean = Traits::default();
        for (name, value) in self.means {
            let key = format!("personality.means.{name}");
            mean[at.named::<Trait>(&key, &name)?] = at.number(&key, value, (-1.0, 1.0))?;
        }
        // Where nothing is said there is always room.
        let room = |named: Trait| (1.0 - f64::abs(mean[named])) / ROOM;
        let mut sd = Traits::new(|named| common.min(room(named)));
        for (name, value) in self.sds {
            let key = format!("personality.sds.{name}");
            let named = at.named::<Trait>(&key, &name)?;
            if !(0.0..=room(named) + TOLERANCE).contains(&value) {
                let reason = format!(
                    "it is {value}, but must be from 0 to {:.3}: a third of what lies between the mean, {}, and the \
                     nearer end of -1 to 1",
                    room(named),
                    mean[named]
                );
                return at.fail(key, reason);
            }
            sd[named] = value;
        }
        let (factors, own) = factors(self.factors, at)?;
        Ok(PersonalityTable { mean, sd, factors, own })
    }
}

fn factors(
    written: BTreeMap<String, BTreeMap<String, f64>>,
    at: &At<'_>,
) -> Result<(Vec<Factor>, Traits<f64>), PackError> {
    at.at_most("personality.factors", written.len(), FACTORS)?;
    let mut factors = Vec::with_capacity(written.len());
    for (name, loadings) in written {
        at.id("personality.factors", &name)?;
        let mut loading = Traits::default();
        for (of, value) in loadings {
            let key = format!("personality.factors.{name}.{of}");
            loading[at.named::<Trait>(&key, &of)?] = at.number(&key, value, (-1.0, 1.0))?;
        }
        factors.push(Factor { name, loading });
    }
    let mut own = Traits::default();
    for named in Trait::ALL {
        let common: f64 = factors.iter().map(|factor| factor.loading[named] * factor.loading[named]).sum();
        if common > 1.0 + TOLERANCE {
            let reason = format!(
                "the squares of the loadings of {named} add up to {common:.3}, at most 1 is possible"
            );
            return at.fail("personality.factors", reason);
        }
        own[named] = libm::sqrt((1.0 - common).max(0.0));
    }
    Ok((factors, own))
}
