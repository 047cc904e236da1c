use proptest::prelude::*;

use super::*;

/// What happens along a line.
#[derive(Debug, Clone)]
enum Step {
    /// A piece of text after a silence, each character for so long.
    Speak { text: String, silence_ms: u64, char_ms: u64 },
    /// `late_ms`: so long before or behind the end of what was said.
    Feel { label: EmotionLabel, intensity: f32, late_ms: i64 },
    /// So long after the end of what was said.
    Pause { late_ms: u64 },
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z' ,.!?]{0,40}",
        1 => "[мамапобжюя ,]{1,20}",
        1 => "[你好世界こんにちは、。]{1,12}",
        1 => "[שלוםمرحبا ]{1,12}",
        1 => "(🙂|👩‍👩‍👧|é|ß|ﬁ|\u{301}){1,6}",
        1 => "\\PC{0,30}",
        1 => Just("Wherever ".repeat(60)),
    ]
}

fn label() -> impl Strategy<Value = EmotionLabel> {
    (0..8_usize).prop_map(|i| if i == 7 { EmotionLabel::Neutral } else { EMOTIONS[i] })
}

fn step() -> impl Strategy<Value = Step> {
    let silence = prop_oneof![8 => Just(0_u64), 1 => 0_u64..400, 1 => 0_u64..20_000];
    let speak = (text(), silence, prop_oneof![4 => 50_u64..80, 1 => 1_u64..300, 1 => Just(0_u64)]);
    prop_oneof![
        6 => speak.prop_map(|(text, silence_ms, char_ms)| Step::Speak { text, silence_ms, char_ms }),
        3 => (label(), 0.0_f32..=1.0, -3000_i64..3000)
            .prop_map(|(label, intensity, late_ms)| Step::Feel { label, intensity, late_ms }),
        1 => prop_oneof![Just(0), 0_u64..3000].prop_map(|late_ms| Step::Pause { late_ms }),
    ]
}

fn a_style() -> impl Strategy<Value = (String, f32, f32)> {
    let face = prop_oneof![
        Just(String::new()),
        Just(
            "[gains]\nAU6 = 0\nAU12 = 2\nAU26 = 1.5\nAU45 = 0.5\n[extra.anger]\nAU10 = 1\nAU25 = 1"
                .to_owned()
        ),
        Just("tempo = 2.0\nmouth = 1.5\ngaze = 2.0\nblinks_per_minute = 60\nexpressivity = 2.0".to_owned()),
        Just("tempo = 0.25\nmouth = 0.5\ngaze = 0\nblinks_per_minute = 0".to_owned()),
    ];
    (face, 0.0_f32..2.0, -1.0_f32..1.0)
}

/// What is said and how it went.
struct Line {
    /// Each piece: text, offset, start, end.
    pieces: Vec<(String, u64, u64, u64)>,
    chars: u64,
    end_ms: u64,
}

/// Plays steps; `cut`: each character is a piece of its own.
fn play(performance: &mut Performance, steps: &[Step], cut: bool) -> (Vec<Key>, Line) {
    let mut keys = Vec::new();
    let mut line = Line { pieces: Vec::new(), chars: 0, end_ms: 0 };
    for step in steps {
        match step {
            Step::Speak { text, silence_ms, char_ms } => {
                let (start, count) = (line.end_ms + silence_ms, text.chars().count() as u64);
                let end = start + count * char_ms;
                if cut {
                    for (i, c) in (0..).zip(text.chars()) {
                        let at = start + i * char_ms;
                        keys.extend(performance.speak(&c.to_string(), line.chars + i, at, at + char_ms));
                    }
                } else {
                    keys.extend(performance.speak(text, line.chars, start, end));
                }
                line.pieces.push((text.clone(), line.chars, start, end));
                (line.chars, line.end_ms) = (line.chars + count, if count == 0 { line.end_ms } else { end });
            }
            Step::Feel { label, intensity, late_ms } => {
                let at = line.end_ms.saturating_add_signed(*late_ms);
                performance.feel(*label, *intensity, at);
            }
            Step::Pause { late_ms } => keys.extend(performance.pause(line.end_ms + late_ms)),
        }
    }
    (keys, line)
}

/// What holds for the keys of any line.
fn check(tables: &Tables, keys: &[Key], chars: u64) {
    let mut w = [0; FACE_SHAPES];
    let (mut reached, mut offset) = (0, 0);
    for (i, key) in keys.iter().enumerate() {
        assert!(key.t_ms >= reached, "key {i} begins before the last one was reached: {keys:?}");
        assert!(key.text_offset >= offset && key.text_offset <= chars, "key {i}: {keys:?}");
        slow_enough(tables, w.map(f32::from), key);
        assert!(key.au.values().all(|value| *value > 0.0 && *value <= 1.0), "{:?}", key.au);
        for name in key.au.keys() {
            assert!(tables.units.find(name).is_some(), "{name}");
        }
        (w, reached, offset) = (key.w, key.t_ms + key.ease_ms, key.text_offset);
    }
    // The rate, from any key to any later one.
    let motion = &tables.motion.keys;
    for (i, first) in keys.iter().enumerate() {
        for (j, last) in keys.iter().enumerate().skip(i) {
            let most = (last.t_ms - first.t_ms + motion.burst_ms) / motion.spacing_ms + 3;
            assert!((j - i) as u64 <= most, "{} keys in {} ms", j - i, last.t_ms - first.t_ms);
        }
    }
}

