//! Bodies differ, stay within their limits, and get scars.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::packs;
use crate::archetype::Span;
use crate::npc::{Body, MAX_SCARS, Scar, Side};

fn body(seed: u64) -> Body {
    Body::born(seed, &packs()[0].tables.body)
}

#[test]
fn ten_thousand_bodies_are_all_different_and_within_limits() {
    for pack in packs() {
        let table = &pack.tables.body;
        let within =
            |value: f32, span: Span| f64::from(value) >= span.0 - 5e-4 && f64::from(value) <= span.1 + 5e-4;
        let mut shapes = BTreeSet::new();
        let mut marks: BTreeMap<String, usize> = BTreeMap::new();
        for seed in 0..10_000 {
            let body = Body::born(seed, table);
            for (value, span) in [
                (body.height_m, table.height_m),
                (body.build, table.build),
                (body.age, table.age),
                (body.shoulder_ratio, table.shoulder_ratio),
                (body.hip_ratio, table.hip_ratio),
                (body.asymmetry, table.asymmetry),
                (body.scars.len() as f32, table.scars),
                (body.warts.len() as f32, table.warts),
            ] {
                assert!(within(value, span), "{} {seed}: {value} {span:?}", pack.name);
            }
            let mass = f64::from(body.build) * f64::from(body.height_m).powi(2);
            assert!((f64::from(body.mass_kg) - mass).abs() < 1e-3, "{body:?}");
            assert!(table.morphs.iter().all(|(name, span)| within(body.morphs[name], *span)), "{body:?}");
            assert_eq!(body.morphs.len(), table.morphs.len());
            body.marks.iter().for_each(|mark| *marks.entry(mark.clone()).or_default() += 1);
            // Without scars and marks: those who differ in these alone look alike from afar.
            let bare = Body { scars: Vec::new(), warts: Vec::new(), marks: Vec::new(), ..body };
            assert!(shapes.insert(serde_json::to_string(&bare).unwrap()), "{} {seed}", pack.name);
        }
        for mark in &table.marks {
            let share = marks[&mark.id] as f64 / 10_000.0;
            let error = f64::sqrt(mark.chance * (1.0 - mark.chance)) / 100.0;
            assert!((share - mark.chance).abs() < 5.0 * error, "{} {}: {share}", pack.name, mark.id);
        }
    }
}

#[test]
fn the_same_seed_looks_the_same_on_every_machine() {
    let packs = packs();
    let zombie = &packs.iter().find(|pack| pack.name == "zombie").unwrap().tables.body;
    assert_eq!(Body::born(7, zombie), Body::born(7, zombie));
    insta::assert_snapshot!(serde_json::to_string(&Body::born(7, zombie)).unwrap());
}

#[test]
fn a_body_comes_back_from_the_store() {
    let mut hurt = body(5);
    hurt.scar(5, "e", "A cut on the left hand.", 0.5, 9);
    assert_eq!(Body::stored(&hurt.to_map(), || unreachable!()), hurt);
    // As it was before there were bodies, and as it may have been.
    assert_eq!(Body::stored(&BTreeMap::new(), || body(5)), body(5));
    let scars = [("scars".to_owned(), json!([{"place": "cheek", "severity": 0.5, "since": 3}]))].into();
    let scar = Scar { place: "cheek".into(), side: None, severity: 0.5, at_ms: None };
    assert_eq!(Body::stored(&scars, || body(5)), Body { scars: vec![scar], ..body(5) });
    let strange = [("scars".to_owned(), json!([{"place": 3}]))].into();
    assert_eq!(Body::stored(&strange, || body(5)), body(5));
}

#[test]
fn an_injury_leaves_a_scar_where_it_was() {
    let bare = || Body { scars: Vec::new(), ..body(1) };
    let place = |text: &str| {
        let mut hurt = bare();
        hurt.scar(1, "e1", text, 0.5, 42);
        let [scar] = hurt.scars.as_slice() else { panic!("{:?}", hurt.scars) };
        assert_eq!((scar.severity, scar.at_ms), (0.55, Some(42)));
        (scar.place.clone(), scar.side)
    };
    assert_eq!(place("A stone hit her LEFT cheek."), ("cheek".into(), Some(Side::Left)));
    assert_eq!(place("The blade went through his right palm"), ("hand".into(), Some(Side::Right)));
    assert_eq!(place("an arrow in the throat"), ("neck".into(), None));
    // A shield is no place, and a heading is no head.
    let somewhere = place("Heading for the shield, it fell.");
    assert_eq!(somewhere, place("Heading for the shield, it fell."), "the seed and the event decide");
    assert_eq!(place("a knee").1, place("a knee").1);

    // The same wound again: one scar, worse.
    let mut hurt = bare();
    hurt.scar(1, "e1", "the nose", 0.5, 1);
    hurt.scar(1, "e2", "the nose", 0.5, 2);
    let [scar] = hurt.scars.as_slice() else { panic!("{:?}", hurt.scars) };
    assert_eq!((scar.severity, scar.at_ms), (0.798, Some(2)));
}

proptest! {
    #[test]
    fn scars_stay_few(events in prop::collection::vec(("\\PC{0,30}", -1.0_f32..2.0), 0..80)) {
        let mut hurt = body(2);
        for (at, (text, importance)) in events.iter().enumerate() {
            hurt.scar(2, &at.to_string(), text, *importance, at as u64);
            prop_assert!(hurt.scars.len() <= MAX_SCARS);
            prop_assert!(hurt.scars.iter().all(|scar| (0.0..=1.0).contains(&scar.severity)));
            prop_assert!(hurt.scars.iter().any(|scar| scar.at_ms == Some(at as u64)), "the newest shows");
        }
    }
}
