use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use serde_json::{Value as Json, json};

use crate::{Architecture, Checkpoint, ImportError, Llama3Rope, RopeScaling};

const VOCAB: usize = 40;
const HIDDEN: usize = 24;
const INNER: usize = 32;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
/// Not `HIDDEN / HEADS`: the sizes of q and of the hidden state may differ.
const HEAD_DIM: usize = 8;
const LAYERS: usize = 2;

/// A folder in the making.
struct Draft {
    config: Json,
    tensors: HashMap<String, Tensor>,
    /// Other files.
    files: HashMap<&'static str, String>,
}

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0.0_f32, 0.3, shape, &Device::Cpu).unwrap()
}

impl Draft {
    fn new(model_type: &str) -> Self {
        let config = json!({
            "architectures": ["ForCausalLM"],
            "model_type": model_type,
            "vocab_size": VOCAB,
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "head_dim": HEAD_DIM,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "hidden_act": "silu",
            "tie_word_embeddings": false,
            "bos_token_id": 1,
            "eos_token_id": 2,
        });
        let (q, kv) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
        let mut tensors = HashMap::from([
            ("model.embed_tokens.weight".to_owned(), random(&[VOCAB, HIDDEN])),
            ("model.norm.weight".to_owned(), random(&[HIDDEN])),
            ("lm_head.weight".to_owned(), random(&[VOCAB, HIDDEN])),
        ]);
        let mut of_layer = vec![
            ("input_layernorm.weight", vec![HIDDEN]),
            ("post_attention_layernorm.weight", vec![HIDDEN]),
            ("self_attn.q_proj.weight", vec![q, HIDDEN]),
            ("self_attn.k_proj.weight", vec![kv, HIDDEN]),
            ("self_attn.v_proj.weight", vec![kv, HIDDEN]),
            ("self_attn.o_proj.weight", vec![HIDDEN, q]),
            ("mlp.gate_proj.weight", vec![INNER, HIDDEN]),
            ("mlp.up_proj.weight", vec![INNER, HIDDEN]),
            ("mlp.down_proj.weight", vec![HIDDEN, INNER]),
        ];
        match model_type {
            "qwen2" => of_layer.extend([
                ("self_attn.q_proj.bias", vec![q]),
                ("self_attn.k_proj.bias", vec![kv]),
                ("self_attn.v_proj.bias", vec![kv]),
            ]),
            "qwen3" => of_layer.extend([
                ("self_attn.q_norm.weight", vec![HEAD_DIM]),
                ("self_attn.k_norm.weight", vec![HEAD_DIM]),
            ]),
            _ => {}
        }
        for layer in 0..LAYERS {
            let named =
                of_layer.iter().map(|(name, shape)| (format!("model.layers.{layer}.{name}"), random(shape)));
            tensors.extend(named);
        }
        Self { config, tensors, files: HashMap::new() }
    }

    fn set(mut self, key: &str, value: Json) -> Self {
        self.config[key] = value;
        self
    }

    fn file(mut self, name: &'static str, content: &impl ToString) -> Self {
        self.files.insert(name, content.to_string());
        self
    }

    fn write(&self, folder: &Path) {
        self.write_without_weights(folder);
        safetensors::save(&self.tensors, folder.join("model.safetensors")).unwrap();
    }

