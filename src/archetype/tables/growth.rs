//! `[growth]`: what becomes of an archetype's characters by what happens to them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{At, overlaid};
use crate::archetype::{Cause, PackError, Trait};

/// How far a trait moves at once, at most.
const STEP: (f64, f64) = (-0.05, 0.05);

/// By cause and trait.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(in crate::archetype) struct Written(BTreeMap<String, BTreeMap<String, f64>>);

/// How far traits move by something of importance 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrowthTable(BTreeMap<Cause, Vec<(Trait, f64)>>);

impl GrowthTable {
    /// The traits that something moves.
    pub fn steps(&self, cause: Cause) -> &[(Trait, f64)] {
        self.0.get(&cause).map_or(&[], Vec::as_slice)
    }
}

impl Written {
    pub(super) fn over(self, under: &Self) -> Self {
        Self(overlaid(self.0, &under.0))
    }

    pub(super) fn check(self, at: &At<'_>) -> Result<GrowthTable, PackError> {
        let mut table = BTreeMap::new();
        for (cause, steps) in self.0 {
            let key = format!("growth.{cause}");
            let cause = at.named::<Cause>(&key, &cause)?;
            let step = |(name, value): (String, f64)| {
                let key = format!("{key}.{name}");
                Ok((at.named::<Trait>(&key, &name)?, at.number(&key, value, STEP)?))
            };
            let mut steps = steps.into_iter().map(step).collect::<Result<Vec<_>, PackError>>()?;
            steps.retain(|(_, step)| *step != 0.0);
            table.insert(cause, steps);
        }
        Ok(GrowthTable(table))
    }
}
