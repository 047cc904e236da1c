//! A packed plan in the words of the report.

use std::collections::BTreeMap;

use super::super::capacity::{MOST_ROWS, Scaled, capacity, measured_model};
use super::super::input::InputError;
use super::super::instances::HOURS_PER_MONTH;
use super::super::packing::{Market, PackedBin};
use super::choose::Chosen;
use super::notes::notes;
use super::output::{ChainPlan, Cost, DevicePlan, Fleet, Group, Held, Rate, ServerPlan, VERSION};
use super::{Inputs, Request, Spec, expected};

/// A chain that takes no more of a device is rare enough to share it.
const RARE: f64 = 0.25;

pub(super) fn build(
    request: &Request,
    inputs: &Inputs<'_>,
    specs: &[Spec],
    plans: &[Chosen<'_>],
) -> Result<Fleet, InputError> {
    let mut fleet = Fleet {
        version: VERSION,
        npcs: request.load.npcs(),
        market: request.market,
        cost: cost(inputs, plans)?,
        peak: request.load.peak().into(),
        mean: request.load.mean().into(),
        groups: Vec::new(),
        servers: Vec::new(),
        chains: Vec::new(),
        capacities: Vec::new(),
        notes: notes(request, inputs, plans)?,
    };
    for chosen in plans {
        let servers: Vec<ServerPlan> =
            chosen.plan.bins.iter().map(|bin| server(bin, chosen, request)).collect();
        fleet.groups.extend(groups(&servers, chosen, inputs, &mut fleet.notes)?);
        fleet.capacities.extend(capacities(&servers, chosen, inputs));
        fleet.capacities.extend(measured(chosen, inputs));
        fleet.chains.extend(chains(&servers, chosen, inputs)?);
        fleet.servers.extend(servers);
    }
    let order = |name: &str| specs.iter().position(|spec| spec.load.name == name);
    fleet.chains.sort_by_key(|chain| order(&chain.archetype));
    Ok(fleet)
}

fn cost(inputs: &Inputs<'_>, plans: &[Chosen<'_>]) -> Result<Cost, InputError> {
    let sum = |of: &dyn Fn(&Chosen<'_>) -> f64| plans.iter().map(of).sum::<f64>();
    let on_demand = sum(&|chosen| chosen.plan.on_demand_usd_per_hour);
    let spot = sum(&|chosen| chosen.plan.spot_usd_per_hour.unwrap_or(chosen.plan.on_demand_usd_per_hour));
    let mut spot_is_assumed = false;
    for bin in plans.iter().flat_map(|chosen| &chosen.plan.bins) {
        spot_is_assumed |= inputs.catalogue.get(&bin.bin_type)?.spot_is_assumed;
    }
    Ok(Cost {
        usd_per_hour: sum(&|chosen| chosen.plan.usd_per_hour),
        on_demand_usd_per_hour: on_demand,
        spot_usd_per_hour: spot,
        on_demand_usd_per_month: on_demand * HOURS_PER_MONTH,
        spot_usd_per_month: spot * HOURS_PER_MONTH,
        spot_is_assumed,
        least_usd_per_hour: sum(&|chosen| chosen.plan.least_usd_per_hour),
    })
}

/// A type's index in a plan. The packing names only types that it was given.
pub(super) fn type_of(chosen: &Chosen<'_>, name: &str) -> usize {
    chosen.sizing.instances.iter().position(|instance| instance.name == name).unwrap_or(0)
}

fn server(bin: &PackedBin, chosen: &Chosen<'_>, request: &Request) -> ServerPlan {
    let unit = chosen.sizing.unit[type_of(chosen, &bin.bin_type)];
    let (mean, peak) = (request.load.curve.mean(), request.load.curve.peak().1);
    let devices = bin.places.iter().map(|place| {
        let held = |&item: &usize| {
            let item = &chosen.items[item];
            Held { archetype: item.chain.clone(), replica: item.replica }
        };
        let busy = place.work_per_s / unit;
        DevicePlan {
            holds: place.items.iter().map(held).collect(),
            gpu_bytes: place.gpu_bytes,
            peak_utilisation: busy,
            average_utilisation: busy * mean / peak,
        }
    });
    ServerPlan {
        instance: bin.bin_type.clone(),
        zone: bin.zone.clone(),
        devices: devices.collect(),
        ram_bytes: bin.ram_bytes,
        usd_per_hour: bin.usd_per_hour,
        binds: bin.binding.dimension.to_string(),
        binds_share: bin.binding.share,
        why: bin.why.clone(),
    }
}

fn groups(
    servers: &[ServerPlan],
    chosen: &Chosen<'_>,
    inputs: &Inputs<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<Group>, InputError> {
    let mut by_type: BTreeMap<&str, Vec<&ServerPlan>> = BTreeMap::new();
    for server in servers {
        by_type.entry(&server.instance).or_default().push(server);
    }
    let group = |(name, servers): (&str, Vec<&ServerPlan>)| {
        let instance = inputs.catalogue.get(name)?;
        let count = servers.len() as u64;
        let mut zones: BTreeMap<&str, u64> = BTreeMap::new();
        let mut binds: BTreeMap<&str, usize> = BTreeMap::new();
        for server in &servers {
            *zones.entry(&server.zone).or_default() += 1;
            *binds.entry(&server.binds).or_default() += 1;
        }
        let devices = || servers.iter().flat_map(|server| &server.devices);
        let mean =
            |of: fn(&DevicePlan) -> f64| devices().map(of).sum::<f64>() / devices().count().max(1) as f64;
        let busiest = devices().max_by(|a, b| a.peak_utilisation.total_cmp(&b.peak_utilisation));
        let at = type_of(chosen, name);
        let expected = busiest.map(|device| expected::expected(device, at, chosen, inputs));
        let none =
            DevicePlan { holds: Vec::new(), gpu_bytes: 0, peak_utilisation: 0.0, average_utilisation: 0.0 };
        let settings = expected::settings(busiest.unwrap_or(&none), at, chosen);
        let kept = expected::kept_on(busiest.unwrap_or(&none), chosen);
        if kept > expected::MOST_KEPT {
            notes.push(format!(
                "{name}: the load has {kept} sequences kept on a device, and the gateway keeps at most {}: prompts are colder \
                 than the load says.",
                expected::MOST_KEPT
            ));
        }
        Ok(Group {
            instance: name.to_owned(),
            device: instance.device.name.clone(),
            devices_each: instance.devices(),
            servers: count,
            zones: zones.into_iter().map(|(zone, count)| (zone.to_owned(), count)).collect(),
            on_demand_usd_per_month: instance.on_demand_usd_per_month(count),
            spot_usd_per_month: instance.spot_usd_per_month(count),
            peak_utilisation: mean(|device| device.peak_utilisation),
            average_utilisation: mean(|device| device.average_utilisation),
            binds: binds.into_iter().max_by_key(|&(_, count)| count).map_or("", |(name, _)| name).to_owned(),
            settings,
            expected: expected.transpose()?.flatten(),
        })
    };
    by_type.into_iter().map(group).collect()
}

/// Of the machine that was measured, if it ran this plan's model as this plan has it.
fn measured(chosen: &Chosen<'_>, inputs: &Inputs<'_>) -> Option<Rate> {
    let (request, measured) = (chosen.sizing.request, inputs.measured);
    let model = measured_model(measured, inputs.models)?;
    let of = |spec: &&&Spec| spec.model.name == model.name && request.precision.is_none();
    let spec = chosen.sizing.specs.iter().find(of)?;
    let scaled = Scaled::here(measured);
    // A machine too slow for the targets has no figures.
    let found = capacity(&scaled.steps, spec.mix.as_ref()?, &request.targets, MOST_ROWS, 1).ok()?;
    Some(Rate {
        instance: "measured".to_owned(),
        device: measured.machine.cpu.clone(),
        model: model.name.clone(),
        archetype: spec.load.name.clone(),
        capacity: found,
        limit: found.limit.words().to_owned(),
        basis: scaled.basis,
        bandwidth_efficiency: scaled.bandwidth_efficiency,
        compute_efficiency: scaled.compute_efficiency,
    })
}

/// Of the types in use, for the first chain of each base model.
fn capacities(servers: &[ServerPlan], chosen: &Chosen<'_>, inputs: &Inputs<'_>) -> Vec<Rate> {
    let mut rates: Vec<Rate> = Vec::new();
    for (chain, spec) in chosen.sizing.specs.iter().enumerate() {
        for (at, instance) in chosen.sizing.instances.iter().enumerate() {
            let used = servers.iter().any(|server| server.instance == instance.name);
            let there = |rate: &Rate| rate.instance == instance.name && rate.model == spec.model.name;
            if !used || rates.iter().any(there) {
                continue;
            }
            let (capacity, scaled) = (*chosen.sizing.capacity(at, chain), spec.scaled(instance, inputs));
            rates.push(Rate {
                instance: instance.name.clone(),
                device: instance.device.name.clone(),
                model: spec.model.name.clone(),
                archetype: spec.load.name.clone(),
                capacity,
                limit: capacity.limit.words().to_owned(),
                basis: scaled.basis,
                bandwidth_efficiency: scaled.bandwidth_efficiency,
                compute_efficiency: scaled.compute_efficiency,
            });
        }
    }
    rates
}

fn chains(
    servers: &[ServerPlan],
    chosen: &Chosen<'_>,
    inputs: &Inputs<'_>,
) -> Result<Vec<ChainPlan>, InputError> {
    let start = &inputs.measured.cold_start;
    let mut chains = Vec::with_capacity(chosen.sizing.specs.len());
    for spec in &chosen.sizing.specs {
        let mine = |held: &Held| held.archetype == spec.load.name;
        let items = || chosen.items.iter().filter(|item| item.chain == spec.load.name);
        let replicas = items().count() as u64;
        let (mut largest, mut alone, mut instance) = (0.0_f64, false, None);
        for server in servers {
            let unit = chosen.sizing.unit[type_of(chosen, &server.instance)];
            if server.devices.iter().flat_map(|device| &device.holds).any(mine) {
                alone |= server.devices.iter().flat_map(|device| &device.holds).all(mine);
                let work = items().map(|item| item.work_per_s).fold(0.0, f64::max);
                largest = largest.max(work / unit);
                instance.get_or_insert(&server.instance);
            }
        }
        let instance = instance.map(|name| inputs.catalogue.get(name)).transpose()?;
        let usd_per_hour = instance.map_or(0.0, |instance| match chosen.sizing.request.market {
            Market::OnDemand => instance.on_demand_usd_per_hour,
            Market::Spot => instance.spot_usd_per_hour,
        });
        let read = (spec.weights_bytes + spec.adapters_bytes) as f64 / start.disk_bytes_per_s as f64;
        let cold_start_s = start.boot_s + start.start_s + read;
        let memory = items().next().map_or(0, |item| item.memory.gpu_bytes);
        chains.push(ChainPlan {
            archetype: spec.load.name.clone(),
            model: spec.model.name.clone(),
            npcs: spec.load.npcs,
            replicas,
            actions_per_s: spec.actions_per_s,
            weights_bytes: spec.weights_bytes,
            adapters_bytes: spec.adapters_bytes,
            kv_bytes: memory.saturating_sub(spec.adapters_bytes),
            shares_a_server: !alone && largest <= RARE,
            largest_share: largest,
            cold_start_s,
            cold_start_usd: cold_start_s / 3600.0 * usd_per_hour,
            standby_usd_per_month: usd_per_hour * HOURS_PER_MONTH,
        });
    }
    Ok(chains)
}
