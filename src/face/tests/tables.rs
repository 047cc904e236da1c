use super::*;

/// The prototypes as EMFACS is quoted (W. V. Friesen, P. Ekman, EMFACS-7, 1983): happiness 6+12, sadness 1+4+15, surprise
/// 1+2+5B+26, fear 1+2+4+5+7+20+26, anger 4+5+7+23, disgust 9+15+16, contempt R12A+R14A. Contempt's side is the
/// character's.
#[test]
fn every_emotion_at_full_intensity_is_its_published_prototype() {
    let tables = tables();
    let published: [(EmotionLabel, &[&str]); 7] = [
        (EmotionLabel::Joy, &["AU6", "AU12"]),
        (EmotionLabel::Sadness, &["AU1", "AU4", "AU15"]),
        (EmotionLabel::Surprise, &["AU1", "AU2", "AU5", "AU26"]),
        (EmotionLabel::Fear, &["AU1", "AU2", "AU4", "AU5", "AU7", "AU20", "AU26"]),
        (EmotionLabel::Anger, &["AU4", "AU5", "AU7", "AU23"]),
        (EmotionLabel::Disgust, &["AU9", "AU15", "AU16"]),
        (EmotionLabel::Contempt, &["AU12R", "AU14R"]),
    ];
    let style = (1..64).map(|seed| Style::new(&Arc::new(look(&tables, "")), 1.0, 0.0, seed));
    let style = style.into_iter().find(|style| style.contempt_side() == Side::Right).unwrap();
    for (label, names) in published {
        let shown = Expression::new(&tables, &style, label, 1.0).units();
        let mut expected: Vec<&str> = names.to_vec();
        expected.sort_unstable();
        assert_eq!(shown.keys().collect::<Vec<_>>(), expected, "{label:?}");
        for (name, value) in shown {
            // Surprise has a weak lid raiser (5B), and contempt is weak as a whole.
            let weak = label == EmotionLabel::Contempt || (label == EmotionLabel::Surprise && name == "AU5");
            assert!(
                if weak { (0.2..1.0).contains(&value) } else { value == 1.0 },
                "{label:?} {name} {value}"
            );
        }
    }
    let neutral = Expression::new(&tables, &style, EmotionLabel::Neutral, 1.0);
    assert_eq!((neutral.units().len(), neutral.bytes()), (0, [0; FACE_SHAPES]));
}

fn look(tables: &Tables, face: &str) -> Look {
    Look::new(tables, &toml::from_str(face).unwrap()).unwrap()
}

#[test]
fn units_become_the_shapes_of_the_same_muscles() {
    let tables = tables();
    let weights = |label, intensity| Expression::new(&tables, &plain(&tables), label, intensity).weights();
    let joy = weights(EmotionLabel::Joy, 1.0);
    for name in ["mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight"] {
        assert_eq!(joy[shape(&tables, name)], 1.0, "{name}");
    }
    assert_eq!(joy.iter().filter(|weight| **weight > 0.0).count(), 6, "and the lids, a little");
    let half = weights(EmotionLabel::Joy, 0.5);
    assert_eq!(half[shape(&tables, "mouthSmileLeft")], 0.5);
    // 1 and 4 together: the inner brow is raised and drawn together.
    let sadness = weights(EmotionLabel::Sadness, 1.0);
    assert_eq!((sadness[shape(&tables, "browInnerUp")], sadness[shape(&tables, "browDownLeft")]), (1.0, 1.0));
    let surprise = weights(EmotionLabel::Surprise, 1.0);
    assert!((0.4..0.8).contains(&surprise[shape(&tables, "jawOpen")]), "a dropped jaw is not a yawn");
    for nonsense in [f32::NAN, -1.0, f32::NEG_INFINITY] {
        assert_eq!(weights(EmotionLabel::Fear, nonsense), [0.0; FACE_SHAPES]);
    }
    assert_eq!(weights(EmotionLabel::Fear, 7.0), weights(EmotionLabel::Fear, 1.0));
}

