//! The reference cases, 100, 1,000 and 10,000 NPCs: the reference design's figures beside what its own formula gives.

mod claims;
#[cfg(test)]
mod tests;
mod words;

use super::input::InputError;
use super::instances::Catalogue;
use super::load::{Load, Rates};

pub use claims::{Claim, claims};
pub(super) use words::{dollars, number};

/// The instance type that the reference design rents.
pub const INSTANCE: &str = "g5.2xlarge";

/// Inferences that it has one server do in a second. The design does not say so; it is what its 8,750 inferences a second on
/// 175 servers come to, and with it the formula gives 2 servers for 100 NPCs and 18 for 1,000.
pub const INFERENCES_PER_SERVER_PER_S: f64 = 50.0;

/// NPCs, and the servers that the reference design gives them.
pub const SERVERS: [(u64, u64); 3] = [(100, 1), (1_000, 5), (10_000, 175)];

/// What the reference design says that 10,000 NPCs ask for, in inferences a second.
pub const INFERENCES_PER_S: f64 = 8_750.0;

/// What it says that they cost on demand, in dollars a month.
pub const ON_DEMAND_USD_PER_MONTH: f64 = 155_000.0;

/// And on the spot market.
pub const SPOT_USD_PER_MONTH: f64 = 46_500.0;

/// Servers by the reference design's own formula: NPCs · 0.125 actions a second · 7 tasks, over what one server does,
/// rounded up.
pub fn formula_servers(inferences_per_s: f64) -> u64 {
    (inferences_per_s / INFERENCES_PER_SERVER_PER_S).ceil().max(0.0) as u64
}

/// A number of servers and what they cost a month, in dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub servers: u64,
    pub on_demand_usd_per_month: f64,
    /// At the catalogue's spot price.
    pub spot_usd_per_month: f64,
}

/// One of the reference cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub npcs: u64,
    /// What they ask for; the reference design has the same load all day.
    pub rates: Rates,
    /// With the number of servers that the reference design gives.
    pub design: Cost,
    /// With the number that its formula gives.
    pub formula: Cost,
}

/// The three cases, at the prices of a catalogue.
///
/// # Errors
/// The catalogue has no g5.2xlarge.
pub fn cases(catalogue: &Catalogue) -> Result<Vec<Case>, InputError> {
    let instance = catalogue.get(INSTANCE)?;
    let cost = |servers| Cost {
        servers,
        on_demand_usd_per_month: instance.on_demand_usd_per_month(servers),
        spot_usd_per_month: instance.spot_usd_per_month(servers),
    };
    let case = |(npcs, servers)| {
        let rates = Load::reference(npcs).mean();
        Case { npcs, rates, design: cost(servers), formula: cost(formula_servers(rates.inferences_per_s)) }
    };
    Ok(SERVERS.map(case).to_vec())
}
