//! What the engine does when it cannot do what was asked.

use std::path::Path;
use std::time::{Duration, Instant};

use npc_gateway::config::{self, DecoderKind};
use npc_gateway::engine::{Engine, EngineError, Event, Sampling, Weighted};

use super::support::{collect, config, engine, library, model_dir, prompt};

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_longer_than_the_context_names_the_limit() {
    let mut request = prompt(engine(), "x");
    request.prompt = vec![500; 300];
    let error = engine().generate(request).unwrap_err();
    assert_eq!(error, EngineError::PromptTooLong { tokens: 300, limit: 255 });
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_their_field() {
    let base = || prompt(engine(), "Hello");
    let sampling = Sampling {
        greedy: false,
        temperature: 9.0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: None,
    };
    let cases = [
        (npc_gateway::engine::Generate { sampling, ..base() }, "temperature"),
        (npc_gateway::engine::Generate { max_tokens: 0, ..base() }, "max_tokens"),
        (npc_gateway::engine::Generate { prompt: Vec::new(), ..base() }, "prompt"),
        (npc_gateway::engine::Generate { prompt: vec![u32::MAX], ..base() }, "prompt"),
        (npc_gateway::engine::Generate { stop: vec!["x".repeat(99)], ..base() }, "stop"),
    ];
    for (request, field) in cases {
        match engine().generate(request) {
            Err(EngineError::BadRequest { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    let mix = vec![Weighted { adapter: "nobody".into(), weight: 1.0 }];
    let error = engine().generate(npc_gateway::engine::Generate { mix, ..base() }).unwrap_err();
    assert_eq!(error, EngineError::UnknownAdapter("nobody".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_a_dropped_stream_makes_room() {
    let small = config::Engine { rows: 1, queue: 1, context: 256, ..config() };
    let engine = Engine::start(&model_dir(), &library(), &small).unwrap();
    let mut long = prompt(&engine, "Once upon a time");
    long.max_tokens = 200;
    let mut first = engine.generate(long.clone()).unwrap();
    // It has its row once it has started.
    assert!(matches!(first.next().await, Some(Event::Started { .. })));
    let second = engine.generate(long.clone()).unwrap();
    match engine.generate(long.clone()) {
        Err(EngineError::Overloaded { retry_after_ms }) => assert!(retry_after_ms >= 50),
        other => panic!("{other:?}"),
    }
    drop(first);
    let mut second = second;
    assert!(matches!(second.next().await, Some(Event::Started { .. })));
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(20);
    while engine.stats().live > 0 || engine.stats().waiting > 0 {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(engine.stats().abandoned, 2);
    let mut short = prompt(&engine, "Hello");
    short.max_tokens = 2;
    assert_eq!(collect(engine.generate(short).unwrap()).await.2.generated_tokens, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_says_so() {
    let small = config::Engine { rows: 1, queue: 4, context: 64, ..config() };
    let engine = Engine::start(&model_dir(), &library(), &small).unwrap();
    let mut running = engine.generate(prompt(&engine, "Once upon a time")).unwrap();
    engine.stop();
    let mut last = None;
    while let Some(event) = running.next().await {
        last = Some(event);
    }
    assert!(
        matches!(last, Some(Event::Failed { error: EngineError::Stopped } | Event::Finished { .. })),
        "{last:?}"
    );
    assert_eq!(engine.generate(prompt(&engine, "Hello")).unwrap_err(), EngineError::Stopped);
}

/// What is done to one file of it.
type Damage<'a> = &'a dyn Fn(&Path);

/// A copy of the model folder whose large files are links, to be damaged at will.
fn copy_of_model(dir: &Path) {
    for entry in std::fs::read_dir(model_dir()).unwrap() {
        let entry = entry.unwrap();
        let target = dir.join(entry.file_name());
        if entry.path().extension().is_some_and(|extension| extension == "bin") {
            // ONNX Runtime reads no weights through a symbolic link.
            std::fs::hard_link(entry.path(), &target)
                .or_else(|_| std::fs::copy(entry.path(), &target).map(|_| ()))
                .unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_wrong_model_folder_is_a_clear_error() {
    let start_with = |dir: &Path, decoder| {
        let config = config::Engine { decoder, ..config() };
        Engine::start(dir, &library(), &config).map(|_| ()).unwrap_err().to_string()
    };
    let start = |dir: &Path| start_with(dir, DecoderKind::Portable);
    let empty = tempfile::tempdir().unwrap();
    assert!(start(empty.path()).contains("model.toml"), "{}", start(empty.path()));

    let cases: [(&str, Damage<'_>, &str); 5] = [
        ("model.toml", &|p| std::fs::write(p, "format = 99").unwrap(), "format"),
        ("tokenizer.json", &|p| std::fs::write(p, "{}").unwrap(), "tokenizer.json"),
        ("chat_template.jinja", &|p| std::fs::write(p, "{% for").unwrap(), "chat_template"),
        ("decoder.onnx", &|p| std::fs::write(p, "no graph").unwrap(), "decoder.onnx"),
        ("weights.bin", &|p| std::fs::remove_file(p).unwrap(), "weights.bin"),
    ];
    for (file, damage, named) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy_of_model(dir.path());
        damage(&dir.path().join(file));
        let message = start(dir.path());
        assert!(message.contains(named), "{file}: {message}");
    }
    let native: [(&str, Damage<'_>, &str); 3] = [
        ("native.onnx", &|p| std::fs::write(p, "no graph").unwrap(), "native.onnx"),
        ("native.onnx", &|p| std::fs::remove_file(p).unwrap(), "engine.decoder = \"portable\""),
        ("native.bin", &|p| std::fs::remove_file(p).unwrap(), "native.bin"),
    ];
    for (file, damage, named) in native {
        let dir = tempfile::tempdir().unwrap();
        copy_of_model(dir.path());
        damage(&dir.path().join(file));
        let message = start_with(dir.path(), DecoderKind::Native);
        assert!(message.contains(named), "{file}: {message}");
    }
}

/// The operators count on the sizes of `model.toml`: a graph with others must not run at all.
#[test]
fn a_graph_with_other_sizes_than_the_folder_says_does_not_start() {
    type Edits<'a> = &'a [(&'a str, &'a str)];
    let layers: Edits<'_> = &[("layers = 30", "layers = 29")];
    let vocabulary: Edits<'_> = &[("vocab_size = 49152", "vocab_size = 49200")];
    let positions: Edits<'_> = &[("max_position = 8192", "max_position = 9000")];
    // As many numbers in q, k and v, cut into other heads.
    let heads: Edits<'_> = &[
        ("\nheads = 9", "\nheads = 18"),
        ("kv_heads = 3", "kv_heads = 6"),
        ("head_dim = 64", "head_dim = 32"),
    ];
    let cases = [
        (DecoderKind::Native, layers, "layer is 29 in the graph, and model.toml has 29 of them"),
        (DecoderKind::Native, vocabulary, "outputs is 49152 in the graph, and 49200 by model.toml"),
        (DecoderKind::Native, positions, "model.max_position is more than the graph has"),
        (DecoderKind::Native, heads, "head_dim is 64 in the graph, and 32 by model.toml"),
        (DecoderKind::Portable, layers, "its graph does not compute what model.toml says"),
        (DecoderKind::Portable, vocabulary, "49152 logits for 1 positions, and model.vocab_size is 49200"),
        (DecoderKind::Portable, heads, "its graph does not compute what model.toml says"),
    ];
    for (decoder, edits, wanted) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy_of_model(dir.path());
        let path = dir.path().join("model.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (old, new) in edits {
            assert!(text.contains(old), "{text}");
            text = text.replace(old, new);
        }
        std::fs::write(&path, text).unwrap();
        // Long enough that every position that the folder promises may come.
        let config = config::Engine { decoder, context: 131_072, rows: 1, kept_conversations: 0, ..config() };
        let started = Engine::start(dir.path(), &library(), &config).map(|_| ());
        let message = started.unwrap_err().to_string();
        assert!(message.contains(wanted), "{decoder:?}: {message}");
    }
}

#[test]
fn a_missing_library_names_its_path() {
    let missing = Path::new("/nowhere/libonnxruntime.so");
    let error = Engine::start(&model_dir(), missing, &config()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/libonnxruntime.so") && error.contains("ORT_DYLIB_PATH"), "{error}");
}

#[test]
fn a_provider_that_is_not_there_is_named_with_what_is() {
    use config::Provider;
    let cuda = config::Engine { providers: vec![Provider::Cuda, Provider::Cpu], ..config() };
    match Engine::start(&model_dir(), &library(), &cuda).map(|_| ()) {
        Err(EngineError::Provider { provider, found, .. }) => {
            assert_eq!((provider.as_str(), found.as_str()), ("cuda", "cpu"));
        }
        other => panic!("{other:?}"),
    }
    let fallback = config::Engine { fallback: true, ..cuda };
    assert!(Engine::start(&model_dir(), &library(), &fallback).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_waits_is_not_busy() {
    /// Between two requests.
    const WAIT: Duration = Duration::from_millis(400);

    let engine = Engine::start(&model_dir(), &library(), &config()).unwrap();
    let mut short = prompt(&engine, "Hello");
    short.max_tokens = 2;
    let start = Instant::now();
    for _ in 0..3 {
        collect(engine.generate(short.clone()).unwrap()).await;
        tokio::time::sleep(WAIT).await;
    }
    let (busy, all) = (engine.stats().busy, start.elapsed());
    // However slow the machine is: it computed nothing while it waited.
    assert!(busy > Duration::ZERO && busy + WAIT * 2 < all, "busy {busy:?} of {all:?}");
}
