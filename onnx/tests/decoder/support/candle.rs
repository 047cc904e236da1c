//! The reference: candle-transformers, fed without any of this crate's readers.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{llama, mistral, qwen2, qwen3};

use super::tiny::{EPSILON, Tensors, Tiny};

/// A Llama read from a GGUF file by candle, with the rows of q and k put back into half-split order here.
pub struct Reference {
    model: llama::Llama,
    config: llama::Config,
    cache: llama::Cache,
}

impl Reference {
    pub fn from_gguf(path: &Path) -> Self {
        let mut file = BufReader::new(File::open(path).unwrap());
        let content = gguf_file::Content::read(&mut file).unwrap();
        let number = |key: &str| content.metadata[key].to_u32().unwrap() as usize;
        let config = llama::Config {
            hidden_size: number("llama.embedding_length"),
            intermediate_size: number("llama.feed_forward_length"),
            vocab_size: content.tensor_infos["token_embd.weight"].shape.dims()[0],
            num_hidden_layers: number("llama.block_count"),
            num_attention_heads: number("llama.attention.head_count"),
            num_key_value_heads: number("llama.attention.head_count_kv"),
            use_flash_attn: false,
            rms_norm_eps: f64::from(
                content.metadata["llama.attention.layer_norm_rms_epsilon"].to_f32().unwrap(),
            ),
            rope_theta: content.metadata["llama.rope.freq_base"].to_f32().unwrap(),
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: 512,
            tie_word_embeddings: true,
        };
        let mut tensors = HashMap::new();
        for name in content.tensor_infos.keys() {
            let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
            let tensor = tensor.dequantize(&Device::Cpu).unwrap();
            let (name, heads) = half_split_name(name, &config);
            let tensor = if heads == 0 { tensor } else { half_split(&tensor, heads) };
            tensors.insert(name, tensor);
        }
        let model = llama::Llama::load(builder(tensors), &config).unwrap();
        let cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
        Self { model, config, cache }
    }

    /// Forgets all tokens.
    pub fn reset(&mut self) {
        self.cache = llama::Cache::new(true, DType::F32, &self.config, &Device::Cpu).unwrap();
    }

    /// Takes more tokens after `past` others; returns the last one's logits.
    pub fn forward(&mut self, tokens: &[u32], past: usize) -> Vec<f32> {
        let tokens = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        last(&self.model.forward(&tokens, past, &mut self.cache).unwrap())
    }
}

/// The Hugging Face name, and the number of heads whose rows must be put in order (0: none).
fn half_split_name(name: &str, config: &llama::Config) -> (String, usize) {
    let plain = match name {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        _ => "",
    };
    if !plain.is_empty() {
        return (plain.to_owned(), 0);
    }
    let [_, layer, part, _] = name.split('.').collect::<Vec<_>>()[..] else { panic!("{name}") };
    let (part, heads) = match part {
        "attn_q" => ("self_attn.q_proj", config.num_attention_heads),
        "attn_k" => ("self_attn.k_proj", config.num_key_value_heads),
        "attn_v" => ("self_attn.v_proj", 0),
        "attn_output" => ("self_attn.o_proj", 0),
        "attn_norm" => ("input_layernorm", 0),
        "ffn_norm" => ("post_attention_layernorm", 0),
        "ffn_gate" => ("mlp.gate_proj", 0),
        "ffn_up" => ("mlp.up_proj", 0),
        "ffn_down" => ("mlp.down_proj", 0),
        _ => panic!("{name}"),
    };
    (format!("model.layers.{layer}.{part}.weight"), heads)
}

/// Rows (0, 1), (2, 3), … of a head become (0, n/2), (1, n/2 + 1), …
fn half_split(weight: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = weight.dims2().unwrap();
    let pairs = rows / heads / 2;
    let order: Vec<u32> = (0..heads)
        .flat_map(|head| (0..2).flat_map(move |part| (0..pairs).map(move |pair| (head, part, pair))))
        .map(|(head, part, pair)| (head * 2 * pairs + 2 * pair + part) as u32)
        .collect();
    let order = Tensor::new(order, &Device::Cpu).unwrap();
    let split = weight.index_select(&order, 0).unwrap();
    assert_eq!(split.dims(), [rows, columns]);
    split
}

/// Logits of every position of `tokens`, each computed from the tokens up to it and nothing else.
pub fn tiny_logits(tiny: &Tiny, tensors: &Tensors, tokens: &[u32]) -> Vec<Vec<f32>> {
    let tensors = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name.clone(), Tensor::from_slice(values, shape.as_slice(), &Device::Cpu).unwrap())
        })
        .collect();
    let mut forward = model(tiny, builder(tensors));
    (1..=tokens.len())
        .map(|end| forward(&Tensor::new(&tokens[..end], &Device::Cpu).unwrap().unsqueeze(0).unwrap()))
        .collect()
}

