//! Which tensors a decoder has, and their shapes.

use std::collections::BTreeMap;

use super::{Architecture, ModelConfig, Source};
use crate::error::Refusal;

/// Every tensor that a checkpoint of these sizes must have, in Hugging Face names.
fn expected(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let ModelConfig { hidden_size: hidden, intermediate_size: inner, head_dim, .. } = *config;
    let (q, kv) = (config.heads * head_dim, config.kv_heads * head_dim);
    let mut of_layer = vec![
        ("input_layernorm.weight", vec![hidden]),
        ("post_attention_layernorm.weight", vec![hidden]),
        ("self_attn.q_proj.weight", vec![q, hidden]),
        ("self_attn.k_proj.weight", vec![kv, hidden]),
        ("self_attn.v_proj.weight", vec![kv, hidden]),
        ("self_attn.o_proj.weight", vec![hidden, q]),
        ("mlp.gate_proj.weight", vec![inner, hidden]),
        ("mlp.up_proj.weight", vec![inner, hidden]),
        ("mlp.down_proj.weight", vec![hidden, inner]),
    ];
    match config.architecture {
        Architecture::Llama | Architecture::Mistral => {}
        Architecture::Qwen2 => of_layer.extend([
            ("self_attn.q_proj.bias", vec![q]),
            ("self_attn.k_proj.bias", vec![kv]),
            ("self_attn.v_proj.bias", vec![kv]),
        ]),
        Architecture::Qwen3 => of_layer.extend([
            ("self_attn.q_norm.weight", vec![head_dim]),
            ("self_attn.k_norm.weight", vec![head_dim]),
        ]),
    }
    let mut all = BTreeMap::from([
        ("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ]);
    if !config.tie_word_embeddings {
        all.insert("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]);
    }
    for layer in 0..config.layers {
        all.extend(
            of_layer.iter().map(|(name, shape)| (format!("model.layers.{layer}.{name}"), shape.clone())),
        );
    }
    all
}

/// Checks that `source` has exactly the tensors of a decoder of these sizes. A tensor too many is refused as
/// well: leaving out a bias or an expert would make a model that talks, and talks wrong.
pub(crate) fn check(config: &ModelConfig, source: &dyn Source) -> Result<(), Refusal> {
    let expected = expected(config);
    for (name, shape) in &expected {
        match source.shape(name) {
            None => return Refusal::invalid(format!("tensor `{name}` is missing")),
            Some(found) if found != shape => {
                return Refusal::invalid(format!(
                    "tensor `{name}` has shape {found:?}; the model's sizes ask for {shape:?}"
                ));
            }
            Some(_) => {}
        }
    }
    match source.names().into_iter().find(|name| !expected.contains_key(name)) {
        Some(name) => Refusal::unsupported(format!(
            "tensor `{name}` has no place in a {:?} decoder as it is known here",
            config.architecture
        )),
        None => Ok(()),
    }
}
