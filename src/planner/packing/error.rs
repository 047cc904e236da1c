//! Why something cannot be packed: which constraint, and by how much.

use std::fmt;

use serde::Serialize;

/// What a server has a limit of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    GpuMemory,
    Ram,
    Work,
}

impl Dimension {
    /// An amount in words: bytes in GB (10^9 bytes), work per second.
    pub(super) fn amount(self, value: f64) -> String {
        match self {
            Self::GpuMemory | Self::Ram => format!("{} GB", short(value / 1e9)),
            Self::Work => format!("{} actions/s", short(value)),
        }
    }
}

/// About three digits, which is what a reader compares.
fn short(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 0.1 || value == 0.0 {
        2
    } else {
        4
    };
    format!("{value:.digits$}")
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GpuMemory => "GPU memory",
            Self::Ram => "RAM",
            Self::Work => "throughput",
        })
    }
}

/// One limit of one type that is too small.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shortfall {
    pub bin_type: String,
    pub dimension: Dimension,
    /// Bytes, or work per second.
    pub needs: f64,
    /// Bytes, or work per second, after headroom.
    pub limit: f64,
}

impl Shortfall {
    /// How far over the limit.
    pub fn over(&self) -> f64 {
        self.needs - self.limit
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |value| self.dimension.amount(value);
        write!(
            f,
            "{} needs {} and {} has {}: {} too little",
            self.dimension,
            amount(self.needs),
            self.bin_type,
            amount(self.limit),
            amount(self.over())
        )
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PackError {
    #[error(
        "chain {chain} fits no instance type: {}{}",
        nearest.as_ref().map_or_else(|| "it needs a GPU and no type has one".to_owned(), ToString::to_string),
        nearest.as_ref().map_or("", |_| " (the nearest of all types)")
    )]
    FitsNowhere {
        chain: String,
        /// The type that lacks least in proportion. `None`: only CPU types, and it must not run on those.
        nearest: Option<Shortfall>,
        /// One for each type that was tried: the limit that it passes furthest.
        all: Vec<Shortfall>,
    },
    #[error(
        "chain {chain}: {work_per_s} actions/s needs {replicas} replicas even on the fastest type that holds it, and {limit} is the most"
    )]
    TooManyReplicas { chain: String, work_per_s: f64, replicas: u64, limit: u64 },
    #[error("the chains take {replicas} replicas in all: {} more than {limit}, the most that are packed", replicas - limit)]
    TooManyInAll { replicas: u64, limit: u64 },
    #[error("no instance type to choose from{0}")]
    NoTypes(&'static str),
    #[error("zones: at least one is needed")]
    NoZones,
    #[error("chain {chain} is to be spread over zones, and there is only one zone")]
    OneZone { chain: String },
    #[error("{owner}: {field} is {value}, and must be {limit}")]
    Number { owner: String, field: &'static str, value: f64, limit: &'static str },
    #[error("{kind} {name} is there twice")]
    Twice { kind: &'static str, name: String },
    #[error("base {name}: two chains give it different memory")]
    BaseDiffers { name: String },
    #[error("chain {name}: its replicas ask for different spreads")]
    SpreadDiffers { name: String },
}
