use proptest::prelude::*;

use super::*;
use crate::planner::fleet::tests::Data;
use crate::planner::load::Load;

fn texts(changes: &[&str]) -> Vec<String> {
    changes.iter().map(|&change| change.to_owned()).collect()
}

#[test]
fn no_change_gives_the_same_plan() {
    let (data, request) = (Data::new(), Request::new(Load::reference(1000)));
    let first = plan(&request, &data.inputs()).unwrap();
    let npcs = texts(&["npcs=1000", "headroom=0.2", "model=smollm2-135m", "spot=false"]);
    for changes in [Vec::new(), npcs] {
        let second = what_if(&request, &first, &changes, &data.inputs()).unwrap();
        assert_eq!(second.fleet, first);
        assert_eq!((second.servers, second.on_demand_usd_per_month), (0, 0.0));
    }
}

#[test]
fn differences_are_the_second_plan_less_the_first() {
    let (data, request) = (Data::new(), Request::new(Load::reference(1000)));
    let first = plan(&request, &data.inputs()).unwrap();
    let second = what_if(&request, &first, &texts(&["npcs=10000"]), &data.inputs()).unwrap();
    assert_eq!(second.fleet.npcs, 10_000);
    assert!(second.on_demand_usd_per_month > 0.0);
    assert_eq!(
        second.on_demand_usd_per_month,
        second.fleet.cost.on_demand_usd_per_month - first.cost.on_demand_usd_per_month
    );
    assert_eq!(second.servers, second.fleet.servers.len() as i64 - first.servers.len() as i64);
}

#[test]
fn each_key_changes_what_it_names() {
    let request = Request::new(Load::reference(100));
    for (change, differs) in [
        ("model=llama-3.1-8b", true),
        ("precision=int4", true),
        ("precision=own", false),
        ("actions=0.5", true),
        ("lines=0.5", true),
        ("choices=1", true),
        ("prompt=300", true),
        ("answer=20", true),
        ("warm=0", true),
        ("choice-warm=0", true),
        ("swing=0.5", true),
        ("rank=16", true),
        ("market=spot", true),
        ("spot=true", true),
        ("headroom=0.4", true),
        ("first-token-ms=900", true),
        ("token-ms=90", true),
        ("zones=3", true),
        ("replicas=2", true),
        ("only=g5.xlarge,g6.xlarge", true),
        ("npcs=100", false),
    ] {
        let changed = changed(&request, &texts(&[change])).unwrap();
        assert_eq!(changed != request, differs, "{change}");
    }
    assert_eq!(zones(27).last().unwrap(), "zone27");
}

#[test]
fn a_bad_change_is_named() {
    let request = Request::new(Load::reference(100));
    let said = |change: &str| changed(&request, &texts(&[change])).unwrap_err().to_string();
    assert!(said("npcs").contains("key=value"));
    assert!(said("npcs=many").contains("--what-if npcs is \"many\", but must be a whole number"));
    assert!(said("colour=red").contains("there is no --what-if \"colour\"; there are npcs, model"));
    assert!(said("headroom=2").contains("headroom is 2, but must be 0 to 0.9"));
    assert!(said("precision=int2").contains("there is no precision"));
    assert!(said("market=black").contains("there is no market \"black\""));
}

#[test]
fn few_npcs_become_many_equally_and_others_in_proportion() {
    let spread = |load: Load, npcs: &str| {
        let changed = changed(&Request::new(load), &texts(&[npcs])).unwrap();
        changed.load.archetypes.iter().map(|archetype| archetype.npcs).collect::<Vec<_>>()
    };
    assert_eq!(spread(Load::reference(1), "npcs=1002"), [201, 201, 200, 200, 200]);
    for (counts, npcs, wanted) in [
        ([30, 10], "npcs=400", [300, 100]),
        ([1, 2], "npcs=900", [300, 600]),
        ([0, 1], "npcs=10", [0, 10]),
        ([0, 0], "npcs=9", [5, 4]),
        ([3, 3], "npcs=8", [4, 4]),
    ] {
        let archetypes = vec![ArchetypeLoad::new("a", counts[0]), ArchetypeLoad::new("b", counts[1])];
        assert_eq!(spread(Load { archetypes, ..Load::reference(1) }, npcs), wanted);
    }
}

proptest! {
    #[test]
    fn npcs_are_spread_without_losing_any(counts in prop::collection::vec(0_u64..1_000_000, 1..20), npcs in 0_u64..10_000_000) {
        let mut loads: Vec<ArchetypeLoad> =
            counts.iter().enumerate().map(|(at, &npcs)| ArchetypeLoad::new(at.to_string(), npcs)).collect();
        spread(&mut loads, npcs);
        prop_assert_eq!(loads.iter().map(|load| load.npcs).sum::<u64>(), npcs);
        let before = loads.clone();
        spread(&mut loads, npcs);
        prop_assert_eq!(loads, before);
    }

    #[test]
    fn nothing_makes_it_panic(text in "\\PC*") {
        let _ = changed(&Request::new(Load::reference(10)), &[text]);
    }
}
