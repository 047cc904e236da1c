//! The cheapest of several plans: one for each type of instance that replicas may be sized for, with all base models on
//! the same servers and with each on servers of its own.

use std::time::{Duration, Instant};

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

/// Packings of one call of `plan_chains` at most.
const PACKINGS: u32 = 3;

/// How hard each candidate is looked at; the best one is then packed with the default limits.
fn quick(time: Duration) -> Limits {
    Limits { repacks: 60, exact_groups: 0, exact_items: 0, time, ..Limits::default() }
}

/// Time until then, in so many equal parts.
fn part(end: Instant, parts: usize) -> Duration {
    end.saturating_duration_since(Instant::now()) / parts.max(1) as u32
}

pub(super) fn choose<'a>(
    request: &'a Request,
    inputs: &'a Inputs<'a>,
    specs: &'a [Spec],
    instances: &[&'a Instance],
    cells: &[Vec<Cell>],
    bases: &[&str],
    packing: Duration,
) -> Result<Vec<Chosen<'a>>, PlanError> {
    let end = Instant::now() + packing;
    let group = |chosen: &[usize], count: usize, groups: usize| {
        let sizing = Sizing::new(request, inputs, specs, instances, cells, chosen, count)?;
        cheapest(sizing, count, Instant::now() + part(end, groups))
    };
    let all: Vec<usize> = (0..specs.len()).collect();
    let together = group(&all, bases.len(), if bases.len() < 2 { 1 } else { bases.len() + 1 });
    if bases.len() < 2 {
        return Ok(vec![together?]);
    }
    let apart: Result<Vec<_>, _> = bases
        .iter()
        .enumerate()
        .map(|(index, base)| {
            let of: Vec<usize> = (0..specs.len()).filter(|&at| specs[at].model.name == *base).collect();
            group(&of, 1, bases.len() - index)
        })
        .collect();
    let cost = |plans: &[Chosen<'_>]| plans.iter().map(|chosen| chosen.plan.usd_per_hour).sum::<f64>();
    match (together, apart) {
        (Ok(together), Ok(apart)) if cost(&apart) < together.plan.usd_per_hour => Ok(apart),
        (Ok(together), _) => Ok(vec![together]),
        (Err(_), apart) => apart,
    }
}

/// Half of the time is for the candidates, half for the best of them.
fn cheapest(sizing: Sizing<'_>, bases: usize, end: Instant) -> Result<Chosen<'_>, PlanError> {
    let types = sizing.types();
    let (market, zones) = (sizing.request.market, sizing.request.zones.clone());
    let middle = Instant::now() + part(end, 2);
    let mut settings = Settings { market, zones, limits: quick(Duration::ZERO) };
    let mut cut_short = false;
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
        if best.is_some() && Instant::now() >= middle {
            cut_short = true;
            break;
        }
        settings.limits = quick(part(middle, sizing.instances.len() - at) / PACKINGS);
        match plan_chains(&chains, &types, &settings) {
            Ok((items, plan)) => {
                cut_short |= plan.cut_short;
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
    settings.limits = Limits { time: part(end, 1) / PACKINGS, ..Limits::default() };
    let (items, mut plan) = match plan_chains(&tried[index], &types, &settings) {
        Ok(again) if again.1.usd_per_hour <= plan.usd_per_hour => again,
        _ => (items, plan),
    };
    plan.cut_short |= cut_short;
    Ok(Chosen { sizing, bases, items, plan })
}
