//! The plan: which servers, what lies on each, which limit binds and what it costs.

use serde::Serialize;

use super::explain;
use super::first_fit::{decreasing, fill};
use super::improve::improve;
use super::problem::{MICRO, Problem, ratio};
use super::server::{Server, Zones, price};
use super::{BinType, Dimension, Item, PackError, Settings};

/// What to rent. Every item that was given lies in exactly one bin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Sorted by type (in the order given), zone and items.
    pub bins: Vec<PackedBin>,
    /// In the market that was asked for.
    pub usd_per_hour: f64,
    pub on_demand_usd_per_hour: f64,
    /// `None`: a type that is used has no spot price.
    pub spot_usd_per_hour: Option<f64>,
    /// What first-fit decreasing alone came to.
    pub first_fit_usd_per_hour: f64,
    /// No plan for these items costs less than this; the cheapest may cost more.
    pub least_usd_per_hour: f64,
    /// `Limits::time` ended the search: on another machine the plan may differ.
    pub cut_short: bool,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackedBin {
    pub bin_type: String,
    pub zone: String,
    /// One for each GPU; one for a server without any. Some may be empty.
    pub places: Vec<Place>,
    /// Bytes of main memory that are used.
    pub ram_bytes: u64,
    /// In the market that was asked for.
    pub usd_per_hour: f64,
    /// The limit that is nearest.
    pub binding: Binding,
    /// Why it is there, in words.
    pub why: String,
}

/// A GPU, or a CPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// Indexes of the items that were given.
    pub items: Vec<usize>,
    /// Bytes of GPU memory that are used, shared bases once.
    pub gpu_bytes: u64,
    pub work_per_s: f64,
}

/// The limit that a server is nearest to: for GPU memory and work, on its fullest GPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Binding {
    pub dimension: Dimension,
    /// Of the capacity after headroom; 0 to 1.
    pub share: f64,
}

impl PackedBin {
    /// Indexes of the items on all its places.
    pub fn items(&self) -> impl Iterator<Item = usize> + '_ {
        self.places.iter().flat_map(|place| place.items.iter().copied())
    }
}

/// Packs items into servers of these types.
///
/// # Errors
/// An item that fits no type, with the constraint and by how much; input that is out of range, and which.
pub fn pack(items: &[Item], types: &[BinType], settings: &Settings) -> Result<Plan, PackError> {
    let problem = Problem::new(items, types, settings)?;
    let first = fill(&problem, &decreasing(&problem), &mut Zones::new(&problem));
    let first_fit = price(&problem, &first);
    let (mut servers, cut_short) = improve(&problem, first, &settings.limits);
    servers.sort_by_cached_key(|server| {
        let mut things: Vec<usize> = server.things().collect();
        things.sort_unstable();
        (problem.kinds[server.kind].given, server.zone, things)
    });
    let used = |server: &Server| &types[problem.kinds[server.kind].given];
    Ok(Plan {
        usd_per_hour: price(&problem, &servers) as f64 / MICRO,
        on_demand_usd_per_hour: servers.iter().map(|server| used(server).on_demand_usd_per_hour).sum(),
        spot_usd_per_hour: servers.iter().map(|server| used(server).spot_usd_per_hour).sum(),
        first_fit_usd_per_hour: first_fit as f64 / MICRO,
        least_usd_per_hour: problem.least_cost(&decreasing(&problem)),
        cut_short,
        bins: servers.iter().map(|server| bin(&problem, server, items, types, settings)).collect(),
    })
}

fn bin(
    problem: &Problem,
    server: &Server,
    items: &[Item],
    types: &[BinType],
    settings: &Settings,
) -> PackedBin {
    let kind = &problem.kinds[server.kind];
    let places = server.slots.iter().map(|slot| {
        let mut items = slot.things.clone();
        items.sort_unstable();
        Place { items, gpu_bytes: slot.gpu, work_per_s: slot.work as f64 / MICRO }
    });
    PackedBin {
        bin_type: types[kind.given].name.clone(),
        zone: settings.zones[server.zone].clone(),
        places: places.collect(),
        ram_bytes: server.ram,
        usd_per_hour: kind.usd(),
        binding: binding(problem, server),
        why: explain::why(problem, server, items, types),
    }
}

/// The limit that is nearest; of equals the first of GPU memory, RAM and work.
pub(super) fn binding(problem: &Problem, server: &Server) -> Binding {
    let kind = &problem.kinds[server.kind];
    let fullest = |of: fn(&super::server::Slot) -> u64| server.slots.iter().map(of).max().unwrap_or(0);
    let mut binding =
        Binding { dimension: Dimension::GpuMemory, share: ratio(fullest(|slot| slot.gpu), kind.gpu) };
    let others = [
        (Dimension::Ram, ratio(server.ram, kind.ram)),
        (Dimension::Work, ratio(fullest(|slot| slot.work), kind.work)),
    ];
    for (dimension, share) in others {
        if share > binding.share {
            binding = Binding { dimension, share };
        }
    }
    binding
}
