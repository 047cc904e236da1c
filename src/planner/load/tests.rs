use proptest::prelude::*;

use super::*;

fn near(is: f64, wanted: f64) -> bool {
    (is - wanted).abs() <= 1e-9 * wanted.abs().max(1.0)
}

#[test]
fn the_reference_case_has_the_reference_designs_inferences() {
    for (npcs, inferences) in [(100, 87.5), (1000, 875.0), (10_000, 8750.0)] {
        let load = Load::reference(npcs);
        load.check().unwrap();
        assert_eq!(load.npcs(), npcs);
        assert!(near(load.mean().inferences_per_s, inferences));
        assert_eq!(load.mean(), load.peak());
    }
    assert!(near(ArchetypeLoad::new("vampire", 1).tasks_per_action(), 7.0));
    let odd = Load::reference(7).archetypes.iter().map(|archetype| archetype.npcs).collect::<Vec<_>>();
    assert_eq!(odd, [2, 2, 1, 1, 1]);
}

/// Four of five requests choose, and decode nothing.
#[test]
fn most_requests_are_choices() {
    let rates = Load::reference(10_000).mean();
    assert!(near(rates.actions_per_s, 1250.0));
    assert!(near(rates.lines_per_s, 1250.0) && near(rates.choices_per_s, 5000.0));
    assert!(near(rates.requests_per_s(), 6250.0));
    // 1,250 lines of 48 tokens.
    assert!(near(rates.decode_tokens_per_s, 60_000.0));
    // 1,250 · 240 · 0.1 and 5,000 · (150 · 0.4 + 20).
    assert!(near(rates.prefill_tokens_per_s, 30_000.0 + 400_000.0));
    assert!(near(rates.prompt_tokens_per_s, 300_000.0 + 850_000.0));
}

#[test]
fn the_day_has_a_mean_and_a_peak() {
    let mut factors = [0.5; 24];
    factors[20] = 2.0;
    let load = Load { curve: Curve::new(factors), ..Load::reference(1000) };
    assert_eq!(load.curve.peak(), (20, 2.0));
    assert!(near(load.mean().inferences_per_s, 875.0 * (23.0 * 0.5 + 2.0) / 24.0));
    assert!(near(load.peak().inferences_per_s, 1750.0));
    let evening = Curve::evening(0.6);
    assert!(near(evening.mean(), 1.0));
    assert_eq!(evening.peak().0, 21);
    assert!(near(evening.peak().1, 1.6) && near(evening.factors()[9], 0.4));
}

#[test]
fn a_load_is_read_from_toml_with_defaults() {
    let text = "
        [[archetype]]
        name = \"vampire\"
        npcs = 300
        [[archetype]]
        name = \"zombie\"
        npcs = 700
        actions_per_npc_per_s = 0.01
        lines_per_action = 0.2
        line = { answer = 12 }
    ";
    let load = Load::parse("l.toml", text).unwrap();
    assert_eq!(load.archetypes[0], ArchetypeLoad::new("vampire", 300));
    assert_eq!(load.archetypes[1].line, LineTokens { answer: 12.0, ..LineTokens::default() });
    assert!(near(load.mean().lines_per_s, 37.5 + 1.4));
}

