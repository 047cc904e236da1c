//! What is told beside a plan.

use super::{Data, on};
use crate::planner::fleet::{Fleet, Request, WARNING, plan};
use crate::planner::load::{ArchetypeLoad, ChoiceTokens, LineTokens, Load};

fn only(request: Request, name: &str, data: &Data) -> Fleet {
    plan(&Request { only: vec![name.to_owned()], ..request }, &data.inputs()).unwrap()
}

fn has(fleet: &Fleet, start: &str, rest: &str) -> bool {
    fleet.notes.iter().any(|note| note.starts_with(start) && note.contains(rest))
}

#[test]
fn a_plan_with_gpus_says_first_what_it_takes_for_granted() {
    let data = Data::new();
    let gpus = only(on("llama-3.1-8b", 100), "g5.xlarge", &data);
    assert!(gpus.notes[0].starts_with(WARNING) && gpus.notes[0].contains("the plan for g5.xlarge assumes"));
    assert!(gpus.notes[0].contains("portable decoder"));
    assert_eq!(gpus.warnings().count(), 1);
    assert_eq!(only(on("smollm2-135m", 100), "c7i.8xlarge", &data).warnings().count(), 0);
}

#[test]
fn prices_have_their_day_and_source() {
    let data = Data::new();
    let seen = only(on("smollm2-135m", 100), "g5.xlarge", &data);
    assert!(has(
        &seen,
        "Price of g5.xlarge: 1.006 dollars an hour on demand (2026-01-19, AWS",
        "0.4073 on spot"
    ));
    let assumed = data.catalogue.iter().find(|instance| instance.spot_is_assumed).unwrap();
    let fleet = only(on("smollm2-135m", 100), &assumed.name, &data);
    assert!(has(&fleet, &format!("Price of {}:", assumed.name), "spot is assumed: 30 % of on demand"));
    assert!(has(&fleet, "Spot servers can be taken back at any time", "no reserve"));
    // Of types that are not in the plan nothing is told.
    assert_eq!(fleet.notes.iter().filter(|note| note.starts_with("Price of")).count(), 1);
}

#[test]
fn cheaper_types_that_were_left_out_are_named_with_their_reason() {
    let data = Data::new();
    let fleet = plan(&on("llama-3.1-8b", 100), &data.inputs()).unwrap();
    let left: Vec<&String> = fleet.notes.iter().filter(|note| note.starts_with("Left out: ")).collect();
    assert!((1..=5).contains(&left.len()), "{left:?}");
    let dearest = fleet.servers.iter().map(|server| server.usd_per_hour).fold(0.0, f64::max);
    for note in left {
        let name = note["Left out: ".len()..].split(' ').next().unwrap();
        assert!(data.catalogue.get(name).unwrap().on_demand_usd_per_hour < dearest, "{note}");
        assert!(note.contains("ms too long") || note.contains("too little"), "{note}");
    }
}

#[test]
fn built_in_figures_are_named_where_a_file_lacks_them() {
    let mut data = Data::new();
    assert!(!has(&only(on("smollm2-135m", 10), "g5.xlarge", &data), "", "built-in figures are used"));
    data.measured.origin.built_in = vec!["memory of the runtime"];
    let fleet = only(on("smollm2-135m", 10), "g5.xlarge", &data);
    assert!(has(&fleet, "", "does not tell memory of the runtime: the built-in figures are used"));
}

#[test]
fn no_server_is_set_to_keep_more_conversations_than_the_gateway_can() {
    let data = Data::new();
    // Five sequences of 16 tokens for each NPC, 60,000 of each archetype.
    let small = |name: &str| ArchetypeLoad {
        actions_per_npc_per_s: 1e-4,
        line: LineTokens { prompt: 8.0, answer: 4.0, warm_share: 0.5 },
        choice: ChoiceTokens { prompt: 8.0, options: 4.0, warm_share: 0.5 },
        ..ArchetypeLoad::new(name, 12_000)
    };
    let request = Request::new(Load { archetypes: vec![small("a"), small("b")], ..Load::reference(1) });
    let fleet = only(request, "c7i.24xlarge", &data);
    assert_eq!((fleet.servers.len(), fleet.groups[0].settings.kept_conversations), (1, 65_536));
    assert!(has(&fleet, "c7i.24xlarge: the load has 120000 sequences kept", "at most 65536"));
}
