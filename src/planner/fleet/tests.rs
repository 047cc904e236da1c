mod folders;
mod notes;
mod properties;
mod refusals;
mod targets;

use super::*;
use crate::planner::capacity::Basis;
use crate::planner::load::{ArchetypeLoad, Curve, Load};
use crate::planner::packing::Market;
use crate::planner::simulation::{Admission, Percentiles, Process, simulate};

pub(in crate::planner) struct Data {
    pub models: Models,
    pub catalogue: Catalogue,
    pub measured: Measured,
}

impl Data {
    pub fn new() -> Self {
        Self {
            models: Models::built_in().unwrap(),
            catalogue: Catalogue::built_in().unwrap(),
            measured: Measured::built_in().unwrap(),
        }
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { models: &self.models, catalogue: &self.catalogue, measured: &self.measured, simulate: None }
    }
}

fn on(model: &str, npcs: u64) -> Request {
    Request { model: model.into(), ..Request::new(Load::reference(npcs)) }
}

/// Every chain is there, whole, and no server is over a limit.
fn holds(fleet: &Fleet, request: &Request, data: &Data) {
    for chain in &fleet.chains {
        let devices = || fleet.servers.iter().flat_map(|server| &server.devices);
        let mine =
            devices().flat_map(|device| &device.holds).filter(|held| held.archetype == chain.archetype);
        assert_eq!(mine.count() as u64, chain.replicas);
        assert!(chain.replicas >= u64::from(request.replicas));
    }
    for server in &fleet.servers {
        let instance = data.catalogue.get(&server.instance).unwrap();
        assert_eq!(server.devices.len() as u32, instance.devices());
        assert!(server.ram_bytes <= instance.memory_bytes);
        for device in &server.devices {
            assert!(
                device.gpu_bytes <= if instance.device.is_gpu { instance.device.memory_bytes } else { 0 }
            );
            assert!(device.peak_utilisation <= 1.0 - request.headroom + 1e-6);
        }
    }
    let specs = Spec::all(request, &data.inputs()).unwrap();
    for server in &fleet.servers {
        let instance = data.catalogue.get(&server.instance).unwrap();
        for device in &server.devices {
            // What each chain takes of this device by itself, whatever the unit of work says.
            let takes = device.holds.iter().map(|held| {
                let at = specs.iter().position(|spec| spec.load.name == held.archetype).unwrap();
                let able = specs[at].cell(instance, 1, request, &data.inputs()).alone.unwrap();
                specs[at].actions_per_s / fleet.chains[at].replicas as f64 / able.actions_per_s
            });
            assert!(takes.sum::<f64>() <= 1.0 - request.headroom + 1e-6);
        }
    }
    let hour: f64 = fleet.servers.iter().map(|server| server.usd_per_hour).sum();
    assert!((hour - fleet.cost.usd_per_hour).abs() < 1e-6 * hour.max(1.0));
    let groups: f64 = fleet.groups.iter().map(|group| group.on_demand_usd_per_month).sum();
    assert!((groups - fleet.cost.on_demand_usd_per_month).abs() < 1e-6 * groups.max(1.0));
}

#[test]
fn the_reference_cases_have_plans() {
    let data = Data::new();
    for (npcs, lines) in [(100, 12.5), (1000, 125.0), (10_000, 1250.0)] {
        let request = Request::new(Load::reference(npcs));
        let fleet = plan(&request, &data.inputs()).unwrap();
        holds(&fleet, &request, &data);
        assert_eq!((fleet.npcs, fleet.chains.len()), (npcs, 5));
        assert!((fleet.peak.lines_per_s - lines).abs() < 1e-9);
        // Devices do at least what is asked of them.
        let able: f64 = fleet
            .groups
            .iter()
            .zip(&fleet.capacities)
            .map(|(group, rate)| {
                group.servers as f64 * f64::from(group.devices_each) * rate.capacity.lines_per_s
            })
            .sum();
        assert!(able * (1.0 - request.headroom) >= lines);
        let measured = fleet.capacities.last().unwrap();
        let derived = data.measured.origin.derived;
        assert_eq!((matches!(measured.basis, Basis::Measured(_)), derived), (!derived, derived));
        assert_eq!(measured.instance, "measured");
    }
}

#[test]
fn a_daily_curve_is_stood_at_its_peak_and_idle_at_its_mean() {
    let data = Data::new();
    let load = Load { curve: Curve::evening(0.5), ..Load::reference(2000) };
    let fleet = plan(&Request::new(load), &data.inputs()).unwrap();
    let group = &fleet.groups[0];
    assert!((group.average_utilisation * 1.5 - group.peak_utilisation).abs() < 1e-9);
    assert!((fleet.peak.lines_per_s - 1.5 * fleet.mean.lines_per_s).abs() < 1e-9);
    let flat = plan(&Request::new(Load::reference(2000)), &data.inputs()).unwrap();
    assert!(fleet.cost.usd_per_hour >= flat.cost.usd_per_hour);
}

