//! What was measured: the machine that `bench` ran on, how long steps took there, and what the process needed.
//!
//! From a file that `bench --json` wrote, or from `config/measured.toml`, which also has what is assumed where nothing
//! was measured.

mod bench;
mod built_in;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::input::{self, InputError};
use super::steps::StepTimes;

/// Largest file of `bench` that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// The file with what is taken where no other is given.
const FILE: &str = "config/measured.toml";

/// Its text.
const BUILT_IN: &str = include_str!("../../../config/measured.toml");

/// Where figures are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The day, such as 2026-01-31; empty of a file that does not say.
    pub date: String,
    pub command: String,
    pub source: String,
    /// The times of steps were derived from rates, not measured one by one.
    pub derived: bool,
    /// Figures that the file lacks, which are therefore those of `config/measured.toml`.
    pub built_in: Vec<&'static str>,
}

/// What `bench` ran on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: u32,
    /// What it could do at best in 8-bit operations a second; `None`: not measured.
    pub int8_ops_per_s: Option<f64>,
}

/// How much of a device's peak rates is reached, where it was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumed {
    /// 0.01 to 1.
    pub bandwidth_efficiency: f64,
    /// 0.01 to 1.
    pub compute_efficiency: f64,
    /// Beside each step, in seconds, 0 to 10.
    pub step_overhead_s: f64,
    /// What the process takes besides weights, keys and values and adapters.
    pub runtime_bytes: u64,
    pub source: String,
}

/// Times of a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStart {
    pub disk_bytes_per_s: u64,
    /// Of the process, in seconds.
    pub start_s: f64,
    /// Of the instance, in seconds.
    pub boot_s: f64,
    pub source: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    pub origin: Origin,
    pub machine: Machine,
    /// As `bench` names it.
    pub model: String,
    /// `native` or `portable`.
    pub decoder: String,
    pub steps: StepTimes,
    /// What the process took on that machine besides weights, keys and values and adapters.
    pub runtime_bytes: u64,
    /// What the gateway adds to a line's first token beyond the engine, in seconds.
    pub turn_overhead_s: f64,
    pub cpu: Assumed,
    pub gpu: Assumed,
    pub cold_start: ColdStart,
}

impl Measured {
    /// That of `config/measured.toml`.
    pub fn built_in() -> Result<Self, InputError> {
        built_in::parse(FILE, BUILT_IN)
    }

    /// Reads what `bench --json` wrote, with the assumptions of `config/measured.toml`; `file` is its name in messages.
    ///
    /// # Errors
    /// More than 16 MiB, no such JSON, another `version`, or a figure outside its range. The message names the field.
    pub fn from_bench(file: &str, text: &str) -> Result<Self, InputError> {
        bench::parse(file, text, Self::built_in()?)
    }

    /// What is assumed of a device of this kind.
    pub fn assumed(&self, is_gpu: bool) -> &Assumed {
        if is_gpu { &self.gpu } else { &self.cpu }
    }
}

impl Assumed {
    fn check(&self, key: &str) -> Result<(), InputError> {
        input::number(&format!("{key}.bandwidth_efficiency"), self.bandwidth_efficiency, 0.01, 1.0)?;
        input::number(&format!("{key}.compute_efficiency"), self.compute_efficiency, 0.01, 1.0)?;
        input::number(&format!("{key}.step_overhead_s"), self.step_overhead_s, 0.0, 10.0)?;
        input::whole(&format!("{key}.runtime_bytes"), self.runtime_bytes, 0, 1 << 40)?;
        input::text(&format!("{key}.source"), &self.source)
    }
}
