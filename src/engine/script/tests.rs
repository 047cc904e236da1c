use std::time::{Duration, Instant};

use super::*;
use crate::engine::{Event, FinishReason, Sampling, Schedule};

fn script(file: Option<&str>, set: impl Fn(&mut config::Engine)) -> Script {
    let mut config = config::Config::load(None, std::iter::empty(), &[]).unwrap().engine;
    config.script_tokens_per_second = 0.0;
    let text = tempfile::NamedTempFile::new().unwrap();
    if let Some(content) = file {
        std::fs::write(text.path(), content).unwrap();
        text.path().clone_into(&mut config.script_file);
    }
    set(&mut config);
    Script::start(&config).unwrap()
}

fn request(seed: Option<u64>, max_tokens: u32) -> Generate {
    Generate {
        prompt: Vec::new(),
        mix: Vec::new(),
        sampling: Sampling {
            greedy: false,
            temperature: 0.7,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed,
        },
        stop: vec!["\n".into()],
        max_tokens,
        ignore_end: false,
        schedule: Schedule::default(),
    }
}

/// The pieces of an answer, its reason and its tokens.
async fn play(script: &Script, request: &Generate) -> (Vec<String>, FinishReason, u32) {
    let mut generation = script.generate(request).unwrap();
    assert_eq!(generation.next().await, Some(Event::Started { prompt_tokens: 0, cached_tokens: 0 }));
    let (mut pieces, mut sum) = (Vec::new(), 0);
    loop {
        match generation.next().await {
            Some(Event::Text { text, tokens }) => {
                pieces.push(text);
                sum += tokens;
            }
            Some(Event::Finished { reason, usage }) => {
                assert_eq!(usage.generated_tokens, sum);
                assert_eq!(generation.next().await, None);
                return (pieces, reason, sum);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_seed_names_the_line_and_without_one_they_come_in_turn() {
    let script = script(Some("one more\ntwo\n"), |_| {});
    for (seed, text) in [(Some(0), "one more"), (Some(3), "two"), (None, "one more"), (None, "two")] {
        let (pieces, reason, _) = play(&script, &request(seed, 50)).await;
        assert_eq!((pieces.concat().as_str(), reason), (text, FinishReason::Stop));
    }
    assert_eq!(script.stats(), EngineStats { tokens: 6, ..EngineStats::default() });
}

#[tokio::test]
async fn it_ends_where_the_model_would() {
    let script = script(Some("a b c d e"), |config| config.script_delta_tokens = 2);
    let pieces = |pieces: &[&str]| pieces.iter().map(|&piece| piece.to_owned()).collect::<Vec<_>>();
    let all = play(&script, &request(None, 9)).await;
    assert_eq!(all, (pieces(&["a b", " c d", " e"]), FinishReason::Stop, 5));
    let exactly = play(&script, &request(None, 5)).await;
    assert_eq!(exactly, all, "the line's end counts, not the limit");
    let short = play(&script, &request(None, 3)).await;
    assert_eq!(short, (pieces(&["a b", " c"]), FinishReason::Length, 3));
    let stopped = Generate { stop: vec!["zz".into(), "d".into(), "e".into()], ..request(None, 9) };
    assert_eq!(play(&script, &stopped).await, (pieces(&["a b", " c "]), FinishReason::Stop, 4));
    let endless = Generate { ignore_end: true, ..stopped };
    let (text, reason, tokens) = play(&script, &endless).await;
    assert_eq!((text.concat().as_str(), reason, tokens), ("a b c d e a b c d", FinishReason::Length, 9));
}

#[tokio::test]
async fn the_rate_is_kept_and_a_dropped_wait_loses_nothing() {
    let script = script(Some("a b c d e f g h i j"), |config| config.script_tokens_per_second = 100.0);
    let start = Instant::now();
    let mut generation = script.generate(&request(None, 50)).unwrap();
    let mut text = String::new();
    loop {
        // Whoever waits gives up every 3 ms and asks again.
        match tokio::time::timeout(Duration::from_millis(3), generation.next()).await {
            Ok(Some(Event::Text { text: piece, .. })) => text.push_str(&piece),
            Ok(Some(Event::Finished { .. })) => break,
            Ok(Some(Event::Started { .. })) | Err(_) => {}
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(text, "a b c d e f g h i j");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(100), "ten tokens at a hundred a second, not {took:?}");
}

#[tokio::test]
async fn turns_are_bounded_and_come_back() {
    let script = script(None, |config| config.script_max_turns = 2);
    let first = script.generate(&request(None, 5)).unwrap();
    let _second = script.generate(&request(None, 5)).unwrap();
    let full = script.generate(&request(None, 5)).unwrap_err();
    assert_eq!(full, EngineError::Overloaded { retry_after_ms: RETRY_MS });
    assert_eq!(script.stats().live, 2);
    drop(first);
    let mut third = script.generate(&request(None, 5)).unwrap();
    third.next().await;
    script.stop();
    assert_eq!(third.next().await, Some(Event::Failed { error: EngineError::Stopped }));
    assert_eq!(script.generate(&request(None, 5)).unwrap_err(), EngineError::Stopped);
}

#[test]
fn options_have_a_distribution() {
    let script = script(None, |_| {});
    let ask = |options: &[&str]| {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        script.choose(&Choose { prompt: vec![], mix: vec![], options, schedule: Schedule::default() })
    };
    let choice = ask(&["wave", "bow", "leave"]).unwrap();
    assert!((choice.probs.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert_eq!(ask(&["wave", "bow", "leave"]).unwrap(), choice);
    assert!(matches!(ask(&[]), Err(EngineError::BadRequest { field: "options", .. })));
}

#[test]
fn a_file_that_is_no_script_is_named() {
    let mut config = config::Config::load(None, std::iter::empty(), &[]).unwrap().engine;
    let place = tempfile::tempdir().unwrap();
    config.script_file = place.path().join("lines.txt");
    let error = |config| Script::start(config).unwrap_err().to_string();
    assert!(error(&config).contains("No such file"), "{}", error(&config));
    std::fs::write(&config.script_file, " \n").unwrap();
    assert!(error(&config).contains("no line with text"), "{}", error(&config));
    std::fs::write(&config.script_file, vec![b'a'; MAX_BYTES as usize + 1]).unwrap();
    assert!(error(&config).contains("at most 1048576 are read"), "{}", error(&config));
}
