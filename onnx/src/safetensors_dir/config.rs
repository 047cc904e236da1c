//! `config.json` → the sizes of the decoder.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::ImportError;
use crate::checkpoint::{Architecture, Llama3Rope, ModelConfig, RopeScaling, files};
use crate::error::Refusal;

/// Largest `config.json`, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// One token id or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum TokenIds {
    One(u32),
    Many(Vec<u32>),
}

impl TokenIds {
    pub(super) fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Kind {
    model_type: String,
}

/// The keys of `config.json` that say what the decoder computes.
#[derive(Debug, Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<Rope>,
    /// The newer place of the two keys above.
    rope_parameters: Option<Rope>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    tie_word_embeddings: Option<bool>,
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    partial_rotary_factor: Option<f32>,
    quantization_config: Option<Json>,
}

#[derive(Debug, Deserialize)]
struct Rope {
    #[serde(rename = "rope_type")]
    kind: Option<String>,
    /// The older name of `rope_type`: some files have both.
    r#type: Option<String>,
    #[serde(rename = "rope_theta")]
    theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
}

/// What `config.json` says. Whether the output layer is tied may be known only from the weights, and other
/// files may add end tokens.
#[derive(Debug)]
pub(super) struct Parts {
    raw: Raw,
    architecture: Architecture,
    pub(super) eos_tokens: Vec<u32>,
}

/// Reads `config.json` and refuses what cannot be exported, before the weights are looked at.
pub(super) fn read(path: &Path) -> Result<Parts, ImportError> {
    let text = files::read_text(path, MAX_CONFIG)?;
    // The family first: another one has other keys, and "a key is missing" would mislead.
    let kind: Kind = files::parse_json(&text).map_err(|refusal| refusal.of(path))?;
    let architecture = family(&kind.model_type).map_err(|refusal| refusal.of(path))?;
    let mut raw: Raw = files::parse_json(&text).map_err(|refusal| refusal.of(path))?;
    check_family(&raw, architecture).map_err(|refusal| refusal.of(path))?;
    let eos_tokens = raw.eos_token_id.take().map(TokenIds::into_vec).unwrap_or_default();
    Ok(Parts { raw, architecture, eos_tokens })
}

fn family(model_type: &str) -> Result<Architecture, Refusal> {
    Ok(match model_type {
        "llama" => Architecture::Llama,
        "mistral" => Architecture::Mistral,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            return Refusal::unsupported(format!(
                "model_type is `{other}`; llama, mistral, qwen2 and qwen3 can be exported"
            ));
        }
    })
}

/// Refuses what asks for more than the family has.
fn check_family(raw: &Raw, architecture: Architecture) -> Result<(), Refusal> {
    if let Some(act) = raw.hidden_act.as_deref().filter(|act| *act != "silu") {
        return Refusal::unsupported(format!("hidden_act is `{act}`; only `silu` can be exported"));
    }
    if raw.partial_rotary_factor.is_some_and(|factor| (factor - 1.0).abs() > f32::EPSILON) {
        return Refusal::unsupported("partial_rotary_factor: only 1 can be exported");
    }
    if raw.quantization_config.as_ref().is_some_and(|quantization| !quantization.is_null()) {
        return Refusal::unsupported(
            "quantization_config: quantized folders are not read; use the original weights",
        );
    }
    // Qwen2's biases on q, k and v are part of the family, whatever these keys say.
    for (name, bias) in [("attention_bias", raw.attention_bias), ("mlp_bias", raw.mlp_bias)] {
        if bias == Some(true) && architecture != Architecture::Qwen2 {
            return Refusal::unsupported(format!("{name}: biases of a {architecture:?} cannot be exported"));
        }
    }
    Ok(())
}

