//! Personalities have the means, the standard deviations and the correlations of their pack.

use std::collections::BTreeSet;

use super::packs;
use crate::archetype::{Factor, Trait, Traits};
use crate::npc::Personality;

const SEEDS: u64 = 10_000;
/// Standard errors by which an estimate may be off. 6,625 estimates are made of fixed seeds; of as many from a normal
/// distribution one would be further off than this once in 200 runs.
const ERRORS: f64 = 5.0;
/// What putting the ends on −1 and 1 takes off at most, in standard deviations.
const CUT: f64 = 0.001;

#[test]
fn ten_thousand_seeds_have_the_means_deviations_and_correlations_of_their_pack() {
    let root = f64::sqrt(SEEDS as f64);
    for pack in packs() {
        let table = &pack.tables.personality;
        let people: Vec<[f64; Trait::COUNT]> = (0..SEEDS)
            .map(|seed| {
                let one = Personality::born(seed, table, None);
                Trait::ALL.map(|of| one.value(of).into())
            })
            .collect();
        // Each trait with mean 0 and variance 1, as it should be.
        let mut moments = [(0.0, 0.0); Trait::COUNT];
        for of in Trait::ALL {
            let (mean, sd) = (table.mean[of], table.sd[of]);
            let column = || people.iter().map(|one| one[of.index()]);
            assert!(column().all(|value| (-1.0..=1.0).contains(&value)));
            let found = column().sum::<f64>() / SEEDS as f64;
            let spread = f64::sqrt(column().map(|value| (value - found).powi(2)).sum::<f64>() / SEEDS as f64);
            moments[of.index()] = (found, spread);
            let off = (found - mean).abs() / sd;
            assert!(off < ERRORS / root + CUT, "{} {of}: mean {found}, not {mean}", pack.name);
            // Of a normal distribution, which has longer tails.
            let off = (spread / sd - 1.0).abs();
            assert!(
                off < ERRORS / (root * f64::sqrt(2.0)) + CUT,
                "{} {of}: sd {spread}, not {sd}",
                pack.name
            );
        }
        let mut strong = 0;
        for a in Trait::ALL {
            for b in Trait::ALL.into_iter().filter(|b| *b > a) {
                let ((mean_a, sd_a), (mean_b, sd_b)) = (moments[a.index()], moments[b.index()]);
                let product =
                    |one: &[f64; Trait::COUNT]| (one[a.index()] - mean_a) * (one[b.index()] - mean_b);
                let found = people.iter().map(product).sum::<f64>() / (SEEDS as f64 * sd_a * sd_b);
                let wanted = table.correlation(a, b);
                strong += usize::from(wanted.abs() > 0.2);
                let error = (1.0 - wanted * wanted) / root;
                let off = (found - wanted).abs();
                assert!(off < ERRORS * error + CUT, "{} {a}, {b}: {found}, not {wanted}", pack.name);
            }
        }
        assert!(strong > 100, "{}: only {strong} pairs have to do with each other", pack.name);
    }
}

#[test]
fn the_same_seed_is_the_same_on_every_machine() {
    let packs = packs();
    let vampire = packs.iter().find(|pack| pack.name == "vampire").unwrap();
    let told = [0, 7, u64::MAX].map(|seed| {
        let values = Personality::born(seed, &vampire.tables.personality, None).values();
        assert_eq!(values, Personality::born(seed, &vampire.tables.personality, None).values());
        let shown: Vec<_> = values.iter().map(|(_, value)| value).collect();
        format!("{seed}: {}", serde_json::to_string(&shown).unwrap())
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn no_two_are_alike() {
    let packs = packs();
    let all: BTreeSet<String> = (0..2_000)
        .map(|seed| format!("{:?}", Personality::born(seed, &packs[0].tables.personality, None).values()))
        .collect();
    assert_eq!(all.len(), 2_000);
}

#[test]
fn what_is_given_is_as_it_is_given_and_nothing_else_changes() {
    let table = &packs()[0].tables.personality;
    let plain = Personality::born(3, table, None);
    let given = [("neo_anger", -0.123_456_7), ("moral_care", 1.0)];
    let given = given.map(|(of, value)| (of.to_owned(), value)).into();
    let other = Personality::born(3, table, Some(&given));
    for of in Trait::ALL {
        let expected = given.get(of.key()).copied().unwrap_or(plain.value(of));
        assert_eq!(other.value(of), expected, "{of}");
    }
}

#[test]
fn a_factor_that_is_added_leaves_alone_what_has_nothing_of_it() {
    let mut table = packs()[0].tables.personality.clone();
    let before = Personality::born(11, &table, None);
    let mut loading = Traits::default();
    loading[Trait::Arcana] = 0.3;
    // Before all others.
    table.factors.insert(0, Factor { name: "aaa".into(), loading });
    let after = Personality::born(11, &table, None);
    let changed: Vec<_> = Trait::ALL.into_iter().filter(|of| before.value(*of) != after.value(*of)).collect();
    assert_eq!(changed, [Trait::Arcana]);
}