#[test]
fn contempt_is_one_sided_and_keeps_its_side() {
    let tables = tables();
    let look = Arc::new(look(&tables, ""));
    let mut sides = [0; 2];
    for seed in 0..200 {
        let style = Style::new(&look, 1.0, 0.0, seed);
        assert_eq!(style, Style::new(&look, 1.0, 0.0, seed));
        let weights = Expression::new(&tables, &style, EmotionLabel::Contempt, 1.0).weights();
        let [left, right] = ["mouthDimpleLeft", "mouthDimpleRight"].map(|name| weights[shape(&tables, name)]);
        assert_eq!(left.min(right), 0.0);
        assert!(left.max(right) > 0.5);
        sides[usize::from(right > left)] += 1;
    }
    assert!(sides.iter().all(|count| *count > 60), "{sides:?}");
}

#[test]
fn the_shapes_are_apples() {
    let tables = tables();
    assert_eq!((tables.rig(), tables.shapes().len()), ("arkit52", FACE_SHAPES));
    // The groups of Apple's page and how many shapes each has.
    let groups =
        [("eye", 14), ("jaw", 4), ("mouth", 23), ("brow", 5), ("cheek", 3), ("nose", 2), ("tongue", 1)];
    let mut shapes = tables.shapes().iter();
    for (group, count) in groups {
        let of_group: Vec<_> = shapes.by_ref().take(count).collect();
        assert!(of_group.iter().all(|shape| shape.starts_with(group)), "{group}: {of_group:?}");
    }
    let mut unique = tables.shapes().to_vec();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), FACE_SHAPES);
}

#[test]
fn every_viseme_differs_from_the_others_and_those_of_the_lips_close_them() {
    let tables = tables();
    let mut seen = BTreeMap::new();
    for viseme in tables.speech.visemes() {
        let mut pose = Pose::neutral(&tables.units);
        for (unit, value) in &viseme.units {
            pose.slots_mut()[2 * unit..2 * unit + 2].fill(*value);
        }
        let weights = pose.weights(&tables.units);
        assert_eq!(
            lips_closed(&tables, &weights.map(|w| w * 255.0)),
            ["rest", "pbm"].contains(&&*viseme.name)
        );
        assert_eq!(viseme.closed, viseme.name == "pbm");
        if viseme.vowel {
            assert!(weights[shape(&tables, "jawOpen")] > 0.1, "{}", viseme.name);
        }
        let twin = seen.insert(super::super::pose::bytes(&weights), viseme.name.clone());
        assert_eq!(twin, None, "{}", viseme.name);
    }
}

#[test]
fn a_pack_changes_its_faces() {
    let tables = tables();
    let shown = |face: &str, label| Expression::new(&tables, &style(&tables, face), label, 1.0).units();
    assert_eq!(shown("[gains]\nAU6 = 0\nAU12 = 0.5", EmotionLabel::Joy), units(&[("AU12", 0.5)]));
    let snarl = shown("[extra.anger]\nAU10 = 0.7", EmotionLabel::Anger);
    assert_eq!(snarl, units(&[("AU10", 0.7), ("AU23", 1.0), ("AU4", 1.0), ("AU5", 1.0), ("AU7", 1.0)]));
    assert_eq!(shown("expressivity = 0.5", EmotionLabel::Joy), units(&[("AU12", 0.5), ("AU6", 0.5)]));
    // A scarred side, and a gain for the rest.
    assert_eq!(
        shown("[gains]\nAU12 = 0.8\nAU12L = 0.1", EmotionLabel::Joy),
        units(&[("AU12L", 0.1), ("AU12R", 0.8), ("AU6", 1.0)])
    );
    assert_eq!(shown("[gains]\nAU12 = 2", EmotionLabel::Joy), units(&[("AU12", 1.0), ("AU6", 1.0)]));

    let unknown = |face: &str| Look::new(&tables, &toml::from_str(face).unwrap()).unwrap_err().to_string();
    assert_eq!(
        unknown("[gains]\nAU99 = 0"),
        "face.gains.AU99: there is no action unit AU99 in schemas/face/arkit52.toml"
    );
    assert!(
        unknown("[extra.joy]\nAU3L = 0.1").starts_with("face.extra.joy.AU3L: there is no action unit AU3L")
    );
}

