//! Replicas, zones, prices, errors and words.

use super::super::*;
use super::cases::{GB, a_chain, a_type, item};

fn zones(names: &[&str]) -> Settings {
    Settings { zones: names.iter().map(|&name| name.to_owned()).collect(), ..Settings::default() }
}

#[test]
fn nothing_needs_nothing() {
    let plan = pack(&[], &[a_type("g5", 24, 100.0, 1.0)], &Settings::default()).unwrap();
    assert_eq!((plan.bins.len(), plan.usd_per_hour, plan.least_usd_per_hour), (0, 0.0, 0.0));
}

#[test]
fn what_fits_nowhere_says_which_limit_and_by_how_much() {
    let types = [a_type("g5.xlarge", 22, 100.0, 1.0), a_type("g6e.xlarge", 36, 100.0, 2.0)];
    let error = pack(&[item(0, 39, 1.0)], &types, &Settings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "chain chain 0 fits no instance type: GPU memory needs 39.0 GB and g6e.xlarge has 36.0 GB: 3.00 GB too little \
         (the nearest of all types)"
    );
    let PackError::FitsNowhere { nearest: Some(nearest), all, .. } = error else { panic!("{error}") };
    assert_eq!((nearest.dimension, nearest.over(), all.len()), (Dimension::GpuMemory, 3e9, 2));

    let error = pack(&[item(0, 9, 130.0)], &types[..1], &Settings::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("throughput needs 130 actions/s and g5.xlarge has 100 actions/s: 30.0 actions/s too"),
        "{error}"
    );
    let cpu = BinType { gpus: 0, ..types[0].clone() };
    let error = pack(&[item(0, 9, 1.0)], &[cpu], &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("it needs a GPU and no type has one"), "{error}");
}

#[test]
fn four_small_gpus_are_not_one_large_one() {
    let four = BinType { gpus: 4, ..a_type("g5.12xlarge", 24, 100.0, 5.7) };
    let error = pack(&[item(0, 39, 1.0)], std::slice::from_ref(&four), &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("needs 39.0 GB and g5.12xlarge has 24.0 GB"), "{error}");
    // Seven of 13 GB are 91 of 96 GB; each GPU takes one.
    let items: Vec<_> = (0..7).map(|i| item(i, 13, 1.0)).collect();
    let plan = pack(&items, &[four], &Settings::default()).unwrap();
    assert_eq!(plan.bins.len(), 2);
}

#[test]
fn bad_input_is_named() {
    let types = [a_type("g5", 24, 100.0, 1.0)];
    let refused = |items: &[Item], types: &[BinType], settings: &Settings| {
        pack(items, types, settings).unwrap_err().to_string()
    };
    let plain = Settings::default();
    let items = [item(0, 1, 1.0)];
    assert_eq!(refused(&items, &[], &plain), "no instance type to choose from");
    let spot = Settings { market: Market::Spot, ..plain.clone() };
    let dear = BinType { spot_usd_per_hour: None, ..types[0].clone() };
    assert_eq!(refused(&items, &[dear], &spot), "no instance type to choose from: none has a spot price");
    assert_eq!(refused(&items, &types, &zones(&[])), "zones: at least one is needed");
    assert_eq!(
        refused(&[item(0, 1, f64::NAN)], &types, &plain),
        "chain 0: work_per_s is NaN, and must be from 0 to 1e12"
    );
    let free = a_type("free", 24, 100.0, 0.0);
    assert!(
        refused(&items, &[free], &plain)
            .starts_with("free: on_demand_usd_per_hour is 0, and must be above 0")
    );
    let twice = [item(0, 1, 1.0), item(0, 1, 1.0)];
    assert_eq!(refused(&twice, &types, &plain), "chain chain 0, replica 0 is there twice");
    assert_eq!(
        refused(&items, &[types[0].clone(), types[0].clone()], &plain),
        "instance type g5 is there twice"
    );
    let [mut one, two] = [a_chain("a", 1, 1.0), a_chain("b", 1, 1.0)];
    one.base.as_mut().unwrap().memory.gpu_bytes += 1;
    let error = plan_chains(&[one, two], &types, &plain).unwrap_err();
    assert_eq!(error.to_string(), "base base: two chains give it different memory");
    let apart = Chain { spread: Spread::Zones, min_replicas: 2, ..a_chain("a", 1, 1.0) };
    let error = plan_chains(&[apart], &types, &plain).unwrap_err();
    assert_eq!(error.to_string(), "chain a is to be spread over zones, and there is only one zone");
}

