//! The base model in candle, from the same GGUF, through none of the project's own code: candle reads and
//! dequantizes the file, and the order of q's and k's rows is undone here.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::quantized::gguf_file;
use candle_core::{D, DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaEosToks};

/// A Llama checkpoint in 32-bit floats, under Hugging Face's tensor names.
#[derive(Debug, Clone)]
pub struct Reference {
    tensors: HashMap<String, Tensor>,
    config: Config,
}

/// A model that is run token by token.
#[derive(Debug)]
pub struct Run {
    model: Llama,
    cache: Cache,
    position: usize,
}

impl Reference {
    /// Reads a Llama GGUF.
    pub fn from_gguf(path: &Path) -> Result<Self> {
        let device = Device::Cpu;
        let mut file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        let content = gguf_file::Content::read(&mut file)?;
        let number = |key: &str| -> Result<usize> {
            let value = content.metadata.get(key).with_context(|| key.to_owned())?;
            Ok(value.to_u32()? as usize)
        };
        let float = |key: &str| -> Result<f32> {
            Ok(content.metadata.get(key).with_context(|| key.to_owned())?.to_f32()?)
        };
        let heads = number("llama.attention.head_count")?;
        let kv_heads = number("llama.attention.head_count_kv")?;
        let mut tensors = HashMap::new();
        for name in content.tensor_infos.keys() {
            let tensor = content.tensor(&mut file, name, &device)?.dequantize(&device)?;
            let tensor = match name.as_str() {
                n if n.ends_with("attn_q.weight") => half_split(&tensor, heads)?,
                n if n.ends_with("attn_k.weight") => half_split(&tensor, kv_heads)?,
                _ => tensor,
            };
            tensors.insert(hugging_face_name(name)?, tensor);
        }
        let embedding = tensors.get("model.embed_tokens.weight").context("token_embd.weight")?;
        let (vocab_size, hidden_size) = embedding.dims2()?;
        let config = Config {
            hidden_size,
            intermediate_size: number("llama.feed_forward_length")?,
            vocab_size,
            num_hidden_layers: number("llama.block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            use_flash_attn: false,
            rms_norm_eps: f64::from(float("llama.attention.layer_norm_rms_epsilon")?),
            rope_theta: float("llama.rope.freq_base")?,
            bos_token_id: None,
            eos_token_id: Some(LlamaEosToks::Single(2)),
            rope_scaling: None,
            max_position_embeddings: 2048,
            tie_word_embeddings: !tensors.contains_key("lm_head.weight"),
        };
        Ok(Self { tensors, config })
    }

    pub fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    pub fn layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    /// `[out, in]` of a linear layer, for example `model.layers.3.self_attn.q_proj`.
    pub fn shape(&self, module: &str) -> Result<(usize, usize)> {
        Ok(self.tensors.get(&format!("{module}.weight")).with_context(|| module.to_owned())?.dims2()?)
    }

    /// Adds `scale · B·A` to a linear layer's weight; A is `[rank, in]`, B `[out, rank]`, row-major.
    pub fn merge(&mut self, module: &str, a: &[f32], b: &[f32], scale: f32) -> Result<()> {
        let (out, input) = self.shape(module)?;
        let rank = a.len() / input;
        ensure!(a.len() == rank * input && b.len() == out * rank, "{module}: factors of a wrong shape");
        let a = Tensor::from_slice(a, (rank, input), &Device::Cpu)?;
        let b = Tensor::from_slice(b, (out, rank), &Device::Cpu)?;
        let delta = (b.matmul(&a)? * f64::from(scale))?;
        let weight = self.tensors.get_mut(&format!("{module}.weight")).context("checked above")?;
        *weight = (&*weight + delta)?;
        Ok(())
    }

    /// Starts a run with an empty cache.
    pub fn run(&self) -> Result<Run> {
        let vars = VarBuilder::from_tensors(self.tensors.clone(), DType::F32, &Device::Cpu);
        let model = Llama::load(vars, &self.config)?;
        let cache = Cache::new(true, DType::F32, &self.config, &Device::Cpu)?;
        Ok(Run { model, cache, position: 0 })
    }
}

impl Run {
    /// Computes more tokens; returns the logits after the last one.
    pub fn push(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.model.forward(&input, self.position, &mut self.cache)?;
        self.position += tokens.len();
        Ok(logits.i(0)?.to_vec1()?)
    }
}

/// llama.cpp's converter stores the rows of a head of q and k so that the two halves of a rotated pair stand
/// beside each other: row 2j + p of the file is row p·d/2 + j of the head.
fn half_split(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, columns) = weight.dims2()?;
    let head_dim = rows / heads;
    let split = weight.reshape((heads, head_dim / 2, 2, columns))?.transpose(1, 2)?;
    Ok(split.contiguous()?.reshape((rows, columns))?)
}

fn hugging_face_name(name: &str) -> Result<String> {
    let simple = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(simple) = simple {
        return Ok(simple.to_owned());
    }
    let rest = name.strip_prefix("blk.").with_context(|| format!("unknown tensor {name}"))?;
    let (layer, part) = rest.split_once('.').with_context(|| format!("unknown tensor {name}"))?;
    let part = match part {
        "attn_norm.weight" => "input_layernorm.weight",
        "attn_q.weight" => "self_attn.q_proj.weight",
        "attn_k.weight" => "self_attn.k_proj.weight",
        "attn_v.weight" => "self_attn.v_proj.weight",
        "attn_output.weight" => "self_attn.o_proj.weight",
        "ffn_norm.weight" => "post_attention_layernorm.weight",
        "ffn_gate.weight" => "mlp.gate_proj.weight",
        "ffn_up.weight" => "mlp.up_proj.weight",
        "ffn_down.weight" => "mlp.down_proj.weight",
        _ => anyhow::bail!("unknown tensor {name}"),
    };
    Ok(format!("model.layers.{layer}.{part}"))
}

/// ln softmax of logits.
pub fn log_softmax(logits: &[f32]) -> Result<Vec<f32>> {
    let logits = Tensor::from_slice(logits, logits.len(), &Device::Cpu)?;
    Ok(candle_nn::ops::log_softmax(&logits, D::Minus1)?.to_vec1()?)
}