    fn write_without_weights(&self, folder: &Path) {
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        for (name, content) in &self.files {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    /// Splits the weights over two files.
    fn write_sharded(&self, folder: &Path) {
        self.write_without_weights(folder);
        let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let mut map = HashMap::new();
        let mut shards = [HashMap::new(), HashMap::new()];
        for (name, tensor) in &self.tensors {
            let which = usize::from(name.contains("layers.1"));
            map.insert(name, names[which]);
            shards[which].insert(name.clone(), tensor.clone());
        }
        for (shard, name) in shards.iter().zip(names) {
            safetensors::save(shard, folder.join(name)).unwrap();
        }
        let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }

    fn open(&self) -> Result<Checkpoint, ImportError> {
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path());
        Checkpoint::open(folder.path())
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn has_weights_of(checkpoint: &Checkpoint, draft: &Draft) {
    for (name, theirs) in &draft.tensors {
        let ours = checkpoint.tensor(name).unwrap();
        assert_eq!(ours.shape, theirs.dims(), "{name}");
        assert_eq!(ours.data, values(theirs), "{name}");
    }
}

#[test]
fn every_family_comes_back() {
    for (model_type, architecture) in [
        ("llama", Architecture::Llama),
        ("mistral", Architecture::Mistral),
        ("qwen2", Architecture::Qwen2),
        ("qwen3", Architecture::Qwen3),
    ] {
        let draft = Draft::new(model_type);
        let checkpoint = draft.open().unwrap();
        let config = checkpoint.config();
        assert_eq!(config.architecture, architecture);
        assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (VOCAB, HIDDEN, INNER));
        assert_eq!((config.layers, config.heads, config.kv_heads, config.head_dim), (2, 4, 2, 8));
        assert_eq!((config.max_position, config.rms_norm_eps, config.rope_theta), (256, 1e-6, 1e6));
        assert_eq!((config.rope_scaling, config.sliding_window), (None, None));
        assert_eq!((config.bos_token, config.eos_tokens.as_slice()), (Some(1), [2].as_slice()));
        assert!(!config.tie_word_embeddings);
        has_weights_of(&checkpoint, &draft);
    }
}

#[test]
fn every_element_type_and_shards() {
    for (which, kind) in [DType::F32, DType::F16, DType::BF16].into_iter().enumerate() {
        let mut draft = Draft::new("llama");
        for tensor in draft.tensors.values_mut() {
            *tensor = tensor.to_dtype(kind).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        draft.write_sharded(folder.path());
        let sharded = Checkpoint::open(folder.path()).unwrap();
        has_weights_of(&sharded, &draft);
        assert_ne!(sharded.sha256(), draft.open().unwrap().sha256(), "{which}");
    }
}

#[test]
fn rope_windows_and_ties() {
    let llama3 = json!({
        "rope_type": "llama3", "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let scaled = Draft::new("llama").set("rope_scaling", llama3).open().unwrap();
    let expected =
        Llama3Rope { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position: 8192 };
    assert_eq!(scaled.config().rope_scaling, Some(RopeScaling::Llama3(expected)));
    let newer = json!({"rope_type": "linear", "factor": 2, "rope_theta": 500});
    let newer =
        Draft::new("llama").set("rope_theta", Json::Null).set("rope_parameters", newer).open().unwrap();
    assert_eq!(newer.config().rope_scaling, Some(RopeScaling::Linear { factor: 2.0 }));
    assert_eq!(newer.config().rope_theta.to_bits(), 500_f32.to_bits());

    let window = |draft: Draft| draft.open().unwrap().config().sliding_window;
    assert_eq!(window(Draft::new("mistral").set("sliding_window", json!(64))), Some(64));
    assert_eq!(window(Draft::new("mistral").set("sliding_window", Json::Null)), None);
    let qwen = |on| Draft::new("qwen2").set("sliding_window", json!(64)).set("use_sliding_window", json!(on));
    assert_eq!(window(qwen(false)), None);
    assert_eq!(window(qwen(true).set("max_window_layers", json!(0))), Some(64));
    assert_eq!(window(qwen(true).set("max_window_layers", json!(LAYERS))), None);
    let full = json!(vec!["full_attention"; LAYERS]);
    assert_eq!(window(qwen(true).set("layer_types", full)), None);

    // A copy of the embedding is no output layer where the configuration ties the two.
    let tied = Draft::new("qwen3").set("tie_word_embeddings", json!(true)).open().unwrap();
    assert!(tied.config().tie_word_embeddings && !tied.has_tensor("lm_head.weight"));
    let mut silent = Draft::new("qwen3").set("tie_word_embeddings", Json::Null);
    assert!(!silent.open().unwrap().config().tie_word_embeddings);
    silent.tensors.remove("lm_head.weight");
    assert!(silent.open().unwrap().config().tie_word_embeddings);
}

#[test]
fn end_tokens_and_templates_from_every_file() {
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [{
            "id": 7, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "model": {"type": "BPE", "vocab": {"a": 0, "<|im_end|>": 7}, "merges": []},
    });
    let settings = json!({"eos_token": {"content": "<|im_end|>"}, "chat_template": "old"});
    let draft = Draft::new("qwen2")
        .set("eos_token_id", json!([5, 2]))
        .file("generation_config.json", &json!({"eos_token_id": [5, 6], "temperature": 0.7}))
        .file("tokenizer_config.json", &settings)
        .file("tokenizer.json", &tokenizer);
    let checkpoint = draft.open().unwrap();
    assert_eq!(checkpoint.config().eos_tokens, [2, 5, 6, 7]);
    assert_eq!(checkpoint.chat_template(), Some("old"));
    let folder = tempfile::tempdir().unwrap();
    draft.write(folder.path());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.tokenizer_json().unwrap(), tokenizer.to_string());

    let named = json!({"chat_template": [
        {"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"},
    ]});
    let draft = draft.file("tokenizer_config.json", &named);
    assert_eq!(draft.open().unwrap().chat_template(), Some("plain"));
    let draft = draft.file("chat_template.jinja", &"new");
    assert_eq!(draft.open().unwrap().chat_template(), Some("new"));
}

#[test]
fn the_hash_covers_the_files_that_count() {
    let draft = Draft::new("llama").file("tokenizer.json", &"{}");
    let folder = tempfile::tempdir().unwrap();
    draft.write(folder.path());
    let hash = || Checkpoint::open(folder.path()).unwrap().sha256().to_owned();
    let first = hash();
    let lines: String = ["config.json", "model.safetensors", "tokenizer.json"]
        .map(|name| {
            let bytes = fs::read(folder.path().join(name)).unwrap();
            format!("{}  {name}\n", crate::checkpoint::files::sha256_hex(&bytes))
        })
        .concat();
    assert_eq!(first, crate::checkpoint::files::sha256_hex(lines.as_bytes()));
    fs::write(folder.path().join("README.md"), "about").unwrap();
    assert_eq!(hash(), first);
    fs::write(folder.path().join("chat_template.jinja"), "{{ messages }}").unwrap();
    assert_ne!(hash(), first);
    assert_eq!(crate::checkpoint::files::sha256_hex(b"abc")[..16], *"ba7816bf8f01cfea");
}

#[track_caller]
fn refuses(draft: &Draft, expected: &str) {
    match draft.open() {
        Err(ImportError::Unsupported { reason, .. }) if reason.contains(expected) => {}
        other => panic!("not refused as unsupported with `{expected}`: {other:?}"),
    }
}

#[track_caller]
fn is_invalid(draft: &Draft, expected: &str) {
    match draft.open() {
        Err(ImportError::Invalid { reason, .. }) if reason.contains(expected) => {}
        other => panic!("not invalid with `{expected}`: {other:?}"),
    }
}

#[test]
fn refuses_what_cannot_be_exported() {
    let llama = || Draft::new("llama");
    refuses(&llama().set("model_type", json!("gpt2")).set("hidden_size", Json::Null), "model_type is `gpt2`");
    refuses(&llama().set("hidden_act", json!("gelu")), "hidden_act is `gelu`");
    refuses(&llama().set("attention_bias", json!(true)), "attention_bias");
    refuses(&llama().set("mlp_bias", json!(true)), "mlp_bias");
    refuses(&llama().set("partial_rotary_factor", json!(0.5)), "partial_rotary_factor");
    refuses(&llama().set("quantization_config", json!({"bits": 4})), "quantization_config");
    refuses(&llama().set("rope_scaling", json!({"type": "yarn", "factor": 4})), "`yarn`");
    let mixed = Draft::new("qwen2").set("sliding_window", json!(8)).set("use_sliding_window", json!(true));
    refuses(&mixed.set("max_window_layers", json!(1)), "sliding_window Some(8) for 1 of 2 layers");
    let mut bias = llama();
    bias.tensors.insert("model.layers.0.self_attn.o_proj.bias".into(), random(&[HIDDEN]));
    refuses(&bias, "`model.layers.0.self_attn.o_proj.bias` has no place");
    let mut whole = llama();
    let norm = whole.tensors["model.norm.weight"].to_dtype(DType::F64).unwrap();
    whole.tensors.insert("model.norm.weight".into(), norm);
    refuses(&whole, "tensor `model.norm.weight` is F64");
    // Old checkpoints have these, and they are no weights.
    let mut old = llama();
    old.tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), random(&[4]));
    assert!(old.open().is_ok());
}

#[test]
fn names_what_is_wrong() {
    let llama = || Draft::new("llama");
    is_invalid(&llama().set("vocab_size", json!("many")), "`vocab_size`: invalid type");
    is_invalid(&llama().set("vocab_size", Json::Null), "`vocab_size`: invalid type");
    is_invalid(&llama().set("vocab_size", json!(39)), "`lm_head.weight` has shape [40, 24]");
    is_invalid(&llama().set("num_attention_heads", json!(0)), "heads: must be from 1");
    is_invalid(&llama().set("num_hidden_layers", json!(1_000_000)), "layers: must be from 1 to 1024");
    is_invalid(&llama().set("head_dim", json!(7)), "head_dim: must be even");
    is_invalid(&llama().set("rms_norm_eps", json!(-1)), "rms_norm_eps");
    is_invalid(&llama().set("eos_token_id", json!(40)), "token 40 is outside");
    is_invalid(&llama().set("rope_scaling", json!({"type": "llama3", "factor": 8})), "original_max_position");
    is_invalid(
        &llama().set("rope_parameters", json!({})).set("rope_theta", Json::Null),
        "`rope_theta` is missing",
    );
    is_invalid(&Draft::new("qwen2").set("num_key_value_heads", Json::Null), "num_key_value_heads is missing");
    is_invalid(&llama().file("generation_config.json", &"{"), "EOF");
    is_invalid(&llama().file("tokenizer_config.json", &"3"), "invalid type");
    let mut missing = Draft::new("qwen2");
    missing.tensors.remove("model.layers.1.self_attn.k_proj.bias");
    is_invalid(&missing, "`model.layers.1.self_attn.k_proj.bias` is missing");
    let mut turned = llama();
    let down = turned.tensors["model.layers.1.mlp.down_proj.weight"].t().unwrap().contiguous().unwrap();
    turned.tensors.insert("model.layers.1.mlp.down_proj.weight".into(), down);
    is_invalid(&turned, "has shape [32, 24]; the model's sizes ask for [24, 32]");
}

#[test]
fn damaged_and_missing_files() {
    let folder = tempfile::tempdir().unwrap();
    let reason = || Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(reason().contains("config.json"), "{}", reason());
    Draft::new("llama").write_without_weights(folder.path());
    assert!(reason().contains("neither `model.safetensors` nor"), "{}", reason());

    Draft::new("llama").write(folder.path());
    let weights = folder.path().join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    for len in [0, 7, 8, 100, whole.len() - 1] {
        fs::write(&weights, &whole[..len]).unwrap();
        assert!(reason().contains("model.safetensors: no whole safetensors file"), "{}", reason());
    }
    fs::write(&weights, &whole).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let error = checkpoint.tokenizer_json().unwrap_err();
    assert!(
        matches!(&error, ImportError::Io { .. }) && error.to_string().contains("tokenizer.json"),
        "{error}"
    );
    fs::write(folder.path().join("tokenizer.json"), "{\"model\": 3}").unwrap();
    let error = checkpoint.tokenizer_json().unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: no tokenizer"), "{error}");
    fs::write(folder.path().join("config.json"), b"\xff{}").unwrap();
    assert!(reason().contains("config.json: not UTF-8"), "{}", reason());
    fs::write(folder.path().join("config.json"), vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(reason().contains("longer than 1048576 bytes"), "{}", reason());
}

#[test]
fn damaged_index() {
    let folder = tempfile::tempdir().unwrap();
    Draft::new("llama").write_sharded(folder.path());
    let index = folder.path().join("model.safetensors.index.json");
    let whole: Json = serde_json::from_str(&fs::read_to_string(&index).unwrap()).unwrap();
    let reason = |change: &dyn Fn(&mut Json)| {
        let mut json = whole.clone();
        change(&mut json);
        fs::write(&index, json.to_string()).unwrap();
        Checkpoint::open(folder.path()).unwrap_err().to_string()
    };
    let moved =
        reason(&|json| json["weight_map"]["model.norm.weight"] = json!("model-00002-of-00002.safetensors"));
    assert!(moved.contains("tensor `model.norm.weight` is missing in `model-00002"), "{moved}");
    for name in ["../model-00001-of-00002.safetensors", "/etc/passwd", "..", ""] {
        let outside = reason(&|json| json["weight_map"]["model.norm.weight"] = json!(name));
        assert!(outside.contains("is no plain file name"), "{outside}");
    }
    let absent = reason(&|json| json["weight_map"]["x"] = json!("model-00003.safetensors"));
    assert!(absent.contains("model-00003.safetensors: No such file"), "{absent}");
    assert!(
        reason(&|json| json["weight_map"] = json!([])).contains("index.json: `weight_map`: invalid type")
    );
    fs::write(&index, "{").unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains("index.json: EOF"));
}
