//! What a sound file says.

use std::fs;

use candle_core::quantized::{GgmlDType, gguf_file};
use candle_core::{DType, Device, Tensor};

use crate::testing::{Draft, HEAD_DIM, HEADS, HIDDEN, KV_HEADS, real_gguf};
use crate::{Architecture, Checkpoint, Llama3Rope, RopeScaling};

fn open(draft: &Draft) -> Checkpoint {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, draft.bytes()).unwrap();
    Checkpoint::open(file.path()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn reads_sizes_names_and_weights() {
    let draft = Draft::new();
    let checkpoint = open(&draft);
    let config = checkpoint.config();
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (261, 64, 96));
    assert_eq!((config.layers, config.heads, config.kv_heads, config.head_dim), (2, 4, 2, 16));
    assert_eq!((config.max_position, config.rms_norm_eps, config.rope_theta), (512, 1e-5, 10_000.0));
    assert_eq!((config.rope_scaling, config.sliding_window), (None, None));
    assert_eq!((config.bos_token, config.eos_tokens.as_slice()), (Some(259), [260].as_slice()));
    assert!(config.tie_word_embeddings && !checkpoint.has_tensor("lm_head.weight"));
    assert_eq!((checkpoint.name(), checkpoint.chat_template()), ("Tiny", Some("{{ messages }}")));

    let names = [
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("blk.0.attn_norm", "model.layers.0.input_layernorm"),
        ("blk.1.ffn_norm", "model.layers.1.post_attention_layernorm"),
        ("blk.1.attn_v", "model.layers.1.self_attn.v_proj"),
        ("blk.0.attn_output", "model.layers.0.self_attn.o_proj"),
        ("blk.0.ffn_gate", "model.layers.0.mlp.gate_proj"),
        ("blk.1.ffn_up", "model.layers.1.mlp.up_proj"),
        ("blk.1.ffn_down", "model.layers.1.mlp.down_proj"),
    ];
    for (gguf, name) in names {
        let (_, theirs) = draft.tensors.iter().find(|(n, _)| *n == format!("{gguf}.weight")).unwrap();
        let ours = checkpoint.tensor(&format!("{name}.weight")).unwrap();
        assert_eq!(ours.shape, theirs.shape().dims(), "{name}");
        assert_eq!(ours.data, values(&theirs.dequantize(&Device::Cpu).unwrap()), "{name}");
    }
    let error = checkpoint.tensor("model.layers.9.mlp.up_proj.weight").unwrap_err().to_string();
    assert!(error.ends_with("tensor `model.layers.9.mlp.up_proj.weight` is missing"), "{error}");
}

/// Writes half-split weights the way that llama.cpp's converter does, and gets them back.
#[test]
fn undoes_the_converters_permutation() {
    let mut draft = Draft::new();
    let mut written = Vec::new();
    for (gguf, name, heads) in [("attn_q", "q_proj", HEADS), ("attn_k", "k_proj", KV_HEADS)] {
        let half_split = Tensor::randn(0.0_f32, 1.0, (heads * HEAD_DIM, HIDDEN), &Device::Cpu).unwrap();
        let interleaved = half_split.reshape((heads, 2, HEAD_DIM / 2, HIDDEN)).unwrap();
        let interleaved = interleaved.transpose(1, 2).unwrap().contiguous().unwrap();
        let interleaved = interleaved.reshape((heads * HEAD_DIM, HIDDEN)).unwrap();
        draft.put(&format!("blk.1.{gguf}.weight"), &interleaved, GgmlDType::F32);
        written.push((format!("model.layers.1.self_attn.{name}.weight"), half_split));
    }
    let checkpoint = open(&draft);
    for (name, half_split) in written {
        assert_eq!(checkpoint.tensor(&name).unwrap().data, values(&half_split), "{name}");
    }
}