fn slow_enough(tables: &Tables, from: [f32; FACE_SHAPES], key: &Key) {
    for (i, (from, to)) in from.iter().zip(key.w).enumerate() {
        let way = (from - f32::from(to)).abs() * tables.motion.limits[i] as f32;
        assert!(
            way <= 255.0 * key.ease_ms as f32 + 0.1,
            "{} {from} to {to} in {}",
            tables.shapes()[i],
            key.ease_ms
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_in_order_slow_enough_and_end_in_neutral(
        steps in prop::collection::vec(step(), 0..12),
        (face, expressivity, asymmetry) in a_style(),
        seed: u64,
        cut_at in 0.0_f64..1.2,
    ) {
        let tables = tables();
        let look = Arc::new(Look::new(&tables, &toml::from_str(&face).unwrap()).unwrap());
        let style = Style::new(&look, expressivity, asymmetry, seed);
        let new = || Performance::new(&tables, style.clone(), seed);

        let mut performance = new();
        let (mut keys, line) = play(&mut performance, &steps, false);
        let before_end = performance.clone();
        keys.extend(performance.finish(line.chars, line.end_ms));
        check(&tables, &keys, line.chars);
        let last = keys.last().unwrap();
        prop_assert_eq!((last.w, last.au.len()), ([0; FACE_SHAPES], 0));

        // The same again, and in pieces of one character.
        let mut again = new();
        let (mut same, _) = play(&mut again, &steps, false);
        same.extend(again.finish(line.chars, line.end_ms));
        prop_assert_eq!(&same, &keys);
        // The order of calls is another one only where a feeling comes in between.
        let mut cut = new();
        let (mut pieces, _) = play(&mut cut, &steps, true);
        pieces.extend(cut.finish(line.chars, line.end_ms));
        prop_assert_eq!(&pieces, &keys);

        // Cut anywhere, during the line or after it.
        for mut performance in [before_end, performance] {
            let t = (cut_at * (line.end_ms + 1500) as f64) as u64;
            let pose = played(&keys, t);
            let key = performance.cut(line.chars / 2, t);
            prop_assert_eq!((key.t_ms, key.text_offset, key.w), (t, line.chars / 2, [0; FACE_SHAPES]));
            slow_enough(&tables, pose, &key);
            prop_assert_eq!(performance.speak("more", line.chars, t, t + 100), vec![]);
        }
    }

    #[test]
    fn letters_move_the_mouth_and_gaps_close_it(
        steps in prop::collection::vec(step(), 1..10),
        seed: u64,
    ) {
        let tables = tables();
        let mut performance = Performance::new(&tables, plain(&tables), seed);
        let felt = steps.iter().any(|step| matches!(step, Step::Feel { .. }));
        // What is said while a feeling comes up in a pause has to wait for it, so nothing can be said of times; for a
        // blink it waits a little.
        let paused = steps.iter().any(|step| matches!(step, Step::Pause { .. }));
        let waits = felt && paused;
        let (mut keys, line) = play(&mut performance, &steps, false);
        keys.extend(performance.finish(line.chars, line.end_ms));
        let mouth: Vec<usize> = (0..FACE_SHAPES)
            .filter(|i| ["jaw", "mouth", "tongue"].iter().any(|part| tables.shapes()[*i].starts_with(part)))
            .collect();
        // When the mouth is closed if nothing more comes: more sounds than there may be keys take a moment longer.
        let mut closed_ms = 0;
        let mut spoken_ms = 0;
        // Feelings part lips too, and before the first sound they open mouths.
        let said = |until: u64| {
            line.pieces.iter().any(|(text, _, start, _)| *start < until && !text.is_empty())
        };
        let closed = |t: u64| {
            let face = played(&keys, t);
            if felt { face[shape(&tables, "jawOpen")] < 0.5 || !said(t) } else { lips_closed(&tables, &face) }
        };
        for (text, _, start, end) in line.pieces.iter().filter(|_| !waits) {
            let count = text.chars().count() as u64;
            let usual = (40 * count..=300 * count).contains(&(end - start));
            let first = text.chars().position(|c| "aeiouäéмашо你好שم".contains(c));
            if let (true, Some(first)) = (usual && !paused, first) {
                let at = start + (end - start) * first as u64 / count;
                // Until the next sound may have taken its place.
                let moved = (at..at + 400).any(|t| mouth.iter().any(|i| played(&keys, t)[*i] > 10.0));
                prop_assert!(moved, "{text:?} at {at}: {keys:?}");
            }
            if count > 0 && *start > spoken_ms + 300 {
                for t in (closed_ms..start.saturating_sub(100)).step_by(50).take(20) {
                    prop_assert!(closed(t), "{t}: {keys:?}");
                }
            }
            if count > 0 {
                (spoken_ms, closed_ms) = (*end, closed_ms.max(end + if usual && !paused { 250 } else { 500 }));
            }
        }
        let last = keys.last().unwrap();
        prop_assert!(waits || closed(closed_ms), "{keys:?}");
        prop_assert_eq!(last.w, [0; FACE_SHAPES]);
    }
}
