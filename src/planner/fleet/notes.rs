//! What is told beside a plan: what was measured, scaled and assumed, where prices are from, and what was left out.

use std::collections::BTreeSet;

use super::super::input::InputError;
use super::super::instances::Instance;
use super::super::packing::Market;
use super::chain::Unfit;
use super::choose::Chosen;
use super::output::WARNING;
use super::{Inputs, Request};

/// Cheaper types of which it is told why they were left out.
const LEFT_OUT: usize = 5;

/// Warnings first.
pub(super) fn notes(
    request: &Request,
    inputs: &Inputs<'_>,
    plans: &[Chosen<'_>],
) -> Result<Vec<String>, InputError> {
    let names: BTreeSet<&str> =
        plans.iter().flat_map(|chosen| &chosen.plan.bins).map(|bin| bin.bin_type.as_str()).collect();
    let used: Vec<&Instance> =
        names.iter().map(|name| inputs.catalogue.get(name)).collect::<Result<_, _>>()?;
    let mut notes = Vec::new();
    notes.extend(on_gpus(&used));
    notes.extend(measured(request, inputs));
    if plans.iter().any(|chosen| chosen.bases > 1) {
        notes.push(
            "Several base models share servers: each has its turn between two tokens of a line.".into(),
        );
    }
    notes.extend(left_out(request.market, inputs, plans)?);
    notes.extend(used.iter().map(|instance| price(instance)));
    notes.push("Spot servers can be taken back at any time: the plan holds no reserve for that.".into());
    if plans.iter().any(|chosen| chosen.plan.cut_short) {
        notes.push("The search for a cheaper plan ended early: another run may find another plan.".into());
    }
    Ok(notes)
}

/// What the plan takes for granted on GPUs.
fn on_gpus(used: &[&Instance]) -> Option<String> {
    let gpus: Vec<&str> = used
        .iter()
        .filter(|instance| instance.device.is_gpu)
        .map(|instance| instance.name.as_str())
        .collect();
    if gpus.is_empty() {
        return None;
    }
    Some(format!(
        "{WARNING}the gateway has not been run on a GPU yet, and the plan for {} assumes keys and values in pages of 8 bits, \
         kept conversations and int8 adapters, which its portable decoder, the one that runs on GPUs, does not have today.",
        gpus.join(", ")
    ))
}

fn measured(request: &Request, inputs: &Inputs<'_>) -> Vec<String> {
    let (measured, origin) = (inputs.measured, &inputs.measured.origin);
    let steps = if origin.derived { "derived from rates" } else { "measured one by one" };
    let mut notes = vec![format!(
        "Measured: {} on {} ({} cores), {}; steps {steps}.",
        measured.model, measured.machine.cpu, measured.machine.cores, origin.file
    )];
    if !origin.built_in.is_empty() {
        notes.push(format!(
            "{} does not tell {}: the built-in figures are used (a runtime of {:.0} MB, {:.1} ms for a turn).",
            origin.file,
            origin.built_in.join(" and "),
            measured.runtime_bytes as f64 / 1e6,
            measured.turn_overhead_s * 1e3
        ));
    }
    notes.extend([
        format!("GPUs: {}.", measured.gpu.source),
        format!("CPUs: {}.", measured.cpu.source),
        format!("Cold start: {}.", measured.cold_start.source),
        format!(
            "Work: actions a second of the request's own mixture. {:.0} % of throughput and 5 % of memory are left free.",
            request.headroom * 100.0
        ),
    ]);
    notes
}

fn price(instance: &Instance) -> String {
    let (of, spot) = (&instance.price_source, &instance.spot_source);
    let share = instance.spot_usd_per_hour / instance.on_demand_usd_per_hour * 100.0;
    let assumed = if instance.spot_is_assumed {
        format!("spot is assumed: {share:.0} % of on demand, {} dollars an hour", instance.spot_usd_per_hour)
    } else {
        format!("{} on spot", instance.spot_usd_per_hour)
    };
    format!(
        "Price of {}: {} dollars an hour on demand ({}, {}); {assumed} ({}, {}).",
        instance.name, instance.on_demand_usd_per_hour, of.date, of.text, spot.date, spot.text
    )
}

fn usd_per_hour(instance: &Instance, market: Market) -> f64 {
    match market {
        Market::OnDemand => instance.on_demand_usd_per_hour,
        Market::Spot => instance.spot_usd_per_hour,
    }
}

/// Types that are cheaper than the dearest in use and do not hold the chains within the targets: those nearest to it in
/// price.
fn left_out(market: Market, inputs: &Inputs<'_>, plans: &[Chosen<'_>]) -> Result<Vec<String>, InputError> {
    let mut found: Vec<(f64, String)> = Vec::new();
    for chosen in plans {
        let mut dearest = 0.0_f64;
        for bin in &chosen.plan.bins {
            dearest = dearest.max(usd_per_hour(inputs.catalogue.get(&bin.bin_type)?, market));
        }
        for (instance, spec, unfit) in &chosen.sizing.left_out {
            let usd = usd_per_hour(instance, market);
            if usd >= dearest {
                continue;
            }
            let how = match unfit {
                Unfit::Large(_) => "does not fit",
                Unfit::Slow(_) => "is too slow",
            };
            let (chain, model) = (&spec.load.name, &spec.model.name);
            let name = &instance.name;
            let text =
                format!("Left out: {name} at ${usd:.3} an hour, where {chain} on {model} {how}: {unfit}.");
            found.push((usd, text));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(found.into_iter().take(LEFT_OUT).map(|(_, text)| text).collect())
}
