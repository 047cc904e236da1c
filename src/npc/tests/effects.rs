//! What traits do, within bounds.

use proptest::prelude::*;

use super::packs;
use crate::archetype::{Cause, Task, Trait};
use crate::npc::Personality;

#[test]
fn who_has_nothing_of_any_trait_changes_nothing() {
    let nobody = Personality::default();
    assert!(nobody.weights().values().all(|weight| *weight == 1.0));
    assert_eq!(nobody.weights().len(), Task::ALL.len());
    assert_eq!((nobody.expressivity(), nobody.intensity(), nobody.action_threshold()), (1.0, 1.0, 1.0));
    assert_eq!(
        (nobody.mood_baseline(), nobody.mood_half_life_ms(), nobody.asymmetry(0.0)),
        (0.0, 300_000.0, 0.0)
    );
}

#[test]
fn traits_do_what_they_say() {
    let bold = Personality::of(&[
        (Trait::Assertiveness, 1.0),
        (Trait::Immoderation, 1.0),
        (Trait::Cautiousness, -1.0),
    ]);
    assert!(bold.action_threshold() < 0.8 && bold.weights()[&Task::ActionPolicy] > 1.2);
    let sad = Personality::of(&[
        (Trait::Depression, 1.0),
        (Trait::Cheerfulness, -1.0),
        (Trait::Vulnerability, 1.0),
    ]);
    assert_eq!(sad.mood_baseline(), -0.5);
    assert!(sad.mood_half_life_ms() > 500_000.0 && sad.intensity() > 1.1 && sad.expressivity() < 1.0);
    let vain = Personality::of(&[(Trait::Narcissism, 1.0), (Trait::Sadism, 1.0)]);
    assert_eq!(vain.asymmetry(0.4), 0.3 + 0.125);
}

#[test]
fn a_line_tells_what_sets_it_apart_from_its_kind() {
    for pack in packs() {
        let table = &pack.tables.personality;
        let mean = Trait::ALL.map(|of| (of, table.mean[of] as f32));
        assert_eq!(Personality::of(&mean).prompt_line(table), None, "{}", pack.name);
        let mut told = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let line = Personality::born(seed, table, None).prompt_line(table).unwrap();
            assert!(
                line.starts_with("You are ") && line.ends_with('.') && line.chars().count() <= 100,
                "{line}"
            );
            told.insert(line);
        }
        assert!(told.len() > 190, "{}: {} lines", pack.name, told.len());
    }
    let table = &packs()[0].tables.personality;
    let own = |traits: &[(Trait, f32)]| {
        let mut all: Vec<_> = Trait::ALL.iter().map(|of| (*of, table.mean[*of] as f32)).collect();
        all.extend_from_slice(traits);
        Personality::of(&all).prompt_line(table).unwrap_or_default()
    };
    assert_eq!(own(&[(Trait::Anger, 0.9)]), "You are quick to anger.");
    let marked =
        [(Trait::Anger, 0.9), (Trait::Modesty, -0.9), (Trait::Intellect, 0.7), (Trait::Loyalty, 0.2)];
    assert_eq!(own(&marked), "You are boastful, quick to anger and curious about ideas.");
}

#[test]
fn prompts_and_weights_stay_while_little_changes() {
    let pack = &packs()[2];
    let table = &pack.tables.personality;
    let mut one = Personality::born(7, table, None);
    let (line, weights) = (one.prompt_line(table), one.weights());
    one.grow(&pack.tables.growth, Cause::Injury, 1.0);
    one.grow(&pack.tables.growth, Cause::Injury, 1.0);
    assert!(one.value(Trait::Trust) < one.at_birth()[Trait::Trust] - 0.05);
    assert_eq!((one.prompt_line(table), one.weights()), (line.clone(), weights.clone()));
    for _ in 0..100 {
        one.grow(&pack.tables.growth, Cause::Injury, 1.0);
    }
    assert!(one.prompt_line(table) != line && one.weights() != weights);
}

proptest! {
    #[test]
    fn whatever_somebody_is_like_the_effects_are_bounded(values in prop::collection::vec(-1.0_f32..=1.0, Trait::COUNT), face in -1.0_f32..2.0) {
        let traits: Vec<_> = Trait::ALL.into_iter().zip(values).collect();
        let one = Personality::of(&traits);
        let factors = [one.expressivity(), one.intensity(), one.action_threshold()];
        for factor in one.weights().into_values().chain(factors) {
            prop_assert!((0.5..=1.5).contains(&factor), "{factor}");
        }
        prop_assert!((-0.5..=0.5).contains(&one.mood_baseline()));
        prop_assert!((75_000.0..=1_200_000.0).contains(&one.mood_half_life_ms()));
        prop_assert!((0.0..=1.0).contains(&one.asymmetry(face)));
    }
}
