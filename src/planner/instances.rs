//! Machines that can be rented: their memory, rates and prices, from `config/instances.toml`.

mod file;
#[cfg(test)]
mod tests;

use super::input::{self, InputError};

/// The file with the machines that are known.
const FILE: &str = "config/instances.toml";

/// Its text.
const BUILT_IN: &str = include_str!("../../config/instances.toml");

/// Hours of a month, as clouds count it: 365 · 24 / 12.
pub const HOURS_PER_MONTH: f64 = 730.0;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where prices are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    /// The day on which they were so, such as 2026-01-19.
    pub date: String,
    pub text: String,
}

/// What the model runs on: one card, or an instance's share of its processor. Rates are peaks of dense work.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Such as `A10G`.
    pub name: String,
    pub is_gpu: bool,
    pub memory_bytes: u64,
    /// Of its memory.
    pub bandwidth_bytes_per_s: f64,
    /// A multiplication and an addition are two.
    pub fp16_flops_per_s: f64,
    pub int8_ops_per_s: f64,
    /// Where the figures are from.
    pub source: String,
}

/// An instance type.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Such as `g5.2xlarge`.
    pub name: String,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// Cards; 0: the model runs on the processor.
    pub gpus: u32,
    /// One card, or the share of the processor.
    pub device: Device,
    pub on_demand_usd_per_hour: f64,
    pub price_source: Source,
    pub spot_usd_per_hour: f64,
    /// Whether the spot price was not observed, but is a share of the price on demand.
    pub spot_is_assumed: bool,
    pub spot_source: Source,
}

impl Instance {
    /// Devices like [`Instance::device`]: the cards, or the one share of the processor.
    pub fn devices(&self) -> u32 {
        self.gpus.max(1)
    }

    /// Memory of all cards; 0 without any.
    pub fn gpu_memory_bytes(&self) -> u64 {
        if self.device.is_gpu { self.device.memory_bytes * u64::from(self.gpus) } else { 0 }
    }

    /// Dollars a month of so many of them, all month long.
    pub fn on_demand_usd_per_month(&self, count: u64) -> f64 {
        count as f64 * self.on_demand_usd_per_hour * HOURS_PER_MONTH
    }

    /// The same on the spot market.
    pub fn spot_usd_per_month(&self, count: u64) -> f64 {
        count as f64 * self.spot_usd_per_hour * HOURS_PER_MONTH
    }
}

/// Instance types by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    instances: Vec<Instance>,
    assumed_spot_share: f64,
}

impl Catalogue {
    /// Those of `config/instances.toml`.
    pub fn built_in() -> Result<Self, InputError> {
        Self::parse(FILE, BUILT_IN)
    }

    /// Reads a file of the same form; `file` is its name in messages.
    ///
    /// # Errors
    /// No such TOML, an unknown or missing key, a figure outside its range, a name twice, or a source, card or processor
    /// that is not in the file. The message names the key.
    pub fn parse(file: &str, text: &str) -> Result<Self, InputError> {
        input::parse::<file::File>(file, text)?.into_catalogue(file)
    }

    /// The instance type of a name.
    pub fn get(&self, name: &str) -> Result<&Instance, InputError> {
        self.instances.iter().find(|instance| instance.name == name).ok_or_else(|| {
            InputError::unknown("instance type", name, self.instances.iter().map(|known| known.name.as_str()))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter()
    }

    /// The share of the price on demand that stands for a spot price where none was observed.
    pub fn assumed_spot_share(&self) -> f64 {
        self.assumed_spot_share
    }
}
