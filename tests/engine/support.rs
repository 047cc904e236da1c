use std::path::PathBuf;
use std::sync::OnceLock;

use npc_gateway::config;
use npc_gateway::engine::{Engine, Event, FinishReason, Generate, Generation, Sampling, Usage};

pub fn library() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").expect("run the tests with `cargo xtask test`").into()
}

pub fn model_dir() -> PathBuf {
    std::env::var_os("NPC_GATEWAY_TEST_MODEL").expect("run the tests with `cargo xtask test`").into()
}

pub fn config() -> config::Engine {
    config::Engine {
        decoder: config::DecoderKind::Auto,
        providers: vec![config::Provider::Cpu],
        fallback: false,
        threads: 0,
        rows: 8,
        context: 256,
        queue: 16,
        prefill_budget: 128,
        max_adapters: 8,
        adapter_memory_mb: 512,
    }
}

/// One engine for all tests of this binary: a model in memory is enough.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::start(&model_dir(), &library(), &config()).expect("the engine starts"))
}

pub fn greedy() -> Sampling {
    Sampling { greedy: true, temperature: 1.0, top_p: 1.0, min_p: 0.0, seed: None }
}

pub fn prompt(engine: &Engine, text: &str) -> Generate {
    Generate {
        prompt: engine.tokenizer().encode_text(text),
        mix: Vec::new(),
        sampling: greedy(),
        stop: Vec::new(),
        max_tokens: 16,
    }
}

pub async fn collect(mut generation: Generation) -> (String, FinishReason, Usage) {
    let mut whole = String::new();
    while let Some(event) = generation.next().await {
        match event {
            Event::Started { .. } => {}
            Event::Text { text, .. } => whole += &text,
            Event::Finished { reason, usage } => return (whole, reason, usage),
            Event::Failed { error } => panic!("{error}"),
        }
    }
    panic!("the stream ended without an end");
}