#[test]
fn a_character_shows_more_or_less_and_one_side_more() {
    let tables = tables();
    let look = Arc::new(look(&tables, "expressivity = 0.5"));
    let joy = |expressivity, asymmetry, intensity| {
        let style = Style::new(&look, expressivity, asymmetry, 0);
        Expression::new(&tables, &style, EmotionLabel::Joy, intensity).units()
    };
    assert_eq!(joy(1.0, 0.0, 1.0), units(&[("AU12", 0.5), ("AU6", 0.5)]));
    assert_eq!(joy(2.0, 0.0, 1.0), units(&[("AU12", 1.0), ("AU6", 1.0)]));
    assert_eq!(joy(9.0, 0.0, 0.5), units(&[("AU12", 0.5), ("AU6", 0.5)]));
    assert_eq!(joy(0.0, 0.0, 1.0), units(&[]));
    assert_eq!(joy(2.0, 1.0, 1.0), units(&[("AU12L", 0.6), ("AU12R", 1.0), ("AU6L", 0.6), ("AU6R", 1.0)]));
    assert_eq!(joy(2.0, -9.0, 1.0), units(&[("AU12L", 1.0), ("AU12R", 0.6), ("AU6L", 1.0), ("AU6R", 0.6)]));
    assert_eq!(joy(f32::NAN, f32::NAN, 1.0), joy(1.0, 0.0, 1.0));
}

#[test]
fn the_built_in_packs_have_faces() {
    let tables = tables();
    for pack in Packs::load(None).unwrap().iter() {
        let look = Arc::new(Look::new(&tables, &pack.face).unwrap());
        let shown = EMOTIONS
            .map(|label| Expression::new(&tables, &Style::new(&look, 1.0, 0.0, 1), label, 1.0).bytes());
        let different: std::collections::BTreeSet<_> = shown.iter().collect();
        assert_eq!(different.len(), EMOTIONS.len(), "{}", pack.name);
        assert!(!different.contains(&[0; FACE_SHAPES]), "{}", pack.name);
    }
}

/// The error of the tables when one text in one of them is replaced.
fn error(table: &str, from: &str, to: &str) -> String {
    let built_in = Sources::BUILT_IN;
    let text = match table {
        "arkit52" => built_in.arkit52,
        "emotions" => built_in.emotions,
        "motion" => built_in.motion,
        _ => built_in.visemes,
    };
    assert!(text.contains(from), "{table}: {from}");
    let text = text.replacen(from, to, 1);
    let sources = match table {
        "arkit52" => Sources { arkit52: &text, ..built_in },
        "emotions" => Sources { emotions: &text, ..built_in },
        "motion" => Sources { motion: &text, ..built_in },
        _ => Sources { visemes: &text, ..built_in },
    };
    Tables::read(&sources).unwrap_err().to_string()
}

