//! What holds for every plan. `PACKING_CASES` sets the number of cases.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::super::*;
use super::cases::{Size, a_case, cases};

/// Counts again, from the plan and the input alone.
fn check(items: &[Item], types: &[BinType], settings: &Settings, plan: &Plan) -> Result<(), TestCaseError> {
    let types: HashMap<&str, &BinType> = types.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut held: Vec<usize> = plan.bins.iter().flat_map(PackedBin::items).collect();
    held.sort_unstable();
    prop_assert_eq!(held, (0..items.len()).collect::<Vec<_>>(), "each item once");
    let mut usd = 0.0;
    for bin in &plan.bins {
        let t = types[bin.bin_type.as_str()];
        usd += match settings.market {
            Market::OnDemand => t.on_demand_usd_per_hour,
            Market::Spot => t.spot_usd_per_hour.unwrap(),
        };
        prop_assert_eq!(bin.places.len(), t.places() as usize);
        prop_assert!(bin.items().next().is_some(), "no server without a use");
        let mut ram = 0;
        for place in &bin.places {
            let (mut gpu, mut work, mut bases) = (0, 0.0, HashSet::new());
            let mut takes = |memory: Memory| {
                if t.gpus > 0 {
                    gpu += memory.gpu_bytes;
                    ram += memory.ram_bytes;
                } else {
                    ram += memory.cpu_ram_bytes.expect("may run on a CPU");
                }
            };
            for &index in &place.items {
                takes(items[index].memory);
                work += items[index].work_per_s;
                if let Some(base) = items[index].base.as_ref().filter(|base| bases.insert(&base.name)) {
                    takes(base.memory);
                }
            }
            prop_assert!(gpu <= t.gpu_bytes || t.gpus == 0, "GPU memory {gpu} of {}", t.gpu_bytes);
            prop_assert!(work <= t.work_per_s + 1e-9, "work {work} of {}", t.work_per_s);
            prop_assert_eq!(place.gpu_bytes, gpu);
            prop_assert!((place.work_per_s - work).abs() < 1e-3);
        }
        prop_assert!(ram <= t.ram_bytes, "RAM {ram} of {}", t.ram_bytes);
        prop_assert_eq!(bin.ram_bytes, ram);
        prop_assert!((0.0..=1.0).contains(&bin.binding.share));
    }
    prop_assert!((usd - plan.usd_per_hour).abs() < 1e-3, "{usd} {}", plan.usd_per_hour);
    prop_assert!(plan.usd_per_hour <= plan.first_fit_usd_per_hour, "never worse than its start");
    prop_assert!(plan.least_usd_per_hour <= plan.usd_per_hour + 1e-4, "the bound is one");
    apart(items, settings, plan)
}

/// Replicas are as far apart as they ask to be.
fn apart(items: &[Item], settings: &Settings, plan: &Plan) -> Result<(), TestCaseError> {
    let mut in_zones: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for bin in &plan.bins {
        let mut here = HashSet::new();
        for place in &bin.places {
            let mut on_place = HashSet::new();
            for item in place.items.iter().map(|&index| &items[index]) {
                prop_assert!(on_place.insert(&item.chain), "two replicas on one GPU");
                prop_assert!(
                    here.insert(&item.chain) || item.spread == Spread::Gpus,
                    "two replicas on one server"
                );
                *in_zones.entry((&item.chain, &bin.zone)).or_default() += 1;
            }
        }
    }
    for item in items.iter().filter(|item| item.spread == Spread::Zones) {
        let replicas = items.iter().filter(|other| other.chain == item.chain).count();
        for zone in &settings.zones {
            let here = in_zones.get(&(item.chain.as_str(), zone.as_str())).copied().unwrap_or(0);
            prop_assert!(here <= replicas.div_ceil(settings.zones.len()), "{here} of {replicas} in {zone}");
        }
    }
    Ok(())
}

fn run(cases: u32, size: Size) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let tested = TestRunner::new(config).run(&a_case(size), |(items, types, settings)| {
        let plan = pack(&items, &types, &settings).map_err(|error| TestCaseError::fail(error.to_string()))?;
        check(&items, &types, &settings, &plan)
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}

#[test]
fn no_plan_passes_a_limit_and_every_item_has_one_place() {
    run(cases(150), Size { chains: 10, types: 5, gpus: 3, replicas: 3 });
    run(cases(150) / 10, Size { chains: 60, types: 8, gpus: 8, replicas: 4 });
}

/// `cargo test --release -- --ignored a_hundred_thousand`: 90,000 small and 10,000 larger cases.
#[test]
#[ignore = "minutes; run it in release"]
fn a_hundred_thousand_plans_pass_no_limit() {
    run(90_000, Size { chains: 6, types: 4, gpus: 3, replicas: 3 });
    run(10_000, Size { chains: 30, types: 6, gpus: 4, replicas: 3 });
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let config = ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() };
    let size = Size { chains: 12, types: 5, gpus: 3, replicas: 2 };
    let tested = TestRunner::new(config).run(&a_case(size), |(items, types, settings)| {
        // A busy machine must not cut it short.
        let limits = Limits { time: Duration::from_mins(10), ..settings.limits };
        let settings = Settings { limits, ..settings };
        let [one, two] = [0, 1].map(|_| pack(&items, &types, &settings).unwrap());
        prop_assert_eq!(one, two);
        Ok(())
    });
    tested.unwrap();
}
