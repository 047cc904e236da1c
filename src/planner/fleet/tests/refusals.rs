//! Plans that cannot be met say which constraint and by how much.

use super::{Data, on};
use crate::planner::fleet::{PlanError, Request, plan};
use crate::planner::load::{ArchetypeLoad, Curve, Load};

#[test]
fn a_model_too_large_says_which_limit_and_by_how_much() {
    let data = Data::new();
    let only = vec!["g5.2xlarge".to_owned(), "c7i.2xlarge".to_owned()];
    let request = Request { precision: Some("int4".into()), only, ..on("llama-3.1-70b", 100) };
    let error = plan(&request, &data.inputs()).unwrap_err();
    let PlanError::TooLarge { instance, dimension, source, .. } = &error else { panic!("{error}") };
    assert_eq!((instance.as_str(), *dimension), ("g5.2xlarge", "GPU memory"));
    // 42.7 GB of weights, 1.2 of the runtime, 0.2 of a row, less 95 % of 24.0 GB.
    assert!((21e9..23e9).contains(&(source.missing_bytes() as f64)), "{source}");
    assert!(error.to_string().contains("GB too little"), "{error}");
}

#[test]
fn a_target_under_one_step_says_by_how_much() {
    let data = Data::new();
    let mut request = on("llama-3.1-8b", 10);
    request.targets.token_ms = 1.0;
    let error = plan(&request, &data.inputs()).unwrap_err();
    let PlanError::TooSlow { instance, source, .. } = &error else { panic!("{error}") };
    assert_eq!(instance, "p5.48xlarge");
    assert!(source.over_ms() > 1.0);
    assert!(error.to_string().contains("ms too long"), "{error}");
}

#[test]
fn too_many_replicas_are_named() {
    let data = Data::new();
    let mut request =
        Request::new(Load { archetypes: vec![ArchetypeLoad::new("crowd", 9_000_000)], ..Load::reference(1) });
    request.load.archetypes[0].actions_per_npc_per_s = 10.0;
    request.only = vec!["c7i.2xlarge".into()];
    let error = plan(&request, &data.inputs()).unwrap_err().to_string();
    assert!(error.contains("crowd") && error.contains("10000 replicas"), "{error}");
    let request = Request { replicas: 1001, ..Request::new(Load::reference(10)) };
    assert_eq!(
        plan(&request, &data.inputs()).unwrap_err().to_string(),
        "replicas is 1001, but must be 1 to 1000"
    );
}

#[test]
fn unknown_names_are_named_with_what_there_is() {
    let data = Data::new();
    let said = |request: Request| plan(&request, &data.inputs()).unwrap_err().to_string();
    assert!(said(on("gpt", 10)).contains("there is no base model \"gpt\"; there are llama-3.1-8b"));
    let request = Request { only: vec!["g9".into()], ..on("smollm2-135m", 10) };
    assert!(said(request).contains("there is no instance type \"g9\""));
    let mut request = on("smollm2-135m", 10);
    request.models.insert("dragon".into(), "smollm2-135m".into());
    assert!(said(request).contains("there is no archetype \"dragon\""));
}

/// One archetype decodes, for which a card needs bandwidth; the other reads long prompts, for which it needs operations.
#[test]
fn archetypes_without_a_common_type_name_the_nearest_and_who_fails_there() {
    let data = Data::new();
    let decodes = ArchetypeLoad { choices_per_action: 0.0, ..ArchetypeLoad::new("bard", 1) };
    let mut reads = ArchetypeLoad { lines_per_action: 0.0, ..ArchetypeLoad::new("clerk", 1) };
    (reads.choice.prompt, reads.choice.warm_share) = (800.0, 0.0);
    let mut request = Request {
        model: "llama-3.1-8b".into(),
        only: vec!["g5.xlarge".into(), "g6.xlarge".into()],
        ..Request::new(Load { archetypes: vec![decodes, reads], ..Load::reference(1) })
    };
    (request.targets.token_ms, request.targets.first_token_ms) = (40.0, 470.0);
    let error = plan(&request, &data.inputs()).unwrap_err();
    let PlanError::NothingCommon { what, instance, archetype, source, .. } = &error else {
        panic!("{error}")
    };
    let who = if instance == "g5.xlarge" { "clerk" } else { "bard" };
    assert_eq!((what.as_str(), archetype.as_str()), ("llama-3.1-8b", who));
    assert!(source.ratio() > 1.0 && error.to_string().contains("ms too long"), "{error}");
}

#[test]
fn an_npc_is_not_busier_than_100_actions_a_second_at_its_peak() {
    let mut request = Request::new(Load { curve: Curve::evening(1.0), ..Load::reference(10) });
    request.load.archetypes[1].actions_per_npc_per_s = 60.0;
    assert_eq!(
        plan(&request, &Data::new().inputs()).unwrap_err().to_string(),
        "actions per NPC and second of werewolf in the busiest hour is 120, but must be 0 to 100"
    );
}

#[test]
fn too_many_replicas_in_all_are_counted() {
    let archetypes = (0..21).map(|at| ArchetypeLoad::new(at.to_string(), 1)).collect();
    let request = Request { replicas: 1000, ..Request::new(Load { archetypes, ..Load::reference(1) }) };
    let error = plan(&request, &Data::new().inputs()).unwrap_err().to_string();
    assert!(error.contains("21000 replicas in all: 1000 more than 20000"), "{error}");
}
