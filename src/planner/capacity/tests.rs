use proptest::prelude::*;

use super::*;
use crate::planner::instances::Catalogue;
use crate::planner::load::ArchetypeLoad;
use crate::planner::measured::Measured;
use crate::planner::memory::{AdapterShape, Precision, Target};
use crate::planner::models::{BaseModel, Folder, Models};
use crate::planner::steps::StepPoint;

fn deployed(model: &str) -> Deployed {
    let architecture = Models::built_in().unwrap().get(model).unwrap().architecture;
    Deployed {
        architecture,
        weights: Precision::Int8.scheme(),
        integer: true,
        adapter: AdapterShape {
            rank: 8,
            layers: architecture.layers,
            targets: Target::ATTENTION.to_vec(),
            element_bytes: 1,
        },
        adapters: 7,
    }
}

fn on(instance: &str, model: &str) -> Scaled {
    let (models, measured) = (Models::built_in().unwrap(), Measured::built_in().unwrap());
    let device = Catalogue::built_in().unwrap().get(instance).unwrap().device.clone();
    Scaled::on(&device, &deployed(model), &measured, &models)
}

fn mix() -> Mix {
    Mix::of(&ArchetypeLoad::new("vampire", 1)).unwrap()
}

#[test]
fn a_single_token_of_a_large_model_reads_the_weights() {
    let scaled = on("g5.2xlarge", "llama-3.1-8b");
    // 7.85 GB of linear layers, 1.05 GB of head and 24 MB of adapters, at 60 % of 600 GB/s.
    let read = scaled.steps.points[0].seconds;
    assert!((0.0245..0.0252).contains(&read), "{read}");
    // From some batch on it computes: 2 · 6.98e9 operations a token at 40 % of 70e12.
    let (last, before) = (&scaled.steps.points[14], &scaled.steps.points[13]);
    let slope = (last.seconds - before.seconds) / (last.tokens - before.tokens) as f64;
    assert!((slope / (2.0 * 6_979_321_856.0 / 28e12) - 1.0).abs() < 1e-9, "{slope}");
    scaled.steps.check("steps").unwrap();
}

#[test]
fn figures_say_where_they_are_from() {
    let (gpu, cpu) = (on("g5.2xlarge", "smollm2-135m"), on("c7a.8xlarge", "smollm2-135m"));
    assert!(matches!(gpu.compute_efficiency.unwrap().basis, Basis::Assumed(_)));
    let Basis::Assumed(how) = cpu.compute_efficiency.unwrap().basis else { panic!("a share of another CPU") };
    assert!(how.contains("measured on"), "{how}");
    assert!(matches!((gpu.basis, cpu.basis), (Basis::Scaled(_), Basis::Scaled(_))));
    let mut measured = Measured::built_in().unwrap();
    measured.origin.derived = false;
    assert!(matches!(Scaled::here(&measured).basis, Basis::Measured(_)));
    measured.origin.derived = true;
    let Basis::Scaled(how) = Scaled::here(&measured).basis else { panic!("nobody measured these steps") };
    assert!(how.starts_with("derived from rates"), "{how}");
}

#[test]
fn a_step_elsewhere_takes_at_least_the_assumed_overhead() {
    let (models, mut measured) = (Models::built_in().unwrap(), Measured::built_in().unwrap());
    let device = Catalogue::built_in().unwrap().get("c7a.8xlarge").unwrap().device.clone();
    for (of_fit, wanted) in [(0.0, measured.cpu.step_overhead_s), (0.1, 0.1)] {
        measured.steps.step_overhead_s = of_fit;
        let scaled = Scaled::on(&device, &deployed("smollm2-135m"), &measured, &models);
        assert_eq!(scaled.steps.step_overhead_s, wanted);
    }
}

#[test]
fn the_measured_model_is_the_one_whose_name_it_begins_with() {
    let (mut models, mut measured) = (Models::built_in().unwrap(), Measured::built_in().unwrap());
    let of = |name: &str| BaseModel { name: name.into(), ..models.get("smollm2-360m").unwrap().clone() };
    let others = [of("s"), of("--"), BaseModel { folder: Some(Folder::default()), ..of("smollm2-135m-q4") }];
    for model in others {
        models.add(model).unwrap();
    }
    for (name, wanted) in [
        ("SmolLM2-135M-Instruct-Q4_1", Some("smollm2-135m")),
        ("smollm2_1.7B", Some("smollm2-1.7b")),
        ("other-smollm2-135m", None),
        ("small", Some("s")),
        ("?", None),
    ] {
        name.clone_into(&mut measured.model);
        assert_eq!(measured_model(&measured, &models).map(|model| model.name.as_str()), wanted, "{name}");
    }
}