/// A model as a function from all tokens to the last one's logits.
type LastLogits = Box<dyn FnMut(&Tensor) -> Vec<f32>>;

fn model(tiny: &Tiny, vb: VarBuilder<'static>) -> LastLogits {
    match tiny.model_type {
        "llama" => {
            let config = llama_config(tiny);
            let model = llama::Llama::load(vb, &config).unwrap();
            let mut cache = llama::Cache::new(false, DType::F32, &config, &Device::Cpu).unwrap();
            Box::new(move |tokens| last(&model.forward(tokens, 0, &mut cache).unwrap()))
        }
        "mistral" => {
            let mut model = mistral::Model::new(&mistral_config(tiny), vb).unwrap();
            Box::new(move |tokens| {
                model.clear_kv_cache();
                last(&model.forward(tokens, 0).unwrap())
            })
        }
        "qwen2" => {
            let mut model = qwen2::ModelForCausalLM::new(&qwen2_config(tiny), vb).unwrap();
            Box::new(move |tokens| {
                model.clear_kv_cache();
                last(&model.forward(tokens, 0).unwrap())
            })
        }
        "qwen3" => {
            let mut model = qwen3::ModelForCausalLM::new(&qwen3_config(tiny), vb).unwrap();
            Box::new(move |tokens| {
                model.clear_kv_cache();
                last(&model.forward(tokens, 0).unwrap())
            })
        }
        other => panic!("no architecture {other}"),
    }
}

fn builder(tensors: HashMap<String, Tensor>) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn last(logits: &Tensor) -> Vec<f32> {
    logits.flatten_all().unwrap().to_vec1().unwrap()
}

fn llama_config(tiny: &Tiny) -> llama::Config {
    llama::Config {
        hidden_size: tiny.hidden,
        intermediate_size: tiny.inner,
        vocab_size: tiny.vocab,
        num_hidden_layers: tiny.layers,
        num_attention_heads: tiny.heads,
        num_key_value_heads: tiny.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: EPSILON,
        rope_theta: tiny.rope_theta as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: tiny.rope_scaling.as_ref().map(|rope| serde_json::from_value(rope.clone()).unwrap()),
        max_position_embeddings: tiny.max_position,
        tie_word_embeddings: tiny.tied,
    }
}

fn mistral_config(tiny: &Tiny) -> mistral::Config {
    mistral::Config {
        vocab_size: tiny.vocab,
        hidden_size: tiny.hidden,
        intermediate_size: tiny.inner,
        num_hidden_layers: tiny.layers,
        num_attention_heads: tiny.heads,
        head_dim: Some(tiny.head_dim),
        num_key_value_heads: tiny.kv_heads,
        hidden_act: Activation::Silu,
        max_position_embeddings: tiny.max_position,
        rms_norm_eps: EPSILON,
        rope_theta: tiny.rope_theta,
        // candle counts the tokens before the newest one, Hugging Face counts that one too.
        sliding_window: tiny.sliding_window.map(|window| window - 1),
        use_flash_attn: false,
    }
}

fn qwen2_config(tiny: &Tiny) -> qwen2::Config {
    qwen2::Config {
        vocab_size: tiny.vocab,
        hidden_size: tiny.hidden,
        intermediate_size: tiny.inner,
        num_hidden_layers: tiny.layers,
        num_attention_heads: tiny.heads,
        num_key_value_heads: tiny.kv_heads,
        max_position_embeddings: tiny.max_position,
        sliding_window: tiny.max_position,
        max_window_layers: tiny.layers,
        tie_word_embeddings: tiny.tied,
        rope_theta: tiny.rope_theta,
        rms_norm_eps: EPSILON,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    }
}

fn qwen3_config(tiny: &Tiny) -> qwen3::Config {
    qwen3::Config {
        vocab_size: tiny.vocab,
        hidden_size: tiny.hidden,
        intermediate_size: tiny.inner,
        num_hidden_layers: tiny.layers,
        num_attention_heads: tiny.heads,
        head_dim: tiny.head_dim,
        attention_bias: false,
        num_key_value_heads: tiny.kv_heads,
        max_position_embeddings: tiny.max_position,
        sliding_window: None,
        max_window_layers: tiny.layers,
        tie_word_embeddings: tiny.tied,
        rope_theta: tiny.rope_theta,
        rms_norm_eps: EPSILON,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    }
}
