use std::path::PathBuf;
use std::sync::OnceLock;

use npc_gateway::config;
use npc_gateway::engine::{
    Engine, Event, FinishReason, Generate, Generation, Sampling, Schedule, Usage, load_runtime,
};

fn path(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable);
    value.unwrap_or_else(|| panic!("{variable} is not set: run the tests with `cargo xtask test`")).into()
}

/// ONNX Runtime's library.
pub fn library() -> PathBuf {
    path("ORT_DYLIB_PATH")
}

/// The default model's checkpoint.
pub fn gguf() -> PathBuf {
    path("NPC_GATEWAY_TEST_GGUF")
}

/// The default model, imported in int8.
pub fn model_dir() -> PathBuf {
    path("NPC_GATEWAY_TEST_MODEL")
}

/// The default model, imported in fp32.
pub fn fp32_model_dir() -> PathBuf {
    path("NPC_GATEWAY_TEST_MODEL_FP32")
}

pub fn runtime() -> ort::environment::Environment {
    load_runtime(&library()).expect("ONNX Runtime loads")
}

pub fn config() -> config::Engine {
    config::Engine {
        kind: config::EngineKind::Model,
        script_file: PathBuf::new(),
        script_tokens_per_second: 0.0,
        script_delta_tokens: 1,
        script_max_turns: 1,
        decoder: config::DecoderKind::Auto,
        providers: vec![config::Provider::Cpu],
        fallback: false,
        threads: 0,
        rows: 8,
        context: 256,
        queue: 16,
        prefill_budget: 128,
        huge_pages: true,
        max_adapters: 64,
        adapter_memory_mb: 512,
        adapter_precision: config::AdapterPrecision::F32,
        kv_precision: config::KvPrecision::Auto,
        kv_memory_mb: 64,
        kept_conversations: 8,
        overload_after_ms: 1000,
        overload_wait_ms: 100,
    }
}

/// One engine for all tests of this binary: a model in memory is enough.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::start(&model_dir(), &library(), &config()).expect("the engine starts"))
}

pub fn greedy() -> Sampling {
    Sampling { greedy: true, temperature: 1.0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: None }
}

pub fn prompt(engine: &Engine, text: &str) -> Generate {
    Generate {
        prompt: engine.tokenizer().encode_text(text),
        mix: Vec::new(),
        sampling: greedy(),
        stop: Vec::new(),
        max_tokens: 16,
        ignore_end: false,
        schedule: Schedule::default(),
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
