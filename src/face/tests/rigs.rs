//! `schemas/face/rigs/*.toml` are for clients; that they are complete is checked here.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ovr {
    visemes: Vec<OvrViseme>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OvrViseme {
    name: String,
    ours: Vec<String>,
    shapes: BTreeMap<String, f32>,
}

#[test]
fn every_viseme_has_its_place_among_the_fifteen_of_ovr() {
    let tables = tables();
    let ovr: Ovr = toml::from_str(include_str!("../../../schemas/face/rigs/ovr_visemes.toml")).unwrap();
    let names: Vec<&str> = ovr.visemes.iter().map(|viseme| &*viseme.name).collect();
    // The order of ovrLipSyncViseme.
    let fifteen = ["sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou"];
    assert_eq!(names, fifteen);
    let ours: Vec<&str> = ovr.visemes.iter().flat_map(|viseme| &viseme.ours).map(String::as_str).collect();
    let known: BTreeSet<&str> = tables.speech.visemes().iter().map(|viseme| &*viseme.name).collect();
    assert_eq!(ours.len(), known.len(), "each once");
    assert_eq!(ours.iter().copied().collect::<BTreeSet<_>>(), known);
    for viseme in &ovr.visemes {
        let first = tables.speech.visemes().iter().find(|ours| ours.name == viseme.ours[0]).unwrap();
        let mut pose = Pose::neutral(&tables.units);
        for (unit, value) in &first.units {
            pose.slots_mut()[2 * unit..2 * unit + 2].fill(*value);
        }
        let weights = pose.weights(&tables.units);
        let shapes: BTreeMap<String, f32> = tables
            .shapes()
            .iter()
            .zip(weights)
            .filter(|(_, weight)| *weight > 0.0)
            .map(|(name, weight)| (name.clone(), (weight * 1000.0).round() / 1000.0))
            .collect();
        assert_eq!(viseme.shapes, shapes, "{} = {}", viseme.name, toml::to_string(&shapes).unwrap());
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaHuman {
    curves: BTreeMap<String, BTreeMap<String, f32>>,
}

#[test]
fn every_shape_has_its_curves_on_a_metahuman() {
    let tables = tables();
    let rig: MetaHuman = toml::from_str(include_str!("../../../schemas/face/rigs/metahuman.toml")).unwrap();
    let shapes: BTreeSet<&String> = tables.shapes().iter().collect();
    assert_eq!(rig.curves.keys().collect::<BTreeSet<_>>(), shapes);
    for (shape, curves) in rig.curves {
        assert!(!curves.is_empty(), "{shape}");
        for (curve, weight) in curves {
            let name = curve.strip_prefix("CTRL_expressions_").expect("MetaHuman's prefix");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{curve}");
            assert!(weight > 0.0 && weight <= 1.0, "{curve}");
            // What is the character's left one there is the left one here.
            for (side, other) in [("Left", 'R'), ("Right", 'L')] {
                let eye = name.starts_with("eyeLook");
                assert!(!shape.ends_with(side) || eye || !name.ends_with(other), "{shape} {curve}");
            }
        }
    }
}
