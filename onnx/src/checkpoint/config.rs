//! The sizes and constants of a decoder, whatever kind of checkpoint they were read from.

/// The families of decoder that can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama and SmolLM2.
    Llama,
    /// Llama with a sliding window.
    Mistral,
    /// Llama with biases on q, k and v.
    Qwen2,
    /// Llama with an RMS norm on every head of q and k.
    Qwen3,
}

/// Llama 3's change of the rotary frequencies for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Llama3Rope {
    pub factor: f32,
    pub low_freq_factor: f32,
    pub high_freq_factor: f32,
    pub original_max_position: usize,
}

/// The rotary frequencies' change for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions divided by `factor`.
    Linear {
        factor: f32,
    },
    Llama3(Llama3Rope),
}

/// The sizes of a decoder.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelConfig {
    pub architecture: Architecture,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Longest context the model was trained for, in tokens.
    pub max_position: usize,
    pub rms_norm_eps: f32,
    pub rope_theta: f32,
    pub rope_scaling: Option<RopeScaling>,
    /// Tokens that a position may look back, itself included.
    pub sliding_window: Option<usize>,
    /// The output layer is the embedding.
    pub tie_word_embeddings: bool,
    pub bos_token: Option<u32>,
    /// Any of these ends an answer.
    pub eos_tokens: Vec<u32>,
}