#[test]
fn each_limit_is_named() {
    let steps = on("g5.2xlarge", "llama-3.1-8b").steps;
    let limit = |first_token_ms, token_ms, rows| {
        capacity(&steps, &mix(), &Targets { first_token_ms, token_ms }, rows, 1).unwrap().limit
    };
    assert_eq!(limit(600_000.0, 60_000.0, 6), Limit::KvMemory);
    assert_eq!(limit(600_000.0, 60.0, 10_000), Limit::TokenLatency);
    assert_eq!(limit(100.0, 60_000.0, 10_000), Limit::FirstToken);
    // Where it computes all the time, more rows do no more.
    assert_eq!(limit(600_000.0, 60_000.0, 10_000), Limit::Throughput);
    // A device on which steps hardly take longer with more rows.
    let points = [1, 1 << 14].map(|tokens| StepPoint { tokens, seconds: 0.01 }).to_vec();
    let (logits_s, attended_s, read_s, mixed_s) = (0.0, 0.0, 0.0, 0.0);
    let flat = StepTimes { points, logits_s, attended_s, read_s, mixed_s, step_overhead_s: 0.0 };
    assert_eq!(capacity(&flat, &mix(), &Targets::default(), 10_000, 1).unwrap().limit, Limit::Engine);
}

#[test]
fn a_target_under_one_step_says_by_how_much() {
    let steps = on("g5.2xlarge", "llama-3.1-8b").steps;
    let said = |first_token_ms, token_ms| {
        capacity(&steps, &mix(), &Targets { first_token_ms, token_ms }, 100, 1).unwrap_err()
    };
    let slow = said(10_000.0, 5.0);
    assert!(
        slow.over_ms() > 15.0
            && slow.to_string().starts_with("the target for the time between two tokens is 5 ms")
    );
    assert!(said(5.0, 10_000.0).to_string().contains("the time to the first token is 5 ms"));
}

#[test]
fn actions_without_lines_only_choose() {
    let load = ArchetypeLoad { lines_per_action: 0.0, ..ArchetypeLoad::new("mute", 1) };
    let only = capacity(
        &on("g5.2xlarge", "smollm2-135m").steps,
        &Mix::of(&load).unwrap(),
        &Targets::default(),
        99,
        1,
    );
    let only = only.unwrap();
    assert!(only.choices_per_s > 0.0 && only.decode_tokens_per_s == 0.0);
    assert!(Mix::of(&ArchetypeLoad { choices_per_action: 0.0, ..load }).is_none());
}

#[test]
fn rare_lines_among_many_choices_have_a_capacity() {
    let load =
        ArchetypeLoad { lines_per_action: 0.01, choices_per_action: 16.0, ..ArchetypeLoad::new("guard", 1) };
    let rare = Mix::of(&load).unwrap();
    let steps = on("g5.2xlarge", "llama-3.1-8b").steps;
    let targets = Targets { token_ms: 80.0, ..Targets::default() };
    // With a row that always decodes a step would hold the choices of two actions: 32 of 80 tokens.
    assert!(steps.seconds(rare.shape(1.0)) * 1e3 > targets.token_ms);
    let found = capacity(&steps, &rare, &targets, 1000, 1).unwrap();
    assert!(found.actions_per_s > 0.0 && found.step_ms <= targets.token_ms && found.first_token_ms <= 500.0);
    assert!(matches!(found.limit, Limit::TokenLatency | Limit::FirstToken));
    // 33 rows of a step have no room: fewer do.
    let few =
        capacity(&steps, &rare, &Targets { token_ms: 60_000.0, first_token_ms: 60_000.0 }, 4, 1).unwrap();
    assert!(few.rows <= 4 && few.limit == Limit::KvMemory, "{few:?}");
}

proptest! {
    #[test]
    fn no_batch_passes_a_target_or_the_memory(token_ms in 30.0..500.0, first_ms in 100.0..5000.0, rows in 2_u64..400, bases in 1_usize..3) {
        let steps = on("g6e.xlarge", "llama-3.1-8b").steps;
        let targets = Targets { first_token_ms: first_ms, token_ms };
        if let Ok(found) = capacity(&steps, &mix(), &targets, rows, bases) {
            prop_assert!(found.step_ms <= token_ms && found.first_token_ms <= first_ms);
            prop_assert!(found.rows <= rows.max(2) && found.actions_per_s > 0.0);
            let more = capacity(&steps, &mix(), &Targets { first_token_ms: first_ms * 2.0, token_ms: token_ms * 2.0 }, rows * 2, bases).unwrap();
            prop_assert!(more.actions_per_s >= found.actions_per_s);
        }
    }
}