/// Table, a text in it, what stands there instead, and the beginning of the error.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("arkit52", "\"tongueOut\",", "", "arkit52.toml: shapes: it has 51 names, but must have 52"),
    ("arkit52", "\"jawLeft\"", "\"jawOpen\"", "arkit52.toml: shapes[17]: jawOpen is there twice"),
    ("arkit52", "\"jawLeft\"", "\"jaw left\"", "arkit52.toml: shapes[15]: it is \"jaw left\""),
    (
        "arkit52",
        "\"mouthSmile*\"",
        "\"mouthGrin*\"",
        "arkit52.toml: units.AU12.shapes.mouthGrin*: there is no",
    ),
    ("arkit52", "jawOpen = 0.6", "jawOpen = 1.6", "arkit52.toml: units.AU26.shapes.jawOpen: it is 1.6, but"),
    ("arkit52", "jawOpen = 0.6", "jawOpen = nan", "arkit52.toml: units.AU26.shapes.jawOpen: it is NaN, but"),
    ("arkit52", "AU12 =", "A12 =", "arkit52.toml: units.A12: it must be named AU and one or two digits"),
    ("arkit52", "AU45 =", "AU46 =", "arkit52.toml: units.AU45: it is missing, and blinks or gaze need it"),
    ("arkit52", "\"Jaw Drop\"", "\"\"", "arkit52.toml: units.AU26: it needs a name"),
    ("arkit52", "rig =", "rigg =", "arkit52.toml: rigg: unknown field `rigg`"),
    ("emotions", "[joy]", "[delight]", "emotions.toml: delight: a face shows joy, "),
    ("emotions", "[joy]", "[neutral]", "emotions.toml: neutral: a face shows joy, "),
    ("emotions", "AU12 = 1.0", "AU13 = 1.0", "emotions.toml: joy.units.AU13: there is no action unit AU13"),
    (
        "emotions",
        "AU12 = 1.0",
        "AU12 = 2.0",
        "emotions.toml: joy.units.AU12: it is 2, but must be from 0 to 1",
    ),
    (
        "emotions",
        "onset_ms = 500",
        "onset_ms = 5",
        "emotions.toml: joy.onset_ms: it is 5, but must be from 50",
    ),
    ("emotions", "sustain = 0.5", "sustain = -1.0", "emotions.toml: joy.sustain: it is -1"),
    ("emotions", "published = \"6+12\"", "", "emotions.toml: joy: missing field `published`"),
    (
        "motion",
        "least_ms = 60",
        "least_ms = 0",
        "motion.toml: keys.least_ms: it is 0, but must be from 20 to 500",
    ),
    (
        "motion",
        "neutral_ms = 300",
        "neutral_ms = 199",
        "motion.toml: end.neutral_ms: it is 199, but must be from 200",
    ),
    ("motion", "\"jaw*\" = 100", "\"jaws*\" = 100", "motion.toml: limits.jaws*: it fits no shape"),
    ("motion", "\"jaw*\" = 100", "", "motion.toml: limits: none fits jawForward"),
    ("motion", "\"jaw*\" = 100", "\"jaw*\" = 0", "motion.toml: limits.jaw*: it is 0, but must be from 1"),
    ("motion", "spread = 0.6", "spread = 1.5", "motion.toml: blink.spread: it is 1.5"),
    ("motion", "[mouth]", "[mouth", "motion.toml: line "),
    ("visemes", "[visemes.rest]", "[visemes.idle]", "visemes.toml: visemes.rest: it is missing"),
    ("visemes", "rank = 3", "rank = 4", "visemes.toml: visemes.pbm.rank: it is 4, but must be from 1 to 3"),
    (
        "visemes",
        "AU24 = 0.5",
        "AU3 = 0.5",
        "visemes.toml: visemes.pbm.units.AU3: there is no action unit AU3",
    ),
    ("visemes", "a = [\"aa\"]", "a = [\"ah\"]", "visemes.toml: text.spellings.a: there is no viseme ah"),
    (
        "visemes",
        "a = [\"aa\"]",
        "A = [\"aa\"]",
        "visemes.toml: text.spellings.A: it must be letters in lower case",
    ),
    ("visemes", "other = [\"uh\", \"half\"]", "other = []", "visemes.toml: text.other: it is empty"),
    ("visemes", "a = \"àá", "a = \"eá", "visemes.toml: text.fold.a: e is there twice, or has a spelling"),
    ("visemes", "AU12 = 0.25", "AU12 = 1.25", "visemes.toml: lock.AU12: it is 1.25"),
    (
        "visemes",
        "[shut]\nAU25",
        "[shut]\nAU2500",
        "visemes.toml: shut.AU2500: there is no action unit AU2500",
    ),
];

#[test]
fn mistakes_in_tables_are_named_with_file_and_key() {
    for (table, from, to, expected) in MISTAKES {
        let error = error(table, from, to);
        assert!(
            error.starts_with(&format!("schemas/face/{expected}")),
            "expected {expected:?}\n     got {error:?}"
        );
    }
}
