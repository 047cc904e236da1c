//! The sizes and constants of a decoder, whatever kind of checkpoint they were read from.

use crate::error::Refusal;

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
///
/// With n = `original_max_position` / wavelength, the waves that fit into the original context: a frequency with
/// n above `high_freq_factor` is kept, one with n below `low_freq_factor` is divided by `factor`, and those in
/// between are blended.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Llama3Rope {
    /// Above 0.
    pub factor: f32,
    /// Above 0.
    pub low_freq_factor: f32,
    /// Above `low_freq_factor`.
    pub high_freq_factor: f32,
    /// The context before it was stretched, in tokens.
    pub original_max_position: usize,
}

/// The rotary frequencies' change for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions divided by `factor`.
    Linear {
        /// Above 0.
        factor: f32,
    },
    /// Short waves kept, long ones stretched.
    Llama3(Llama3Rope),
}

/// The sizes of a decoder.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Rows of the embedding; at least as many as the tokenizer has tokens.
    pub vocab_size: usize,
    /// Width of the hidden state.
    pub hidden_size: usize,
    /// Width inside of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head; even. `heads` × `head_dim` need not be `hidden_size`.
    pub head_dim: usize,
    /// Longest context the model was trained for, in tokens.
    pub max_position: usize,
    /// Added to the mean square in every norm; above 0.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies; above 0.
    pub rope_theta: f32,
    /// `None`: the frequencies are used as they are.
    pub rope_scaling: Option<RopeScaling>,
    /// Tokens that a position may look back, itself included.
    pub sliding_window: Option<usize>,
    /// The output layer is the embedding.
    pub tie_word_embeddings: bool,
    /// The token that begins a text, where there is one.
    pub bos_token: Option<u32>,
    /// Any of these ends an answer; ascending.
    pub eos_tokens: Vec<u32>,
}

/// Largest sizes that are believed: several times those of the biggest open models, and small enough that the bytes of
/// a weight, and those of the keys and values of 256 of the longest conversations, can be counted.
const MAX_VOCAB: usize = 1 << 22;
const MAX_WIDTH: usize = 1 << 20;
const MAX_LAYERS: usize = 1024;
const MAX_HEADS: usize = 1024;
const MAX_HEAD_DIM: usize = 1024;
const MAX_POSITION: usize = 1 << 24;

impl ModelConfig {
    /// Multiplications and additions of the linear layers for one token, its logits included.
    pub fn operations_per_token(&self) -> usize {
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let attention = self.hidden_size * (queries + 2 * keys) + queries * self.hidden_size;
        let inner = 3 * self.hidden_size * self.intermediate_size;
        2 * (self.layers * (attention + inner) + self.vocab_size * self.hidden_size)
    }

    /// Every size: its name, itself, and the largest that it may be.
    pub(crate) fn sizes(&self) -> [(&'static str, usize, usize); 9] {
        [
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("layers", self.layers, MAX_LAYERS),
            ("heads", self.heads, MAX_HEADS),
            ("kv_heads", self.kv_heads, MAX_HEADS),
            ("head_dim", self.head_dim, MAX_HEAD_DIM),
            ("max_position", self.max_position, MAX_POSITION),
            ("sliding_window", self.sliding_window.unwrap_or(1), MAX_POSITION),
        ]
    }

    /// Checks that the sizes are in range and fit together. The answer names the size.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        for (name, size, limit) in self.sizes() {
            if size == 0 || size > limit {
                return Refusal::invalid(format!("{name}: must be from 1 to {limit}, found {size}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Refusal::invalid(format!(
                "heads: {} is no multiple of kv_heads {}",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Refusal::invalid(format!("head_dim: must be even, found {}", self.head_dim));
        }
        self.check_numbers()?;
        for token in self.bos_token.iter().chain(&self.eos_tokens) {
            if *token as usize >= self.vocab_size {
                return Refusal::invalid(format!(
                    "bos or eos token {token} is outside of the vocabulary of {}",
                    self.vocab_size
                ));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Refusal> {
        let mut numbers = vec![("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)];
        match self.rope_scaling {
            None => {}
            Some(RopeScaling::Linear { factor }) => numbers.push(("rope scaling factor", factor)),
            Some(RopeScaling::Llama3(rope)) => {
                numbers.push(("rope scaling factor", rope.factor));
                numbers.push(("rope scaling low_freq_factor", rope.low_freq_factor));
                // The formula divides by the difference of the two.
                numbers.push((
                    "rope scaling high_freq_factor − low_freq_factor",
                    rope.high_freq_factor - rope.low_freq_factor,
                ));
                numbers.push(("rope scaling original_max_position", rope.original_max_position as f32));
            }
        }
        for (name, number) in numbers {
            if !(number > 0.0 && number.is_finite()) {
                return Refusal::invalid(format!("{name}: must be above 0, found {number}"));
            }
        }
        Ok(())
    }
}
