use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The inference engine.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    pub kind: EngineKind,
    /// One answer a line; empty: the built-in text.
    pub script_file: PathBuf,
    /// 0: as fast as it can.
    pub script_tokens_per_second: f64,
    /// Tokens, that is words, in one piece of an answer.
    pub script_delta_tokens: u32,
    /// Answers that a script plays at the same time.
    pub script_max_turns: usize,
    pub decoder: DecoderKind,
    /// Tried in this order; never empty.
    pub providers: Vec<Provider>,
    /// Whether a provider that cannot be loaded is skipped.
    pub fallback: bool,
    /// 0: one per core.
    pub threads: usize,
    /// Sequences computed at the same time.
    pub rows: usize,
    /// Tokens of a prompt and its answer together.
    pub context: usize,
    /// Requests that may wait for a row.
    pub queue: usize,
    /// Milliseconds for which lines wait without a break before the engine counts as overloaded.
    pub overload_after_ms: u64,
    /// Milliseconds after which the prompt of a line must be begun that comes while the engine is overloaded.
    pub overload_wait_ms: u64,
    /// Prompt tokens in one step.
    pub prefill_budget: usize,
    /// Whether the native decoder has its weights in memory of their own, on huge pages.
    pub huge_pages: bool,
    pub max_adapters: usize,
    /// MiB of all loaded adapters.
    pub adapter_memory_mb: usize,
    /// What the native decoder holds adapters in.
    pub adapter_precision: AdapterPrecision,
    /// What the native decoder holds keys and values in.
    pub kv_precision: KvPrecision,
    /// MiB of keys and values in the native decoder.
    pub kv_memory_mb: usize,
    /// Conversations whose keys and values stay after an answer.
    pub kept_conversations: usize,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// A language model.
    Model,
    /// A script, for load tests.
    Scripted,
}

/// The numbers that adapters are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterPrecision {
    F32,
    Bf16,
    /// A scale for each rank.
    Int8,
}

/// The numbers that keys and values are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KvPrecision {
    /// The smallest that suits the model.
    Auto,
    /// A scale for each token and head.
    Int8,
    Bf16,
}

/// What computes the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// The fastest that this machine can run.
    Auto,
    /// Operators of our own.
    Native,
    /// Standard and `com.microsoft` operators only.
    Portable,
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Cpu,
    Cuda,
    TensorRt,
}

impl Provider {
    /// Whether it needs the runtime that `pull --cuda` fetches.
    pub fn needs_cuda(self) -> bool {
        match self {
            Self::Cpu => false,
            Self::Cuda | Self::TensorRt => true,
        }
    }
}