#[test]
fn replicas_lie_in_different_zones() {
    let data = Data::new();
    let zones = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let request = Request { replicas: 3, zones, ..on("smollm2-135m", 100) };
    let fleet = plan(&request, &data.inputs()).unwrap();
    holds(&fleet, &request, &data);
    assert!(fleet.servers.len() >= 3);
    let zones: Vec<&str> =
        fleet.groups.iter().flat_map(|group| &group.zones).map(|(zone, _)| zone.as_str()).collect();
    assert!(["a", "b", "c"].iter().all(|zone| zones.contains(zone)));
}

#[test]
fn the_cheaper_market_is_the_one_that_is_asked_for() {
    let data = Data::new();
    let on_demand = plan(&on("smollm2-135m", 3000), &data.inputs()).unwrap();
    let request = Request { market: Market::Spot, ..on("smollm2-135m", 3000) };
    let spot = plan(&request, &data.inputs()).unwrap();
    assert!((spot.cost.usd_per_hour - spot.cost.spot_usd_per_hour).abs() < 1e-9);
    assert!(spot.cost.spot_usd_per_hour <= on_demand.cost.spot_usd_per_hour * 1.05);
    assert!(on_demand.cost.on_demand_usd_per_hour <= spot.cost.on_demand_usd_per_hour * 1.05);
}

#[test]
fn archetypes_with_other_models_have_their_own_base() {
    let data = Data::new();
    let mut request = on("smollm2-135m", 100);
    request.models.insert("lich".into(), "llama-3.1-8b".into());
    let fleet = plan(&request, &data.inputs()).unwrap();
    holds(&fleet, &request, &data);
    let lich = fleet.chains.iter().find(|chain| chain.archetype == "lich").unwrap();
    assert_eq!(lich.model, "llama-3.1-8b");
    assert!(lich.weights_bytes > 50 * fleet.chains[0].weights_bytes);
    assert!(lich.cold_start_s > fleet.chains[0].cold_start_s && lich.cold_start_usd > 0.0);
}

#[test]
fn a_rare_archetype_shares_a_server_and_one_that_nobody_plays_is_held() {
    let data = Data::new();
    let archetypes =
        vec![ArchetypeLoad::new("common", 60), ArchetypeLoad::new("rare", 10), ArchetypeLoad::new("none", 0)];
    let request = Request::new(Load { archetypes, ..Load::reference(1) });
    let fleet = plan(&request, &data.inputs()).unwrap();
    holds(&fleet, &request, &data);
    let shares: Vec<bool> = fleet.chains[1..].iter().map(|chain| chain.shares_a_server).collect();
    assert_eq!(shares, [true, true]);
}

#[test]
fn what_is_simulated_is_told_for_each_type() {
    let data = Data::new();
    let see = |server: &Server, arrivals: &Arrivals| {
        let lines: f64 =
            arrivals.archetypes.iter().map(|load| load.npcs as f64 * load.actions_per_npc_per_s).sum();
        assert!(server.rows >= 1 && server.sequences >= server.rows && lines > 0.0);
        let ms = Percentiles { p50: 10.0, p95: 600.0, p99: 700.0 };
        Ok(seen(ms, lines))
    };
    let inputs = Inputs { simulate: Some(&see), ..data.inputs() };
    let fleet = plan(&on("smollm2-135m", 1000), &inputs).unwrap();
    let (name, expected) = (&fleet.groups[0].instance, fleet.groups[0].expected.unwrap());
    let mine = fleet.servers.iter().filter(|server| server.instance == *name);
    let device = mine.flat_map(|server| &server.devices).map(|device| device.peak_utilisation);
    assert!((expected.first_token_p95_ms, expected.within_target) == (600.0, false));
    let rate = fleet.capacities.iter().find(|rate| rate.instance == *name).unwrap();
    let most = device.fold(0.0, f64::max) * rate.capacity.lines_per_s;
    assert!((expected.lines_per_s - most).abs() < 1e-6 * most);
}

/// What a server sees that nobody measured, with these figures.
fn seen(first_token_ms: Percentiles, lines_per_s: f64) -> Simulated {
    let data = Data::new();
    let any = Server {
        steps: data.measured.steps,
        rows: 1,
        kept: 0,
        sequences: 1,
        context: 1024,
        prefill_budget: 128,
        queue: 64,
        turn_overhead_s: 0.0,
        admission: Admission::default(),
    };
    let arrivals = Arrivals {
        archetypes: vec![ArchetypeLoad::new("any", 1)],
        seconds: 20.0,
        warm_up_s: 1.0,
        seed: 1,
        process: Process::Open,
    };
    let none = Simulated { overloaded: 0, choices_missed: 0, ..simulate(&any, &arrivals).unwrap() };
    Simulated { first_token_ms, lines_per_s, ..none }
}
