//! The cheapest of several plans: one for each type of instance that replicas may be sized for, with all base models on
//! the same servers and with each on servers of its own.

use super::super::instances::Instance;
use super::super::packing::{Item, Limits, PackError, Plan, Settings, plan_chains};
use super::chain::{Cell, Spec};
use super::error::PlanError;
use super::sizing::{MOST_REPLICAS, Sizing};
use super::{Inputs, Request};

/// A plan of some chains.
pub(super) struct Chosen<'a> {
    pub sizing: Sizing<'a>,
    /// Bases that may share a device in it.
    pub bases: usize,
    pub items: Vec<Item>,
    pub plan: Plan,
}

/// How hard each candidate is looked at; the best one is then packed with the default limits.
fn quick() -> Limits {
    Limits { repacks: 60, exact_groups: 0, exact_items: 0, ..Limits::default() }
}

pub(super) fn choose<'a>(
    request: &'a Request,
    inputs: &'a Inputs<'a>,
    specs: &'a [Spec],
    instances: &[&'a Instance],
    cells: &[Vec<Cell>],
    bases: &[&str],
) -> Result<Vec<Chosen<'a>>, PlanError> {
    let group = |chosen: &[usize], count: usize| {
        let sizing = Sizing::new(request, inputs, specs, instances, cells, chosen, count);
        sizing.ok_or(PlanError::NothingCommon).and_then(|sizing| cheapest(sizing, count))
    };
    let all: Vec<usize> = (0..specs.len()).collect();
    let together = group(&all, bases.len());
    if bases.len() < 2 {
        return Ok(vec![together?]);
    }
    let apart: Result<Vec<_>, _> = bases
        .iter()
        .map(|base| {
            let of: Vec<usize> = (0..specs.len()).filter(|&at| specs[at].model.name == *base).collect();
            group(&of, 1)
        })
        .collect();
    let cost = |plans: &[Chosen<'_>]| plans.iter().map(|chosen| chosen.plan.usd_per_hour).sum::<f64>();
    match (together, apart) {
        (Ok(together), Ok(apart)) if cost(&apart) < together.plan.usd_per_hour => Ok(apart),
        (Ok(together), _) => Ok(vec![together]),
        (Err(_), apart) => apart,
    }
}

fn cheapest(sizing: Sizing<'_>, bases: usize) -> Result<Chosen<'_>, PlanError> {
    let types = sizing.types();
    let mut settings =
        Settings { market: sizing.request.market, zones: sizing.request.zones.clone(), limits: quick() };
    let mut tried = Vec::new();
    let mut best: Option<(usize, Vec<Item>, Plan)> = None;
    let mut problem: Option<PlanError> = None;
    for (at, instance) in sizing.instances.iter().enumerate() {
        let chains = match sizing.chains(at) {
            Ok(chains) => chains,
            Err(chain) => {
                let archetype = sizing.specs[chain].load.name.clone();
                let instance = instance.name.clone();
                problem = Some(PlanError::TooManyReplicas { archetype, instance, limit: MOST_REPLICAS });
                continue;
            }
        };
        if tried.contains(&chains) {
            continue;
        }
        match plan_chains(&chains, &types, &settings) {
            Ok((items, plan)) => {
                if best.as_ref().is_none_or(|best| plan.usd_per_hour < best.2.usd_per_hour) {
                    best = Some((tried.len(), items, plan));
                }
            }
            Err(error) => problem = Some(error.into()),
        }
        tried.push(chains);
    }
    let Some((index, items, plan)) = best else {
        return Err(problem.unwrap_or(PackError::NoTypes("").into()));
    };
    settings.limits = Limits::default();
    let (items, plan) = match plan_chains(&tried[index], &types, &settings) {
        Ok(again) if again.1.usd_per_hour <= plan.usd_per_hour => again,
        _ => (items, plan),
    };
    Ok(Chosen { sizing, bases, items, plan })
}
