use serde::Deserialize;

/// The inference engine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    pub decoder: DecoderKind,
    pub providers: Vec<Provider>,
    pub fallback: bool,
    pub threads: usize,
    pub rows: usize,
    pub context: usize,
    pub queue: usize,
    pub prefill_budget: usize,
    pub max_adapters: usize,
    pub adapter_memory_mb: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    Auto,
    Portable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Cpu,
    Cuda,
    TensorRt,
}
