//! How busy the hours of a day are.

use serde::{Deserialize, Serialize};

use super::super::input::{self, InputError};

/// Hours of a day.
const HOURS: usize = 24;

/// A factor for each hour of the day, from midnight on: times the rates of actions. They need not average to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Curve([f64; HOURS]);

impl Default for Curve {
    /// The same all day, as in the reference design.
    fn default() -> Self {
        Self([1.0; HOURS])
    }
}

impl Curve {
    /// A factor for each hour.
    pub const fn new(factors: [f64; HOURS]) -> Self {
        Self(factors)
    }

    /// Assumed, not measured: busiest at 21 h with `1 + swing`, quietest at 9 h with `1 - swing`, a cosine between them
    /// that averages to 1. `swing` is taken as 0 to 1.
    pub fn evening(swing: f64) -> Self {
        let swing = if swing.is_nan() { 0.0 } else { swing.clamp(0.0, 1.0) };
        let factor = |hour: usize| 1.0 + swing * ((hour as f64 - 21.0) / 24.0 * std::f64::consts::TAU).cos();
        Self(std::array::from_fn(factor))
    }

    /// Checks that every factor is 0 to 100, and that one is above 0.
    pub fn check(&self, key: &str) -> Result<(), InputError> {
        for (hour, factor) in self.0.iter().enumerate() {
            input::number(&format!("{key}[{hour}]"), *factor, 0.0, 100.0)?;
        }
        if self.peak().1 > 0.0 {
            return Ok(());
        }
        Err(InputError::bad(key, "0 in every hour", "above 0 in one of them"))
    }

    pub fn factors(&self) -> &[f64; HOURS] {
        &self.0
    }

    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / HOURS as f64
    }

    /// The busiest hour, the first of several, and its factor.
    pub fn peak(&self) -> (usize, f64) {
        let hours = self.0.iter().copied().enumerate();
        hours.fold((0, self.0[0]), |best, (hour, factor)| if factor > best.1 { (hour, factor) } else { best })
    }
}
