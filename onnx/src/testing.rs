//! What several tests need: tiny GGUF files, written by candle, and the real one.

use std::io::Cursor;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

pub(crate) const HIDDEN: usize = 64;
pub(crate) const INNER: usize = 96;
pub(crate) const HEADS: usize = 4;
pub(crate) const KV_HEADS: usize = 2;
pub(crate) const HEAD_DIM: usize = 16;
pub(crate) const LAYERS: usize = 2;

/// The checkpoint that the tests of real figures read.
///
/// # Panics
/// When the variable that names it is not set.
pub(crate) fn real_gguf() -> PathBuf {
    match std::env::var_os("NPC_GATEWAY_TEST_GGUF") {
        Some(path) => path.into(),
        None => panic!("NPC_GATEWAY_TEST_GGUF names no checkpoint: run the tests with `cargo xtask test`"),
    }
}

/// A GGUF file in the making.
pub(crate) struct Draft {
    pub(crate) metadata: Vec<(String, Value)>,
    pub(crate) tensors: Vec<(String, QTensor)>,
}

/// A byte as byte-level vocabularies spell it: printable ones as they are, the others moved up.
pub(crate) fn spelled(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            let before = (0..byte).filter(|b| !matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)).count();
            char::from_u32(256 + before as u32).unwrap()
        }
    }
}

pub(crate) fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::String(text.into())).collect())
}

impl Draft {
    /// A whole little Llama: a token for every byte, three words, two control tokens at the end.
    pub(crate) fn new() -> Self {
        let mut tokens: Vec<String> = (0..=255).map(|byte| spelled(byte).to_string()).collect();
        tokens.extend(["he", "ll", "hell", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
        let types = (0..tokens.len()).map(|id| Value::I32(if id < 259 { 1 } else { 3 })).collect();
        let mut draft = Self { metadata: Vec::new(), tensors: Vec::new() };
        draft.set("general.architecture", Value::String("llama".into()));
        draft.set("general.name", Value::String("Tiny".into()));
        for (key, n) in [
            ("block_count", LAYERS),
            ("context_length", 512),
            ("embedding_length", HIDDEN),
            ("feed_forward_length", INNER),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", KV_HEADS),
            ("rope.dimension_count", HEAD_DIM),
        ] {
            draft.set(&format!("llama.{key}"), Value::U32(n as u32));
        }
        draft.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        draft.set("llama.rope.freq_base", Value::F32(10_000.0));
        draft.set("tokenizer.ggml.model", Value::String("gpt2".into()));
        draft.set("tokenizer.ggml.pre", Value::String("smollm".into()));
        draft.set("tokenizer.ggml.token_type", Value::Array(types));
        draft.set("tokenizer.ggml.merges", texts(["h e", "l l", "he ll"]));
        draft.set("tokenizer.ggml.bos_token_id", Value::U32(259));
        draft.set("tokenizer.ggml.eos_token_id", Value::U32(260));
        draft.set("tokenizer.chat_template", Value::String("{{ messages }}".into()));
        draft.tensor("token_embd.weight", &[tokens.len(), HIDDEN], GgmlDType::Q8_0);
        draft.set("tokenizer.ggml.tokens", texts(tokens));
        draft.tensor("output_norm.weight", &[HIDDEN], GgmlDType::F32);
        for layer in 0..LAYERS {
            let kv = KV_HEADS * HEAD_DIM;
            for (name, shape, kind) in [
                ("attn_norm", vec![HIDDEN], GgmlDType::F32),
                ("ffn_norm", vec![HIDDEN], GgmlDType::F32),
                ("attn_q", vec![HEADS * HEAD_DIM, HIDDEN], GgmlDType::F32),
                ("attn_k", vec![kv, HIDDEN], GgmlDType::Q4_0),
                ("attn_v", vec![kv, HIDDEN], GgmlDType::Q5_1),
                ("attn_output", vec![HIDDEN, HIDDEN], GgmlDType::F16),
                ("ffn_gate", vec![INNER, HIDDEN], GgmlDType::Q4_1),
                ("ffn_up", vec![INNER, HIDDEN], GgmlDType::BF16),
                ("ffn_down", vec![HIDDEN, INNER], GgmlDType::Q5_0),
            ] {
                draft.tensor(&format!("blk.{layer}.{name}.weight"), &shape, kind);
            }
        }
        draft
    }

    /// Sets or replaces a metadata value.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.remove(key);
        self.metadata.push((key.to_owned(), value));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.metadata.retain(|(name, _)| name != key);
        self.tensors.retain(|(name, _)| name != key);
    }

    /// Sets or replaces a tensor by random numbers.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize], kind: GgmlDType) {
        self.put(name, &Tensor::randn(0.0_f32, 0.5, shape, &Device::Cpu).unwrap(), kind);
    }

    pub(crate) fn put(&mut self, name: &str, tensor: &Tensor, kind: GgmlDType) {
        self.remove(name);
        self.tensors.push((name.to_owned(), QTensor::quantize(tensor, kind).unwrap()));
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let metadata: Vec<_> = self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        gguf_file::write(&mut out, &metadata, &tensors).unwrap();
        out.into_inner()
    }
}