#[test]
fn a_load_above_a_server_is_split_and_its_replicas_share_it() {
    let types = [a_type("g5", 24, 100.0, 1.0)];
    let (items, plan) = plan_chains(&[a_chain("lich", 2, 250.0)], &types, &Settings::default()).unwrap();
    assert_eq!((items.len(), plan.bins.len()), (3, 3));
    assert!(items.iter().all(|item| (item.work_per_s - 250.0 / 3.0).abs() < 1e-9));
    let exact = split(&[a_chain("lich", 2, 300.0)], &types, &Settings::default()).unwrap();
    assert_eq!(exact.len(), 3, "three full ones");
    let endless = plan_chains(&[a_chain("lich", 2, 1e9)], &types, &Settings::default()).unwrap_err();
    assert!(endless.to_string().contains("needs 10000000 replicas"), "{endless}");
    let idle = [BinType { work_per_s: 0.0, ..types[0].clone() }];
    let error = split(&[a_chain("lich", 2, 1.0)], &idle, &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("throughput needs 1.00 actions/s and g5 has 0.00"), "{error}");
    let error = split(&[a_chain("lich", 2, -1.0)], &types, &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("lich: work_per_s is -1"), "{error}");
}

#[test]
fn many_cheap_replicas_beat_one_dear_server_where_they_cost_less() {
    let types = [a_type("small", 24, 100.0, 1.0), a_type("large", 80, 1000.0, 30.0)];
    let (items, plan) = plan_chains(&[a_chain("lich", 2, 500.0)], &types, &Settings::default()).unwrap();
    assert_eq!((items.len(), plan.usd_per_hour), (5, 5.0));
    let types = [a_type("small", 24, 100.0, 1.0), a_type("large", 80, 1000.0, 4.0)];
    let (items, plan) = plan_chains(&[a_chain("lich", 2, 500.0)], &types, &Settings::default()).unwrap();
    assert_eq!((items.len(), plan.usd_per_hour), (1, 4.0));
}

#[test]
fn replicas_that_are_asked_for_lie_in_different_zones() {
    let types = [a_type("g5", 24, 100.0, 1.0)];
    let chain = Chain { min_replicas: 3, spread: Spread::Zones, ..a_chain("lich", 2, 10.0) };
    let (_, plan) = plan_chains(&[chain], &types, &zones(&["a", "b", "c"])).unwrap();
    let found: Vec<&str> = plan.bins.iter().map(|bin| bin.zone.as_str()).collect();
    assert_eq!(found, ["a", "b", "c"]);
    // Two chains of two: two servers in two zones hold them all.
    let chain = |name| Chain { min_replicas: 2, spread: Spread::Zones, ..a_chain(name, 2, 10.0) };
    let (_, plan) = plan_chains(&[chain("lich"), chain("ghoul")], &types, &zones(&["a", "b", "c"])).unwrap();
    assert_eq!(plan.bins.len(), 2);
    assert_ne!(plan.bins[0].zone, plan.bins[1].zone);
}

#[test]
fn replicas_on_one_server_need_a_gpu_each() {
    let types = [BinType { gpus: 4, ..a_type("g5.12xlarge", 24, 100.0, 5.0) }];
    let chain = Chain { min_replicas: 4, spread: Spread::Gpus, ..a_chain("lich", 2, 10.0) };
    let (_, plan) = plan_chains(&[chain], &types, &Settings::default()).unwrap();
    assert_eq!(plan.bins.len(), 1);
    assert!(plan.bins[0].places.iter().all(|place| place.items.len() == 1));
}

