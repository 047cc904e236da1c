//! Tiny checkpoints with random weights, written as Hugging Face folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

/// A checkpoint's sizes, in the words of `config.json`.
#[derive(Debug, Clone)]
pub struct Tiny {
    /// `llama`, `mistral`, `qwen2` or `qwen3`.
    pub model_type: &'static str,
    pub vocab: usize,
    pub hidden: usize,
    pub inner: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub max_position: usize,
    pub rope_theta: f64,
    pub rope_scaling: Option<Value>,
    pub sliding_window: Option<usize>,
    pub tied: bool,
}

/// The epsilon of every tiny checkpoint.
pub const EPSILON: f64 = 1e-5;

/// Tensors by their Hugging Face names: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Tiny {
    /// A small model of a kind: grouped queries, nothing a multiple of the others by chance.
    pub fn new(model_type: &'static str) -> Self {
        Self {
            model_type,
            vocab: 96,
            hidden: 64,
            inner: 160,
            layers: 3,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            max_position: 64,
            rope_theta: 10_000.0,
            rope_scaling: None,
            sliding_window: None,
            tied: false,
        }
    }

    /// Random weights, the same for the same seed.
    pub fn tensors(&self, seed: u64) -> Tensors {
        let mut random = Random(seed);
        let mut tensors = Tensors::new();
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut add = |name: String, shape: &[usize], mean: f32, spread: f32| {
            let values = (0..shape.iter().product()).map(|_| mean + spread * random.normal()).collect();
            tensors.insert(name, (shape.to_vec(), values));
        };
        add("model.embed_tokens.weight".into(), &[self.vocab, self.hidden], 0.0, 0.5);
        if !self.tied {
            add("lm_head.weight".into(), &[self.vocab, self.hidden], 0.0, 0.125);
        }
        add("model.norm.weight".into(), &[self.hidden], 1.0, 0.2);
        for i in 0..self.layers {
            let layer = format!("model.layers.{i}");
            add(format!("{layer}.input_layernorm.weight"), &[self.hidden], 1.0, 0.2);
            add(format!("{layer}.post_attention_layernorm.weight"), &[self.hidden], 1.0, 0.2);
            let linears = [
                ("self_attn.q_proj", q, self.hidden),
                ("self_attn.k_proj", kv, self.hidden),
                ("self_attn.v_proj", kv, self.hidden),
                ("self_attn.o_proj", self.hidden, q),
                ("mlp.gate_proj", self.inner, self.hidden),
                ("mlp.up_proj", self.inner, self.hidden),
                ("mlp.down_proj", self.hidden, self.inner),
            ];
            for (name, outputs, inputs) in linears {
                let spread = 1.0 / (inputs as f32).sqrt();
                add(format!("{layer}.{name}.weight"), &[outputs, inputs], 0.0, spread);
                if self.model_type == "qwen2" && outputs != self.inner && name.starts_with("self_attn") {
                    if name.ends_with("o_proj") {
                        continue;
                    }
                    add(format!("{layer}.{name}.bias"), &[outputs], 0.0, 0.5);
                }
            }
            if self.model_type == "qwen3" {
                add(format!("{layer}.self_attn.q_norm.weight"), &[self.head_dim], 1.0, 0.3);
                add(format!("{layer}.self_attn.k_norm.weight"), &[self.head_dim], 1.0, 0.3);
            }
        }
        tensors
    }

    /// Writes the folder `dir`: `config.json`, `model.safetensors` and a tokenizer of words.
    pub fn write(&self, dir: &Path, tensors: &Tensors) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("config.json"), self.config().to_string()).unwrap();
        fs::write(dir.join("tokenizer.json"), self.tokenizer().to_string()).unwrap();
        let template = json!({"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"});
        fs::write(dir.join("tokenizer_config.json"), template.to_string()).unwrap();
        let bytes: BTreeMap<&String, Vec<u8>> = tensors
            .iter()
            .map(|(name, (_, values))| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = tensors.iter().map(|(name, (shape, _))| {
            (name.clone(), TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap())
        });
        safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
        dir.to_owned()
    }

    fn config(&self) -> Value {
        let class = match self.model_type {
            "llama" => "LlamaForCausalLM",
            "mistral" => "MistralForCausalLM",
            "qwen2" => "Qwen2ForCausalLM",
            "qwen3" => "Qwen3ForCausalLM",
            other => panic!("no architecture {other}"),
        };
        json!({
            "architectures": [class],
            "model_type": self.model_type,
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position,
            "rms_norm_eps": EPSILON,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling,
            "sliding_window": self.sliding_window,
            "use_sliding_window": self.sliding_window.is_some(),
            "hidden_act": "silu",
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
            "bos_token_id": 1,
            "eos_token_id": 2,
        })
    }

    fn tokenizer(&self) -> Value {
        let vocab: serde_json::Map<String, Value> =
            (0..self.vocab).map(|i| (format!("w{i}"), json!(i))).collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": null,
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
        })
    }
}

/// Numbers that are the same on every machine.
pub struct Random(pub u64);

impl Random {
    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Normal with mean 0 and deviation 1, nearly: the sum of 12 uniform numbers, which has no tails.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    /// Token ids below `vocab`.
    pub fn tokens(&mut self, count: usize, vocab: usize) -> Vec<u32> {
        (0..count).map(|_| (self.next() % vocab as u64) as u32).collect()
    }
}
