//! Fleet: a request becomes chains, these become servers, with what they cost and why they are there.
//!
//! ```text
//! request   what is asked for
//! folder    base models that lie in a folder
//! chain     an archetype's chain, and what each type of instance does of it
//! sizing    one unit of work for unlike devices, and the size of replicas
//! choose    the cheapest of a plan for each type of instance
//! build     the plan in the words of the report
//! notes     what was measured, scaled and assumed, and what was left out
//! expected  how long players wait, by simulation
//! target    again with more headroom while they wait too long
//! ```

mod build;
mod chain;
mod choose;
mod error;
mod expected;
mod folder;
mod notes;
mod output;
mod request;
mod sizing;
mod target;
#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use super::input::InputError;
use super::instances::{Catalogue, Instance};
use super::measured::Measured;
use super::models::Models;
use super::packing::PackError;
use super::simulation::{Arrivals, Server, Simulated};
use chain::{Cell, Spec};

pub use chain::Unfit;
pub use error::PlanError;
pub use expected::{Expected, Settings};
pub use folder::model_of_folder;
pub use output::{
    ChainPlan, Cost, DevicePlan, Fleet, Group, Held, Rate, Rates, ServerPlan, VERSION, WARNING,
};
pub use request::{Adapters, CONTEXT, DEFAULT_MODEL, Request};

/// Simulates a server under a load.
pub type Simulate<'a> = &'a dyn Fn(&Server, &Arrivals) -> Result<Simulated, InputError>;

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub models: &'a Models,
    pub catalogue: &'a Catalogue,
    pub measured: &'a Measured,
    /// `None`: waiting times are left out.
    pub simulate: Option<Simulate<'a>>,
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("measured", &self.measured.origin).finish_non_exhaustive()
    }
}

/// Makes a plan; where the simulation says that players wait too long, with more headroom, up to 70 %.
///
/// # Errors
/// A request that is out of range, and which field; a chain that is too large or too slow for every type of instance, or
/// takes too many replicas, with the constraint and by how much.
pub fn plan(request: &Request, inputs: &Inputs<'_>) -> Result<Fleet, PlanError> {
    request.check()?;
    target::within(request, inputs)
}

/// Makes a plan, whatever the simulation says of it; packing takes about so long at most.
fn once(request: &Request, inputs: &Inputs<'_>, packing: Duration) -> Result<Fleet, PlanError> {
    let instances: Vec<&Instance> = if request.only.is_empty() {
        inputs.catalogue.iter().collect()
    } else {
        request.only.iter().map(|name| inputs.catalogue.get(name)).collect::<Result<_, _>>()?
    };
    let specs = Spec::all(request, inputs)?;
    let mut bases: Vec<&str> = specs.iter().map(|spec| spec.model.name.as_str()).collect();
    bases.sort_unstable();
    bases.dedup();
    let mut cells: Vec<Vec<Cell>> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let known = specs[..index].iter().position(|other| other.like(spec)).map(|at| cells[at].clone());
        cells.push(known.unwrap_or_else(|| {
            instances.iter().map(|instance| spec.cell(instance, bases.len(), request, inputs)).collect()
        }));
    }
    for (spec, row) in specs.iter().zip(&cells) {
        possible(spec, row, &instances)?;
    }
    let chosen = choose::choose(request, inputs, &specs, &instances, &cells, &bases, packing)?;
    Ok(build::build(request, inputs, &specs, &chosen)?)
}

/// That some type of instance holds the chain and is fast enough; if not, which is nearest.
fn possible(spec: &Spec, row: &[Cell], instances: &[&Instance]) -> Result<(), PlanError> {
    if row.iter().any(|cell| cell.alone.is_ok()) {
        return Ok(());
    }
    let (archetype, model) = (spec.load.name.clone(), spec.model.name.clone());
    let slow = row.iter().zip(instances).filter_map(|(cell, instance)| match &cell.alone {
        Err(Unfit::Slow(slow)) => Some((slow, instance)),
        _ => None,
    });
    if let Some((slow, instance)) = slow.min_by(|a, b| a.0.over_ms().total_cmp(&b.0.over_ms())) {
        return Err(PlanError::TooSlow {
            archetype,
            model,
            instance: instance.name.clone(),
            source: Box::new(slow.clone()),
        });
    }
    let large = row.iter().zip(instances).filter_map(|(cell, instance)| match &cell.alone {
        Err(Unfit::Large(large)) => Some((*large, instance)),
        _ => None,
    });
    let Some((source, instance)) = large.min_by_key(|(large, _)| large.missing_bytes()) else {
        return Err(PackError::NoTypes("").into());
    };
    let device = &instance.device;
    Err(PlanError::TooLarge {
        archetype,
        model,
        instance: instance.name.clone(),
        device: device.name.clone(),
        dimension: if device.is_gpu { "GPU memory" } else { "RAM" },
        source: Box::new(source),
    })
}