#[test]
fn rare_chains_share_a_server_and_it_says_why() {
    let types = [a_type("g5.xlarge", 20, 100.0, 1.0), a_type("g6e.xlarge", 40, 100.0, 1.9)];
    let chains = [a_chain("vampire", 8, 20.0), a_chain("lich", 8, 5.0), a_chain("ghoul", 8, 5.0)];
    let (_, plan) = plan_chains(&chains, &types, &Settings::default()).unwrap();
    assert_eq!(plan.bins.len(), 1);
    assert_eq!(
        plan.bins[0].why,
        "Holds vampire, lich and ghoul. Each on a server of its own would cost $3.000 an hour, this $1.900. GPU memory \
         binds: 29.0 GB of 40.0 GB (72 %); RAM 0 %, throughput 30 %. The next cheaper type, g5.xlarge at $1.000 an hour, \
         will not do: GPU memory needs 29.0 GB and g5.xlarge has 20.0 GB: 9.00 GB too little."
    );
    assert_eq!(plan.bins[0].binding, Binding { dimension: Dimension::GpuMemory, share: 29.0 / 40.0 });
    let (_, plan) = plan_chains(&chains[..1], &types, &Settings::default()).unwrap();
    assert!(
        plan.bins[0].why.ends_with(
            "No type that holds these chains within the targets is cheaper than g5.xlarge at $1.000 an hour."
        ),
        "{}",
        plan.bins[0].why
    );
    let two = Chain { min_replicas: 2, ..chains[1].clone() };
    let (_, plan) = plan_chains(&[two], &types, &Settings::default()).unwrap();
    assert!(
        plan.bins[1].why.starts_with("Holds lich (replica 2 of 2). GPU memory binds"),
        "{}",
        plan.bins[1].why
    );
}

#[test]
fn both_prices_are_told_and_the_asked_for_one_is_made_small() {
    let cheap_on_spot = BinType { spot_usd_per_hour: Some(0.1), ..a_type("spot", 24, 100.0, 3.0) };
    let types = [a_type("plain", 24, 100.0, 1.0), cheap_on_spot];
    let plan = pack(&[item(0, 5, 1.0)], &types, &Settings::default()).unwrap();
    assert_eq!(
        (plan.bins[0].bin_type.as_str(), plan.usd_per_hour, plan.spot_usd_per_hour),
        ("plain", 1.0, Some(0.3))
    );
    let settings = Settings { market: Market::Spot, ..Settings::default() };
    let plan = pack(&[item(0, 5, 1.0)], &types, &settings).unwrap();
    assert_eq!(
        (plan.bins[0].bin_type.as_str(), plan.usd_per_hour, plan.on_demand_usd_per_hour),
        ("spot", 0.1, 3.0)
    );
}

#[test]
fn headroom_is_left_free() {
    let t = a_type("g5", 20, 100.0, 1.0).with_headroom(Headroom { gpu_memory: 0.1, ram: 0.5, work: 0.2 });
    assert_eq!((t.gpu_bytes, t.ram_bytes, t.work_per_s), (18 * GB, 500 * GB, 80.0));
}

#[test]
fn a_chain_on_a_cpu_takes_its_memory_from_ram() {
    let cpu = BinType { gpus: 0, gpu_bytes: 0, ram_bytes: 16 * GB, ..a_type("c7i", 0, 20.0, 0.2) };
    let types = [cpu, a_type("g5", 24, 100.0, 1.0)];
    let on_cpu = |index, gb| {
        let mut item = item(index, 4, 5.0);
        item.memory.cpu_ram_bytes = Some(gb * GB);
        item
    };
    let plan = pack(&[on_cpu(0, 10), on_cpu(1, 6)], &types, &Settings::default()).unwrap();
    assert_eq!(
        (plan.bins.len(), plan.bins[0].bin_type.as_str(), plan.bins[0].ram_bytes),
        (1, "c7i", 16 * GB)
    );
    let plan = pack(&[on_cpu(0, 17)], &types, &Settings::default()).unwrap();
    assert_eq!(plan.bins[0].bin_type, "g5");
}
