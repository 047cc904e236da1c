//! A plan, as it is reported: plain data that JSON holds whole.

use serde::{Deserialize, Serialize};

use super::super::capacity::{Basis, Capacity, Figure};
use super::super::load;
use super::super::packing::Market;
use super::{Expected, Settings};

/// Of the JSON's keys; a reader refuses others.
pub const VERSION: u32 = 1;

/// Servers and their cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    pub version: u32,
    pub npcs: u64,
    pub market: Market,
    pub cost: Cost,
    /// In the busiest hour, and on average over the day.
    pub peak: Rates,
    pub mean: Rates,
    /// By type of instance.
    pub groups: Vec<Group>,
    pub servers: Vec<ServerPlan>,
    pub chains: Vec<ChainPlan>,
    /// What devices of the types in use do, by base model.
    pub capacities: Vec<Rate>,
    /// What was measured, scaled and assumed. Those that begin with [`WARNING`] come first.
    pub notes: Vec<String>,
}

/// What notes begin with that stand beside the cost too.
pub const WARNING: &str = "WARNING: ";

impl Fleet {
    /// Notes without which the cost is not understood.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().map(String::as_str).filter(|note| note.starts_with(WARNING))
    }
}

/// Dollars. `usd_per_hour` is of the market that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub usd_per_hour: f64,
    pub on_demand_usd_per_hour: f64,
    pub spot_usd_per_hour: f64,
    pub on_demand_usd_per_month: f64,
    pub spot_usd_per_month: f64,
    /// Some spot price was not observed, but is a share of the price on demand.
    pub spot_is_assumed: bool,
    /// No packing of these replicas costs less an hour.
    pub least_usd_per_hour: f64,
}

/// Of all archetypes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub actions_per_s: f64,
    pub inferences_per_s: f64,
    pub lines_per_s: f64,
    pub choices_per_s: f64,
    pub prefill_tokens_per_s: f64,
    pub decode_tokens_per_s: f64,
}

impl From<load::Rates> for Rates {
    fn from(rates: load::Rates) -> Self {
        Self {
            actions_per_s: rates.actions_per_s,
            inferences_per_s: rates.inferences_per_s,
            lines_per_s: rates.lines_per_s,
            choices_per_s: rates.choices_per_s,
            prefill_tokens_per_s: rates.prefill_tokens_per_s,
            decode_tokens_per_s: rates.decode_tokens_per_s,
        }
    }
}

/// Servers of one type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub instance: String,
    pub device: String,
    pub devices_each: u32,
    pub servers: u64,
    /// Servers in each zone.
    pub zones: Vec<(String, u64)>,
    pub on_demand_usd_per_month: f64,
    pub spot_usd_per_month: f64,
    /// Share of the devices' throughput in use in the busiest hour, and on average over the day.
    pub peak_utilisation: f64,
    pub average_utilisation: f64,
    /// The limit that binds most of them.
    pub binds: String,
    /// For its busiest device.
    pub settings: Settings,
    /// Of its busiest device, in the busiest hour; `None`: not simulated.
    pub expected: Option<Expected>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerPlan {
    pub instance: String,
    pub zone: String,
    pub devices: Vec<DevicePlan>,
    pub ram_bytes: u64,
    pub usd_per_hour: f64,
    /// The limit that is nearest, and the share of it that is in use, headroom taken off.
    pub binds: String,
    pub binds_share: f64,
    pub why: String,
}

/// A card, or a server's processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DevicePlan {
    pub holds: Vec<Held>,
    pub gpu_bytes: u64,
    /// Share of its throughput, without headroom.
    pub peak_utilisation: f64,
    pub average_utilisation: f64,
}

/// A replica of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub archetype: String,
    /// From 0.
    pub replica: u32,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainPlan {
    pub archetype: String,
    pub model: String,
    pub npcs: u64,
    pub replicas: u64,
    pub actions_per_s: f64,
    pub weights_bytes: u64,
    pub adapters_bytes: u64,
    /// Keys and values of a replica.
    pub kv_bytes: u64,
    /// Rare enough to share: it takes a small part of a server on which others lie too.
    pub shares_a_server: bool,
    /// Of the throughput of the device that it lies on, the most of its replicas.
    pub largest_share: f64,
    /// From renting a server to the chain's first answer.
    pub cold_start_s: f64,
    /// What the server costs meanwhile.
    pub cold_start_usd: f64,
    /// What a server of its own that waits costs a month.
    pub standby_usd_per_month: f64,
}

/// What a device does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub instance: String,
    pub device: String,
    pub model: String,
    /// Of the first archetype with this model.
    pub archetype: String,
    pub capacity: Capacity,
    pub limit: String,
    #[serde(flatten)]
    pub basis: Basis,
    /// `None` where nothing was scaled.
    pub bandwidth_efficiency: Option<Figure>,
    pub compute_efficiency: Option<Figure>,
}
