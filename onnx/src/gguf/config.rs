//! Metadata of the Llama architecture → the sizes of the decoder.

use super::{Array, Header, Value, rope};
use crate::checkpoint::{Architecture, ModelConfig};
use crate::error::Refusal;

/// The settings that are understood, and those that change nothing. Any other one is refused: llama.cpp's
/// Llama graph has switches (scales of the embedding, of attention, of logits; experts) that would make the
/// exported decoder compute something else than the model was trained for.
const KNOWN_SETTINGS: [&str; 20] = [
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
];

/// As above, for settings that say nothing about the arithmetic.
const HARMLESS_SETTINGS: [&str; 2] = ["tensor_data_layout", "vocab_size"];

/// Texts of tokens that end an answer, whatever the file calls its end token. A chat model may carry the end
/// of a text as its end token while its template ends turns with another.
const END_TOKENS: [&str; 7] =
    ["</s>", "<|end_of_text|>", "<|endoftext|>", "<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end_of_turn|>"];

/// The token type of control tokens.
const CONTROL: u64 = 3;

/// The settings of the architecture, `llama.…`.
pub(super) struct Settings<'h, 'f> {
    header: &'h Header<'f>,
}

impl<'f> Settings<'_, 'f> {
    pub(super) fn get(&self, key: &str) -> Option<&Value<'f>> {
        self.header.metadata.get(format!("llama.{key}").as_str())
    }

    fn size_or(&self, key: &str, default: Option<usize>) -> Result<usize, Refusal> {
        match (self.get(key), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Refusal::invalid(format!("metadata `llama.{key}` is missing")),
            (Some(value), _) => match size(value) {
                Some(n) => Ok(n),
                None => Refusal::invalid(format!(
                    "metadata `llama.{key}`: a whole number, the same for every layer, was expected"
                )),
            },
        }
    }

    fn size(&self, key: &str) -> Result<usize, Refusal> {
        self.size_or(key, None)
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_float() {
            Some(x) => Ok(Some(x)),
            None => {
                Refusal::invalid(format!("metadata `llama.{key}`: a number with a fraction was expected"))
            }
        }
    }
}

/// A size, or an array that has the same size for every layer.
fn size(value: &Value) -> Option<usize> {
    let n = match value.as_array() {
        None => value.as_unsigned()?,
        Some(array) => {
            let mut sizes = array.iter().map(|value| value.as_unsigned());
            let first = sizes.next()??;
            if !sizes.all(|size| size == Some(first)) {
                return None;
            }
            first
        }
    };
    usize::try_from(n).ok()
}

/// Reads the sizes of a Llama decoder. `rope_freqs` are the numbers of the tensor `rope_freqs.weight`.
pub(super) fn read(header: &Header, rope_freqs: Option<&[f32]>) -> Result<ModelConfig, Refusal> {
    check_kind(header)?;
    let settings = Settings { header };
    let Some(embedding) = header.tensors.get("token_embd.weight") else {
        return Refusal::invalid("tensor `token_embd.weight` is missing");
    };
    let hidden_size = settings.size("embedding_length")?;
    let heads = settings.size("attention.head_count")?;
    let Some(even_share) = hidden_size.checked_div(heads) else {
        return Refusal::invalid("metadata `llama.attention.head_count`: must be above 0");
    };
    let head_dim = settings.size_or("attention.key_length", Some(even_share))?;
    for key in ["attention.value_length", "rope.dimension_count"] {
        let found = settings.size_or(key, Some(head_dim))?;
        if found != head_dim {
            return Refusal::unsupported(format!(
                "metadata `llama.{key}` is {found}, the keys of a head have {head_dim}; they must be the same"
            ));
        }
    }
    let rms_norm_eps = settings.float("attention.layer_norm_rms_epsilon")?;
    let sliding_window = settings.size_or("attention.sliding_window", Some(0))?;
    let rope_theta = settings.float("rope.freq_base")?.unwrap_or(10_000.0);
    let vocab_size = embedding.shape[0];
    let tokens = header.metadata.get("tokenizer.ggml.tokens").and_then(Value::as_array).map_or(0, Array::len);
    if tokens > vocab_size {
        return Refusal::invalid(format!(
            "metadata `tokenizer.ggml.tokens` has {tokens} tokens; the embedding has {vocab_size}"
        ));
    }
    let config = ModelConfig {
        architecture: Architecture::Llama,
        vocab_size,
        hidden_size,
        intermediate_size: settings.size("feed_forward_length")?,
        layers: settings.size("block_count")?,
        heads,
        kv_heads: settings.size_or("attention.head_count_kv", Some(heads))?,
        head_dim,
        max_position: settings.size("context_length")?,
        rms_norm_eps: match rms_norm_eps {
            Some(eps) => eps as f32,
            None => {
                return Refusal::invalid("metadata `llama.attention.layer_norm_rms_epsilon` is missing");
            }
        },
        rope_theta: rope_theta as f32,
        rope_scaling: rope::scaling(&settings, rope_freqs, rope_theta, head_dim)?,
        sliding_window: (sliding_window > 0).then_some(sliding_window),
        tie_word_embeddings: !header.tensors.contains_key("output.weight"),
        bos_token: token_id(header, "tokenizer.ggml.bos_token_id")?,
        eos_tokens: end_tokens(header)?,
    };
    config.check()?;
    Ok(config)
}

