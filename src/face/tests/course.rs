//! The course of single lines.

use super::*;

/// Milliseconds of a character at 16 a second, nearly.
const CHAR_MS: u64 = 60;

fn performance(tables: &Arc<Tables>) -> Performance {
    Performance::new(tables, plain(tables), 7)
}

/// Says a text from `t_ms` on in one piece; returns the keys and when it ends.
fn say(performance: &mut Performance, text: &str, t_ms: u64) -> (Vec<Key>, u64) {
    let end = t_ms + text.chars().count() as u64 * CHAR_MS;
    (performance.speak(text, 0, t_ms, end), end)
}

/// A whole line with nothing felt.
fn line(tables: &Arc<Tables>, text: &str) -> Vec<Key> {
    let mut performance = performance(tables);
    let (mut keys, end) = say(&mut performance, text, 500);
    keys.extend(performance.finish(text.chars().count() as u64, end));
    keys
}

/// A face that neither blinks nor looks about.
fn staring(tables: &Arc<Tables>) -> Performance {
    Performance::new(tables, style(tables, "blinks_per_minute = 0\ngaze = 0"), 7)
}

#[test]
fn a_line_as_it_is_sent() {
    let tables = tables();
    let mut performance = performance(&tables);
    performance.feel(EmotionLabel::Anger, 0.8, 0);
    let mut keys = performance.pause(0);
    let (spoken, end) = say(&mut performance, "My prey, come here!", 400);
    keys.extend(spoken);
    keys.extend(performance.finish(19, end));
    let mut text = String::new();
    for key in keys {
        use std::fmt::Write;
        let shapes = tables.shapes().iter().zip(key.w).filter(|(_, w)| *w > 0);
        let shapes: Vec<String> = shapes.map(|(name, w)| format!("{name} {w}")).collect();
        let Key { text_offset, t_ms, ease_ms, au, .. } = key;
        writeln!(text, "{t_ms} +{ease_ms} at {text_offset}: {au:?}\n    {}", shapes.join(", ")).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_mouth_opens_before_the_sound_and_is_there_when_it_begins() {
    let tables = tables();
    let keys = line(&tables, "a");
    let jaw = shape(&tables, "jawOpen");
    assert_eq!(played(&keys, 400)[jaw], 0.0);
    assert!(played(&keys, 470)[jaw] > 0.0, "{keys:?}");
    assert!(played(&keys, 500)[jaw] > 130.0, "{keys:?}");
    assert!(lips_closed(&tables, &played(&keys, 500 + CHAR_MS + 130)), "{keys:?}");
}

#[test]
fn the_lips_meet_on_every_p_b_and_m() {
    let tables = tables();
    for text in ["mama", "pepper", "bubble", "a big apple maybe", "Компот", "πάμε", "summer time, my problem"]
    {
        for feeling in EMOTIONS {
            let mut performance = performance(&tables);
            performance.feel(feeling, 1.0, 0);
            let mut keys = performance.pause(0);
            let (spoken, end) = say(&mut performance, text, 1000);
            keys.extend(spoken);
            keys.extend(performance.finish(text.chars().count() as u64, end));
            let mut last = ' ';
            for (i, c) in text.chars().enumerate() {
                let start = 1000 + i as u64 * CHAR_MS;
                let lips = "pbmпбмπμ".contains(c.to_ascii_lowercase());
                let closed = (start - 30..start + 200).any(|t| lips_closed(&tables, &played(&keys, t)));
                assert!(closed || !lips || c == last, "{text}, {i}, {feeling:?}: {keys:?}");
                last = c;
            }
        }
    }
}

#[test]
fn every_script_moves_the_mouth_and_signs_do_not() {
    let tables = tables();
    let moves = |text: &str| {
        let jaw = shape(&tables, "jawOpen");
        line(&tables, text).iter().filter(|key| key.w[jaw] > 20).count()
    };
    for text in [
        "Guten Abend",
        "Où est-il ?",
        "Здравствуй",
        "Γεια σου",
        "你好，朋友",
        "こんにちは",
        "שלום",
        "مرحبا",
        "नमस्ते",
        "42",
    ] {
        assert!(moves(text) > 0, "{text}");
    }
    for text in ["...", "  \n\t ", "🙂🙃👩‍👩‍👧‍👦", "— * —", ""] {
        assert_eq!(moves(text), 0, "{text}");
    }
}

#[test]
fn spelling_is_more_than_letters() {
    let tables = tables();
    let shapes = |text: &str, name: &str| {
        let at = shape(&tables, name);
        line(&tables, text).iter().map(|key| key.w[at]).max().unwrap_or(0)
    };
    // Rounded, and not: "sh" is not s and h, "ph" closes no lips, the last e is silent.
    assert!(shapes("shh", "mouthFunnel") > 100 && shapes("ss", "mouthFunnel") == 0);
    assert!(shapes("pho", "mouthPressLeft") == 0 && shapes("po", "mouthPressLeft") > 100);
    assert!(shapes("moon", "mouthPucker") > 100 && shapes("mon", "mouthPucker") < 60);
    assert!(shapes("rate", "mouthStretchLeft") == 0 && shapes("rates", "mouthStretchLeft") > 0);
    assert!(shapes("Ça", "jawOpen") == shapes("Ca", "jawOpen"));
    assert!(shapes("te\u{301}te", "jawOpen") == shapes("téte", "jawOpen"));
}

#[test]
fn the_mouth_closes_while_speech_waits_for_text() {
    let tables = tables();
    let jaw = shape(&tables, "jawOpen");
    for pause in [false, true] {
        let mut performance = performance(&tables);
        let (mut keys, end) = say(&mut performance, "Ha", 0);
        if pause {
            let closing = performance.pause(end);
            assert_eq!(closing.last().unwrap().w[jaw], 0, "at once, not with the next piece");
            keys.extend(closing);
            assert_eq!(performance.pause(end + 100), []);
        }
        keys.extend(performance.speak("ha", 2, end + 500, end + 700));
        keys.extend(performance.finish(4, end + 700));
        assert!((0..end).any(|t| played(&keys, t)[jaw] > 50.0));
        for t in end + 200..end + 400 {
            assert!(lips_closed(&tables, &played(&keys, t)), "{t}: {keys:?}");
        }
        assert!(played(&keys, end + 620)[jaw] > 50.0);
    }
}

#[test]
fn a_feeling_comes_up_stays_and_fades() {
    let tables = tables();
    let mut performance = staring(&tables);
    performance.feel(EmotionLabel::Sadness, 1.0, 0);
    let first = performance.pause(0);
    let frown = shape(&tables, "browDownLeft");
    assert_eq!((first[0].t_ms, first.last().unwrap().w[frown]), (0, 255), "before anything is said");
    // Long enough for its decay.
    let text = "no ".repeat(60);
    let (keys, end) = say(&mut performance, &text, 600);
    let at = |t| played(&[first.clone(), keys.clone()].concat(), t)[frown];
    assert_eq!(at(3000), 255.0);
    assert!(at(5000) < 255.0);
    assert!((at(end - 200) - 255.0 * 0.6).abs() < 2.0, "{}", at(end - 200));
    let last = performance.finish(180, end);
    let fade = last.last().unwrap();
    assert_eq!(
        (fade.w, fade.au.len(), fade.t_ms > end, fade.ease_ms >= 300),
        ([0; FACE_SHAPES], 0, true, true)
    );
    performance.feel(EmotionLabel::Joy, 1.0, end);
    assert_eq!(performance.speak("more", 180, end, end + 100), []);
    assert_eq!((performance.pause(end), performance.finish(180, end)), (vec![], vec![]));
}

#[test]
fn a_feeling_at_the_start_does_not_swallow_the_first_word() {
    let tables = tables();
    let mut performance = staring(&tables);
    performance.feel(EmotionLabel::Joy, 1.0, 0);
    let keys = performance.speak("Oh, it is you", 0, 50, 50 + 13 * CHAR_MS);
    assert!(played(&keys, 150)[shape(&tables, "mouthFunnel")] > 60.0, "{keys:?}");
    let smile = |t| played(&keys, t)[shape(&tables, "mouthSmileLeft")];
    assert!(smile(200) > 20.0 && smile(600) > 150.0, "{keys:?}");
}

#[test]
fn a_feeling_that_is_settled_late_comes_behind_what_was_given() {
    let tables = tables();
    let mut performance = staring(&tables);
    let (keys, end) = say(&mut performance, "It is long ago that", 0);
    let given = keys.last().unwrap();
    let given = given.t_ms + given.ease_ms;
    performance.feel(EmotionLabel::Joy, 1.0, 100);
    let more = performance.speak(" anybody came to see me", 19, end, end + 23 * CHAR_MS);
    assert!(more.iter().all(|key| key.t_ms >= given));
    assert!(more.iter().any(|key| key.au.get("AU12").is_some_and(|smile| *smile > 0.7)), "{more:?}");
    assert!(keys.iter().all(|key| !key.au.contains_key("AU12")));
}

#[test]
fn speech_has_the_mouth_and_feeling_the_rest() {
    let tables = tables();
    let mut performance = staring(&tables);
    performance.feel(EmotionLabel::Fear, 1.0, 0);
    let mut keys = performance.pause(0);
    assert!(keys.last().unwrap().w[shape(&tables, "jawOpen")] > 100);
    keys = say(&mut performance, "mmmmmmmmmm", 500).0;
    let held = keys.last().unwrap();
    assert_eq!(held.w[shape(&tables, "jawOpen")], 0);
    assert_eq!((held.w[shape(&tables, "browInnerUp")], held.w[shape(&tables, "eyeWideLeft")]), (255, 255));
    assert!(held.au.contains_key("AU24") && !held.au.contains_key("AU26"), "{:?}", held.au);
}

#[test]
fn a_frightened_mouth_that_has_spoken_does_not_gape() {
    let tables = tables();
    let mut performance = staring(&tables);
    performance.feel(EmotionLabel::Fear, 1.0, 0);
    let mut keys = performance.pause(0);
    assert!(keys.last().unwrap().w[shape(&tables, "jawOpen")] > 100, "before it speaks it does");
    let (spoken, end) = say(&mut performance, "No, help", 500);
    keys.extend(spoken);
    keys.extend(performance.pause(end));
    performance.feel(EmotionLabel::Surprise, 1.0, end + 1000);
    keys.extend(performance.pause(end + 1000));
    let at = |keys: &[Key], t, name| played(keys, t)[shape(&tables, name)];
    assert_eq!((at(&keys, end + 1500, "jawOpen"), at(&keys, end + 1500, "browOuterUpLeft")), (0.0, 255.0));
    keys.extend(performance.finish(8, end + 1500));
    for t in end + 130..end + 4000 {
        assert_eq!(at(&keys, t, "jawOpen"), 0.0, "{t}");
    }
}

#[test]
fn people_blink_and_look_about_while_they_talk() {
    let tables = tables();
    let mut blinks = 0;
    let mut glances = 0;
    for seed in 0..20 {
        let mut performance = Performance::new(&tables, plain(&tables), seed);
        let text = "word ".repeat(200);
        let (keys, _) = say(&mut performance, &text, 0);
        let lid = shape(&tables, "eyeBlinkLeft");
        assert!(keys.iter().all(|key| key.w[lid] == key.w[shape(&tables, "eyeBlinkRight")]));
        blinks += keys.iter().filter(|key| key.w[lid] == 255).count();
        let out = shape(&tables, "eyeLookOutLeft");
        glances += keys.windows(2).filter(|pair| pair[0].w[out] == 0 && pair[1].w[out] > 0).count();
    }
    // 20 minutes.
    assert!((200..=400).contains(&blinks), "{blinks} blinks");
    assert!(glances > 60, "{glances} glances");

    let mut staring = staring(&tables);
    let (keys, _) = say(&mut staring, &"word ".repeat(200), 0);
    assert!(keys.iter().all(|key| !key.au.contains_key("AU45") && !key.au.contains_key("AU61")));
    // No lids, so there is nothing to close.
    let mut bare = Performance::new(&tables, style(&tables, "[gains]\nAU45 = 0"), 1);
    assert!(say(&mut bare, &"word ".repeat(200), 0).0.iter().all(|key| !key.au.contains_key("AU45")));
}

#[test]
fn a_turn_without_a_word_ends_in_a_neutral_key() {
    let tables = tables();
    let neutral =
        |keys: &[Key]| keys.last().is_some_and(|key| key.w == [0; FACE_SHAPES] && key.au.is_empty());
    assert!(neutral(&performance(&tables).finish(0, 0)));
    let mut felt = performance(&tables);
    felt.feel(EmotionLabel::Joy, 1.0, 50);
    assert!(neutral(&felt.finish(0, 60)));
    let mut said = performance(&tables);
    said.speak("🙂", 0, 0, 60);
    assert!(neutral(&said.finish(1, 60)));
    let key = performance(&tables).cut(3, 1234);
    assert_eq!((key.text_offset, key.t_ms, key.w), (3, 1234, [0; FACE_SHAPES]));
    assert!(key.ease_ms >= *tables.motion.limits.iter().max().unwrap());
}

#[test]
fn a_slow_archetype_takes_its_time() {
    let tables = tables();
    let ease = |face: &str| {
        let mut performance = Performance::new(&tables, style(&tables, face), 7);
        performance.feel(EmotionLabel::Joy, 1.0, 0);
        let keys = performance.pause(0);
        keys.iter().map(|key| key.ease_ms).sum::<u64>()
    };
    assert_eq!((ease(""), ease("tempo = 0.5"), ease("tempo = 2.0")), (500, 1000, 250));
}

#[test]
fn strange_times_do_no_harm() {
    let tables = tables();
    let mut performance = performance(&tables);
    let mut keys = performance.speak(&"abc ".repeat(2000), u64::MAX - 3, 9, 3);
    keys.extend(performance.speak("later", 0, u64::MAX - 9, u64::MAX));
    performance.feel(EmotionLabel::Joy, f32::INFINITY, u64::MAX);
    keys.extend(performance.pause(u64::MAX));
    for _ in 0..10_000 {
        performance.feel(EmotionLabel::Fear, 1.0, 0);
    }
    keys.extend(performance.finish(u64::MAX, u64::MAX));
    assert_eq!(keys.last().unwrap().w, [0; FACE_SHAPES]);
    assert!(keys.len() < 200, "{}", keys.len());
}