#[test]
fn what_is_wrong_with_a_load_is_said_with_its_key() {
    for (text, wanted) in [
        ("archetype = []", "load.archetype (how many) is 0, but must be 1 to 10000"),
        ("[[archetype]]\nname = \"a\"", "l.toml: archetype[0]: missing field `npcs`"),
        ("[[archetype]]\nname = \"a\"\nnpcs = -1", "l.toml: archetype[0].npcs: invalid value"),
        ("[[archetype]]\nname = \"a\"\nnpcs = 1\nrate = 1", "l.toml: archetype[0].rate: unknown field"),
        (
            "[[archetype]]\nname = \"a\"\nnpcs = 1\nactions_per_npc_per_s = 1e3",
            "load.archetype[0].actions_per_npc_per_s is 1000, but must be 0 to 100",
        ),
        (
            "[[archetype]]\nname = \"a\"\nnpcs = 1\nline = { warm_share = 1.5 }",
            "load.archetype[0].line.warm_share is 1.5, but must be 0 to 1",
        ),
        (
            "[[archetype]]\nname = \"a\"\nnpcs = 1\nchoice = { prompt = nan }",
            "load.archetype[0].choice.prompt is NaN, but must be 1 to 1000000",
        ),
        ("curve = [1.0]\n[[archetype]]\nname = \"a\"\nnpcs = 1", "l.toml: curve"),
        (
            "[[archetype]]\nname = \"a\"\nnpcs = 1\n[[archetype]]\nname = \"a\"\nnpcs = 1",
            "load.archetype.name is \"a\", but must be unlike",
        ),
    ] {
        let message = Load::parse("l.toml", text).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}\nwanted: {wanted}");
    }
    let silent = Load { curve: Curve::new([0.0; 24]), ..Load::reference(1) };
    assert!(silent.check().unwrap_err().to_string().starts_with("load.curve is 0 in every hour"));
    let mut factors = [1.0; 24];
    factors[3] = -1.0;
    let odd = Load { curve: Curve::new(factors), ..Load::reference(1) };
    assert_eq!(odd.check().unwrap_err().to_string(), "load.curve[3] is -1, but must be 0 to 100");
}

prop_compose! {
    fn any_archetype()(
        npcs in 0_u64..=10_000_000, actions_per_npc_per_s in 0.0..=100.0, lines_per_action in 0.0..=16.0,
        choices_per_action in 0.0..=64.0, prompt in 1.0..=1e6, answer in 1.0..=4096.0, warm_share in 0.0..=1.0,
        options in 0.0..=65_536.0,
    ) -> ArchetypeLoad {
        ArchetypeLoad {
            npcs, actions_per_npc_per_s, lines_per_action, choices_per_action,
            line: LineTokens { prompt, answer, warm_share },
            choice: ChoiceTokens { prompt, options, warm_share },
            ..ArchetypeLoad::new("x", 0)
        }
    }
}

proptest! {
    /// Nothing is negative, what is computed is at most what there is, and the peak is at least the mean.
    #[test]
    fn rates_are_in_order(archetype in any_archetype(), factors in prop::array::uniform24(0.0..=100.0_f64)) {
        let load = Load { archetypes: vec![archetype], curve: Curve::new(factors) };
        prop_assume!(load.curve.peak().1 > 0.0);
        prop_assert!(load.check().is_ok());
        let (mean, peak) = (load.mean(), load.peak());
        for (mean, peak) in [
            (mean.inferences_per_s, peak.inferences_per_s),
            (mean.requests_per_s(), peak.requests_per_s()),
            (mean.prefill_tokens_per_s, peak.prefill_tokens_per_s),
            (mean.decode_tokens_per_s, peak.decode_tokens_per_s),
        ] {
            prop_assert!(mean >= 0.0 && mean <= peak * (1.0 + 1e-9) && peak.is_finite());
        }
        prop_assert!(mean.prefill_tokens_per_s <= mean.prompt_tokens_per_s * (1.0 + 1e-9));
    }

    /// Two archetypes ask for as much together as apart.
    #[test]
    fn rates_add_up(one in any_archetype(), other in any_archetype()) {
        let load = |archetypes| Load { archetypes, curve: Curve::default() }.mean();
        let together = load(vec![one.clone(), other.clone()]);
        prop_assert_eq!(together, load(vec![one]) + load(vec![other]));
    }

    #[test]
    fn an_evening_averages_to_one(swing: f64) {
        prop_assert!(near(Curve::evening(swing).mean(), 1.0));
        prop_assert!(Curve::evening(swing).check("curve").is_ok());
    }
}