/// Checks that the file holds a whole Llama and that every setting of it is known.
fn check_kind(header: &Header) -> Result<(), Refusal> {
    let metadata = &header.metadata;
    let Some(architecture) = metadata.get("general.architecture").and_then(Value::as_text) else {
        return Refusal::invalid("metadata `general.architecture` is missing");
    };
    if architecture != "llama" {
        return Refusal::unsupported(format!(
            "metadata `general.architecture` is `{architecture}`; only `llama` is read from GGUF files (Qwen2 \
             and Qwen3 are read from Hugging Face folders)"
        ));
    }
    if metadata.get("split.count").and_then(Value::as_unsigned).is_some_and(|n| n > 1) {
        return Refusal::unsupported(
            "one part of a split GGUF file; merge the parts with `llama-gguf-split`",
        );
    }
    let settings = Settings { header };
    for key in metadata.keys().filter_map(|key| key.strip_prefix("llama.")) {
        if !KNOWN_SETTINGS.contains(&key) && !HARMLESS_SETTINGS.contains(&key) {
            return Refusal::unsupported(format!("metadata `llama.{key}` is no setting that is known here"));
        }
    }
    if settings.size_or("expert_count", Some(0))? > 0 {
        return Refusal::unsupported("metadata `llama.expert_count`: mixtures of experts cannot be exported");
    }
    if settings.get("attention.causal").is_some_and(|value| value.as_bool() != Some(true)) {
        return Refusal::unsupported(
            "metadata `llama.attention.causal`: only causal decoders can be exported",
        );
    }
    Ok(())
}

fn token_id(header: &Header, key: &str) -> Result<Option<u32>, Refusal> {
    let Some(value) = header.metadata.get(key) else { return Ok(None) };
    match value.as_unsigned().and_then(|id| u32::try_from(id).ok()) {
        Some(id) => Ok(Some(id)),
        None => Refusal::invalid(format!("metadata `{key}`: a token id was expected")),
    }
}

/// The tokens that end an answer, in ascending order.
fn end_tokens(header: &Header) -> Result<Vec<u32>, Refusal> {
    let mut ids = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ids.extend(token_id(header, key)?);
    }
    let array = |key| header.metadata.get(key).and_then(Value::as_array);
    if let (Some(tokens), Some(types)) = (array("tokenizer.ggml.tokens"), array("tokenizer.ggml.token_type"))
    {
        for (id, (token, kind)) in tokens.iter().zip(types.iter()).enumerate() {
            if kind.as_unsigned() == Some(CONTROL)
                && token.as_text().is_some_and(|text| END_TOKENS.contains(&text))
            {
                ids.push(id as u32);
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