impl Parts {
    /// The sizes, checked. `has_head`: the weights hold an output layer.
    pub(super) fn finish(self, has_head: bool) -> Result<ModelConfig, Refusal> {
        let Self { raw, architecture, mut eos_tokens } = self;
        eos_tokens.sort_unstable();
        eos_tokens.dedup();
        let kv_heads = match (raw.num_key_value_heads, architecture) {
            (Some(kv_heads), _) => kv_heads,
            // The first Llamas have the key not, and as many as heads.
            (None, Architecture::Llama) => raw.num_attention_heads,
            (None, _) => return Refusal::invalid("num_key_value_heads is missing"),
        };
        let Some(head_dim) = raw.head_dim.or(raw.hidden_size.checked_div(raw.num_attention_heads)) else {
            return Refusal::invalid("num_attention_heads: must be above 0");
        };
        let (rope_theta, rope_scaling) = rope(&raw)?;
        let config = ModelConfig {
            architecture,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            kv_heads,
            head_dim,
            max_position: raw.max_position_embeddings,
            rms_norm_eps: raw.rms_norm_eps,
            rope_theta,
            rope_scaling,
            sliding_window: sliding_window(&raw, architecture)?,
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(!has_head),
            bos_token: raw.bos_token_id.and_then(|ids| ids.into_vec().first().copied()),
            eos_tokens,
        };
        config.check()?;
        Ok(config)
    }
}

fn rope(raw: &Raw) -> Result<(f32, Option<RopeScaling>), Refusal> {
    let rope = raw.rope_parameters.as_ref().or(raw.rope_scaling.as_ref());
    let theta = match rope.and_then(|rope| rope.theta).or(raw.rope_theta) {
        Some(theta) => theta,
        None if raw.rope_parameters.is_some() => {
            return Refusal::invalid("rope_parameters: `rope_theta` is missing");
        }
        // What it was before there was a key for it.
        None => 10_000.0,
    };
    let Some(rope) = rope else { return Ok((theta, None)) };
    let number = |name: &str, number: Option<f32>| {
        number.ok_or_else(|| Refusal::Invalid(format!("rope_scaling: `{name}` is missing")))
    };
    let scaling = match rope.kind.as_deref().or(rope.r#type.as_deref()) {
        None | Some("default") => None,
        Some("linear") => Some(RopeScaling::Linear { factor: number("factor", rope.factor)? }),
        Some("llama3") => {
            let Some(original_max_position) = rope.original_max_position_embeddings else {
                return Refusal::invalid("rope_scaling: `original_max_position_embeddings` is missing");
            };
            Some(RopeScaling::Llama3(Llama3Rope {
                factor: number("factor", rope.factor)?,
                low_freq_factor: number("low_freq_factor", rope.low_freq_factor)?,
                high_freq_factor: number("high_freq_factor", rope.high_freq_factor)?,
                original_max_position,
            }))
        }
        Some(other) => {
            return Refusal::unsupported(format!(
                "rope_scaling of type `{other}`; `linear` and `llama3` can be exported"
            ));
        }
    };
    Ok((theta, scaling))
}

/// The window that every layer has; `None` where every layer sees everything.
fn sliding_window(raw: &Raw, architecture: Architecture) -> Result<Option<usize>, Refusal> {
    let layers = raw.num_hidden_layers;
    let windowed = match (&raw.layer_types, architecture) {
        (_, Architecture::Llama) => 0,
        (Some(types), _) => types.iter().filter(|kind| *kind == "sliding_attention").count(),
        (None, Architecture::Mistral) => layers,
        // Layers from this one on have the window.
        (None, _) if raw.use_sliding_window == Some(true) => {
            layers.saturating_sub(raw.max_window_layers.unwrap_or(0))
        }
        (None, _) => 0,
    };
    match raw.sliding_window {
        _ if windowed == 0 => Ok(None),
        window if windowed >= layers => Ok(window),
        window => Refusal::unsupported(format!(
            "sliding_window {window:?} for {windowed} of {layers} layers; it can be exported for all or none"
        )),
    }
}