/// The rows fit the rotation: turning neighbours of the stored rows gives the same attention scores as turning
/// the two halves of ours.
#[test]
fn attention_scores_do_not_change() {
    let draft = Draft::new();
    let checkpoint = open(&draft);
    let input: Vec<f32> = (0..HIDDEN).map(|i| (i as f32 * 0.37).sin()).collect();
    let project = |weights: &[f32]| -> Vec<f32> {
        weights.chunks(HIDDEN).map(|row| row.iter().zip(&input).map(|(w, x)| w * x).sum()).collect()
    };
    // Turns the pairs of the first head by the angles of a position; `pair` says where partners are.
    let turned = |x: &[f32], position: f32, pair: &dyn Fn(usize) -> (usize, usize)| -> Vec<f32> {
        let mut out = x[..HEAD_DIM].to_vec();
        for i in 0..HEAD_DIM / 2 {
            let (sin, cos) = (position * 10_000_f32.powf(-2.0 * i as f32 / HEAD_DIM as f32)).sin_cos();
            let (a, b) = pair(i);
            (out[a], out[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
        }
        out
    };
    let stored = |name: &str| {
        let (_, tensor) = draft.tensors.iter().find(|(n, _)| n == name).unwrap();
        project(&values(&tensor.dequantize(&Device::Cpu).unwrap()))
    };
    let ours = |name: &str| project(&checkpoint.tensor(name).unwrap().data);
    let (q_stored, k_stored) = (stored("blk.0.attn_q.weight"), stored("blk.0.attn_k.weight"));
    let q_ours = ours("model.layers.0.self_attn.q_proj.weight");
    let k_ours = ours("model.layers.0.self_attn.k_proj.weight");
    let score = |q: &[f32], k: &[f32]| q.iter().zip(k).map(|(a, b)| a * b).sum::<f32>();
    for (q_at, k_at) in [(0.0, 0.0), (5.0, 2.0), (200.0, 13.0)] {
        let neighbours = |i| (2 * i, 2 * i + 1);
        let halves = |i| (i, i + HEAD_DIM / 2);
        let expected = score(&turned(&q_stored, q_at, &neighbours), &turned(&k_stored, k_at, &neighbours));
        let found = score(&turned(&q_ours, q_at, &halves), &turned(&k_ours, k_at, &halves));
        assert!((expected - found).abs() <= 1e-4 * expected.abs().max(1.0), "{found} for {expected}");
    }
}

#[test]
fn an_output_layer_of_its_own() {
    let mut draft = Draft::new();
    draft.tensor("output.weight", &[261, HIDDEN], GgmlDType::Q4_1);
    let checkpoint = open(&draft);
    assert!(!checkpoint.config().tie_word_embeddings);
    assert_eq!(checkpoint.tensor("lm_head.weight").unwrap().shape, [261, HIDDEN]);
}

#[test]
fn rope_scaling_of_every_kind() {
    use gguf_file::Value;
    let mut draft = Draft::new();
    draft.set("llama.rope.scaling.type", Value::String("linear".into()));
    draft.set("llama.rope.scaling.factor", Value::F32(4.0));
    assert_eq!(open(&draft).config().rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
    draft.set("llama.rope.scaling.type", Value::String("none".into()));
    assert_eq!(open(&draft).config().rope_scaling, None);

    // Factors of Llama 3 (8, 1, 4, 8192) for theta 10,000 and heads of 16: waves shorter than 2048 positions
    // are kept, those longer than 8192 are stretched eightfold, one is in between.
    let mut draft = Draft::new();
    let wavelength = |i: usize| std::f64::consts::TAU * 10_000_f64.powf(i as f64 / 8.0);
    let factors: Vec<f32> = (0..8)
        .map(|i| match wavelength(i) {
            w if w < 2048.0 => 1.0,
            w if w > 8192.0 => 8.0,
            w => {
                let smooth = (8192.0 / w - 1.0) / 3.0;
                (1.0 / ((1.0 - smooth) / 8.0 + smooth)) as f32
            }
        })
        .collect();
    assert!(factors.contains(&8.0) && factors.iter().any(|&x| x > 1.0 && x < 8.0), "{factors:?}");
    draft.put("rope_freqs.weight", &Tensor::new(factors, &Device::Cpu).unwrap(), GgmlDType::F32);
    let checkpoint = open(&draft);
    let llama3 =
        Llama3Rope { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position: 8192 };
    assert_eq!(checkpoint.config().rope_scaling, Some(RopeScaling::Llama3(llama3)));
    assert!(!checkpoint.has_tensor("rope_freqs.weight"));
}

#[test]
fn crosses_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Checkpoint>();
}

/// The default model, against candle's reader.
#[test]
fn reads_the_real_checkpoint() {
    let path = real_gguf();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let config = checkpoint.config();
    assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (49_152, 576, 1536));
    assert_eq!((config.layers, config.heads, config.kv_heads, config.head_dim), (30, 9, 3, 64));
    assert_eq!((config.max_position, config.rope_theta), (8192, 100_000.0));
    assert_eq!((config.bos_token, config.eos_tokens.as_slice()), (Some(1), [0, 2].as_slice()));
    assert!(config.tie_word_embeddings);
    assert!(checkpoint.chat_template().unwrap().contains("<|im_start|>assistant"));
    assert_eq!(checkpoint.sha256(), "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");

    let mut file = fs::File::open(&path).unwrap();
    let content = gguf_file::Content::read(&mut file).unwrap();
    let mut theirs = |name: &str| {
        let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
        tensor.dequantize(&Device::Cpu).unwrap()
    };
    let last = 29;
    for (gguf, name) in [
        ("token_embd.weight".to_owned(), "model.embed_tokens.weight".to_owned()),
        ("output_norm.weight".to_owned(), "model.norm.weight".to_owned()),
        ("blk.0.attn_v.weight".to_owned(), "model.layers.0.self_attn.v_proj.weight".to_owned()),
        (format!("blk.{last}.ffn_down.weight"), format!("model.layers.{last}.mlp.down_proj.weight")),
    ] {
        assert_eq!(checkpoint.tensor(&name).unwrap().data, values(&theirs(&gguf)), "{name}");
    }
    let q = theirs("blk.7.attn_q.weight").reshape((9, 32, 2, 576)).unwrap().transpose(1, 2).unwrap();
    assert_eq!(checkpoint.tensor("model.layers.7.self_attn.q_proj.weight").unwrap().data, values(&q));
}
