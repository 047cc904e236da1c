//! How long a step of the engine takes, by what it computes: measured by `bench engine --what steps`.

mod fit;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::input::{self, InputError};

pub use fit::{Fit, Sample};

/// Points that a curve may have.
const MAX_POINTS: usize = 64;

/// Longest step and longest part of one that is believed, in seconds.
const MAX_SECONDS: f64 = 3600.0;

/// Largest file of measurements that is read, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// What one step of the engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepShape {
    /// All tokens in the step.
    pub tokens: usize,
    /// Tokens whose logits are wanted: the head is computed for these alone.
    pub logits: usize,
    /// Sum over the tokens of the positions that each looks at, its own included.
    pub attended: usize,
    /// Sum over the sequences of the positions that any of their tokens looks at: what is read of the KV cache.
    #[serde(default)]
    pub read: usize,
    /// Sum over the tokens of their adapters: a token whose mix has three counts as three.
    pub mixed: usize,
}

/// A point of the curve over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepPoint {
    pub tokens: usize,
    pub seconds: f64,
}

/// How long a step takes, in seconds: piecewise linear in its tokens, and linear in the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTimes {
    /// With ascending tokens. Below the first it holds its value; beyond the last its last slope.
    pub points: Vec<StepPoint>,
    /// For each token with logits.
    pub logits_s: f64,
    /// For each position attended.
    pub attended_s: f64,
    /// For each position read: tokens of one prompt share what they look at.
    #[serde(default)]
    pub read_s: f64,
    /// For each adapter of each token.
    pub mixed_s: f64,
    /// Beside each step: the scheduler, channels, sockets.
    pub step_overhead_s: f64,
}

impl StepTimes {
    /// Seconds of a step; 0 of one that computes nothing.
    pub fn seconds(&self, shape: StepShape) -> f64 {
        if shape.tokens == 0 {
            return 0.0;
        }
        self.curve(shape.tokens as f64)
            + self.logits_s * shape.logits as f64
            + self.attended_s * shape.attended as f64
            + self.read_s * shape.read as f64
            + self.mixed_s * shape.mixed as f64
            + self.step_overhead_s
    }

    /// The times of a machine on which all takes so much longer; `factor`: above 0.
    #[must_use]
    pub fn slower(&self, factor: f64) -> Self {
        let point = |point: &StepPoint| StepPoint { seconds: point.seconds * factor, ..*point };
        Self {
            points: self.points.iter().map(point).collect(),
            logits_s: self.logits_s * factor,
            attended_s: self.attended_s * factor,
            read_s: self.read_s * factor,
            mixed_s: self.mixed_s * factor,
            step_overhead_s: self.step_overhead_s * factor,
        }
    }

    fn curve(&self, tokens: f64) -> f64 {
        let at = self.points.partition_point(|point| (point.tokens as f64) < tokens);
        let (low, high) = match self.points[..] {
            [] => return 0.0,
            [only] => return only.seconds,
            [first, ..] if at == 0 => return first.seconds,
            [.., before, last] if at == self.points.len() => (before, last),
            _ => (self.points[at - 1], self.points[at]),
        };
        let slope = (high.seconds - low.seconds) / (high.tokens - low.tokens) as f64;
        (low.seconds + slope * (tokens - low.tokens as f64)).max(0.0)
    }

    /// Checks the ranges: 1 to 64 points with ascending tokens of at least 1 and times that do not fall; all times at
    /// least 0 and at most an hour, and the first point's above 0. `key` is what messages put before a field's name.
    pub fn check(&self, key: &str) -> Result<(), InputError> {
        let count = format!("{key}.points (how many)");
        input::whole(&count, self.points.len() as u64, 1, MAX_POINTS as u64)?;
        let (mut tokens, mut seconds) = (1, f64::MIN_POSITIVE);
        for (index, point) in self.points.iter().enumerate() {
            let field = |name: &str| format!("{key}.points[{index}].{name}");
            input::whole(&field("tokens"), point.tokens as u64, tokens, 1 << 24)?;
            input::number(&field("seconds"), point.seconds, seconds, MAX_SECONDS)?;
            (tokens, seconds) = (point.tokens as u64 + 1, point.seconds);
        }
        for (field, value) in [
            ("logits_s", self.logits_s),
            ("attended_s", self.attended_s),
            ("read_s", self.read_s),
            ("mixed_s", self.mixed_s),
            ("step_overhead_s", self.step_overhead_s),
        ] {
            input::number(&format!("{key}.{field}"), value, 0.0, MAX_SECONDS)?;
        }
        Ok(())
    }

    /// Reads the times from the JSON that `bench engine --what steps --json FILE` wrote; `file` is its name in messages.
    ///
    /// # Errors
    /// No JSON, one without steps, or a figure outside its range. The message names the file and the field.
    pub fn from_bench(file: &str, text: &str) -> Result<Self, InputError> {
        /// What is read of the report.
        #[derive(Deserialize)]
        struct Report {
            steps: Option<Steps>,
        }
        #[derive(Deserialize)]
        struct Steps {
            fit: Fit,
        }
        let wrong = |reason: String| InputError::Syntax { file: file.to_owned(), key: String::new(), reason };
        if text.len() > MAX_BYTES {
            return Err(wrong(format!("has {} bytes, but at most {MAX_BYTES} are read", text.len())));
        }
        let report: Report = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let Some(steps) = report.steps else {
            return Err(wrong(
                "has no steps: measure them with `bench engine --what steps --json FILE`".into(),
            ));
        };
        steps.fit.times.check(&format!("{file}: steps.fit.times"))?;
        Ok(steps.fit.times)
    }
}
