//! Packing: which chains lie on which servers, so that no limit is passed and the bill is small.
//!
//! A chain (a base model and its adapters) is never divided. Its load may be: replicas each hold the whole chain and
//! share its requests. A server is a bin of one of the catalogue's types; a bin with several GPUs has a place for each
//! of them, because one chain runs on one GPU. Chains with the same base on one GPU share that base's memory.
//!
//! `replicas` splits loads, `first_fit` makes a plan, `improve` and `exact` make it cheaper, `explain` puts it in words.
//! The arithmetic inside is in whole numbers (bytes, millionths of work and of a dollar): sums are exact and the same
//! input gives the same plan, as long as `Limits::time` is not reached.

mod check;
mod error;
mod exact;
mod explain;
mod first_fit;
mod improve;
mod plan;
mod problem;
mod replicas;
mod server;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use error::{Dimension, PackError, Shortfall};
pub use plan::{Binding, PackedBin, Place, Plan, pack};
pub use replicas::{plan_chains, split};

/// What something takes of a server's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes on the GPU, on a server that has one.
    pub gpu_bytes: u64,
    /// Bytes of main memory beside that GPU.
    pub ram_bytes: u64,
    /// Bytes of main memory on a server without a GPU. `None`: it must not be placed on one.
    pub cpu_ram_bytes: Option<u64>,
}

/// A base model. Chains that name the same base and lie on the same GPU (or the same CPU server) hold it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub name: String,
    /// Weights and what the runtime adds once for each session.
    pub memory: Memory,
}

/// How far replicas of one chain stay apart. They never share a GPU: there they would be one replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// They may share a server with several GPUs.
    Gpus,
    /// Each on a server of its own: one server lost costs one replica.
    #[default]
    Servers,
    /// As `Servers`, and of k replicas over z zones no zone has more than k/z, rounded up.
    Zones,
}

/// An archetype's chain and the load on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// The archetype. Unique.
    pub name: String,
    pub base: Option<Base>,
    /// What the chain takes beside its base: adapters and KV cache.
    pub memory: Memory,
    /// Work that arrives, in the unit of `BinType::work_per_s`. 0 or more.
    pub work_per_s: f64,
    /// At least so many replicas, whatever the load. 0 counts as 1.
    pub min_replicas: u32,
    pub spread: Spread,
}

/// One replica of a chain, whole in memory, with its part of the load. This is what is packed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The archetype. Items with the same name are replicas of one chain.
    pub chain: String,
    /// From 0; unique within its chain.
    pub replica: u32,
    pub base: Option<Base>,
    /// What it takes beside its base.
    pub memory: Memory,
    /// Its part of the load, in the unit of `BinType::work_per_s`. 0 or more, at most 1e12.
    pub work_per_s: f64,
    pub spread: Spread,
}

/// A type of server. Capacities are what may be used: headroom is already off them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinType {
    /// As the catalogue names it. Unique.
    pub name: String,
    /// 0: chains run on the CPU.
    pub gpus: u32,
    /// Bytes of each GPU.
    pub gpu_bytes: u64,
    /// Bytes of main memory of the whole server.
    pub ram_bytes: u64,
    /// Work per second of each GPU; without GPUs, of the whole server. Any unit that all types and chains share, such as
    /// reference inferences per second.
    pub work_per_s: f64,
    /// Dollars per hour, above 0.
    pub on_demand_usd_per_hour: f64,
    /// Dollars per hour, above 0. `None`: not to be had on spot.
    pub spot_usd_per_hour: Option<f64>,
}

/// Parts of a server that are left free, each 0 or more and below 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    pub gpu_memory: f64,
    pub ram: f64,
    pub work: f64,
}

impl BinType {
    /// The type with headroom taken off its capacities. Shares outside 0 to 1 count as the nearer end.
    #[must_use]
    pub fn with_headroom(mut self, headroom: Headroom) -> Self {
        let kept = |share: f64| 1.0 - share.clamp(0.0, 1.0);
        self.gpu_bytes = (self.gpu_bytes as f64 * kept(headroom.gpu_memory)) as u64;
        self.ram_bytes = (self.ram_bytes as f64 * kept(headroom.ram)) as u64;
        self.work_per_s *= kept(headroom.work);
        self
    }

    /// Places that a chain can run on: its GPUs, or the CPU.
    pub fn places(&self) -> u32 {
        self.gpus.max(1)
    }
}

/// Which of a type's two prices the plan makes small.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    #[default]
    OnDemand,
    /// Types without a spot price are left out.
    Spot,
}

/// How a plan is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub market: Market,
    /// Names of the zones; at least one.
    pub zones: Vec<String>,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { market: Market::OnDemand, zones: vec!["a".to_owned()], limits: Limits::default() }
    }
}

/// Bounds on the search for a cheaper plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Servers are packed anew in groups of a few; so many tries of that kind. 0: none.
    pub repacks: usize,
    /// The solver packs groups of at most so many items (at most 32), so many groups. 0: none.
    pub exact_items: usize,
    pub exact_groups: usize,
    /// A group with more sets that fit one server than this (each counted once for each zone, where that matters) is left
    /// to the other steps.
    pub exact_patterns: usize,
    /// After this long the best plan so far is taken; one group of the solver's may use a fifth of what is left. A plan
    /// that was cut short so is not reproducible on another machine, and says so.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            repacks: 2000,
            exact_items: 12,
            exact_groups: 16,
            exact_patterns: 600,
            time: Duration::from_secs(10),
        }
    }
}
