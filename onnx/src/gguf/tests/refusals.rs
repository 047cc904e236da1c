//! Sound files of the wrong kind, and files whose parts do not fit together.

use std::fs;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;

use crate::testing::{Draft, HEAD_DIM, HIDDEN, INNER};
use crate::{Checkpoint, ImportError};

fn open(change: impl FnOnce(&mut Draft)) -> Result<Checkpoint, ImportError> {
    let mut draft = Draft::new();
    change(&mut draft);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, draft.bytes()).unwrap();
    let opened = Checkpoint::open(file.path());
    if let Err(error) = &opened {
        let path = file.path().display().to_string();
        assert!(error.to_string().starts_with(&path), "the message names no file: {error}");
    }
    opened
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut Draft), expected: &str) {
    match open(change) {
        Err(ImportError::Unsupported { reason, .. }) if reason.contains(expected) => {}
        other => panic!("not refused as unsupported with `{expected}`: {other:?}"),
    }
}

#[track_caller]
fn is_invalid(change: impl FnOnce(&mut Draft), expected: &str) {
    match open(change) {
        Err(ImportError::Invalid { reason, .. }) if reason.contains(expected) => {}
        other => panic!("not invalid with `{expected}`: {other:?}"),
    }
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn other_kinds_of_model() {
    refuses(|d| d.set("general.architecture", text("gemma3")), "`general.architecture` is `gemma3`");
    is_invalid(|d| d.remove("general.architecture"), "`general.architecture` is missing");
    refuses(|d| d.set("split.count", Value::U16(3)), "split GGUF");
    refuses(|d| d.set("llama.expert_count", Value::U32(8)), "experts");
    refuses(|d| d.set("llama.attention.scale", Value::F32(0.1)), "`llama.attention.scale`");
    refuses(|d| d.set("llama.rope.dimension_count", Value::U32(8)), "`llama.rope.dimension_count` is 8");
    refuses(|d| d.set("llama.attention.value_length", Value::U32(8)), "`llama.attention.value_length`");
    refuses(|d| d.set("llama.rope.scaling.type", text("yarn")), "`yarn`");
    refuses(|d| d.tensor("blk.0.attn_q.bias", &[64], GgmlDType::F32), "tensor `blk.0.attn_q.bias`");
    refuses(|d| d.tensor("blk.0.ffn_up.weight", &[INNER, 256], GgmlDType::Q2K), "element type Q2_K");
    refuses(|d| d.tensor("rope_freqs.weight", &[HEAD_DIM / 2], GgmlDType::F32), "`rope_freqs.weight`");
    refuses(|d| d.set("llama.attention.causal", Value::Bool(false)), "only causal decoders");
}

#[test]
fn parts_that_do_not_fit() {
    is_invalid(|d| d.remove("llama.block_count"), "`llama.block_count` is missing");
    is_invalid(|d| d.set("llama.block_count", text("two")), "`llama.block_count`: a whole number");
    is_invalid(|d| d.set("llama.block_count", Value::I32(-1)), "`llama.block_count`: a whole number");
    is_invalid(|d| d.set("llama.block_count", Value::U32(0)), "layers: must be from 1");
    is_invalid(|d| d.set("llama.block_count", Value::U32(u32::MAX)), "layers: must be from 1");
    is_invalid(
        |d| d.set("llama.block_count", Value::U32(3)),
        "`model.layers.2.input_layernorm.weight` is missing",
    );
    is_invalid(|d| d.set("llama.attention.head_count", Value::U32(0)), "head_count");
    is_invalid(
        |d| d.set("llama.attention.head_count_kv", Value::U32(3)),
        "heads: 4 is no multiple of kv_heads 3",
    );
    is_invalid(|d| d.set("llama.rope.freq_base", Value::F32(f32::NAN)), "rope_theta");
    is_invalid(|d| d.set("llama.rope.scaling.factor", Value::F32(-2.0)), "rope scaling factor");
    is_invalid(|d| d.set("llama.attention.layer_norm_rms_epsilon", Value::F32(0.0)), "rms_norm_eps");
    is_invalid(|d| d.set("tokenizer.ggml.eos_token_id", Value::U32(261)), "token 261");
    is_invalid(|d| d.set("general.alignment", Value::U32(24)), "`general.alignment`");
    is_invalid(|d| d.remove("token_embd.weight"), "`token_embd.weight` is missing");
    is_invalid(|d| d.remove("blk.1.ffn_up.weight"), "`model.layers.1.mlp.up_proj.weight` is missing");
    is_invalid(
        |d| d.tensor("blk.1.ffn_up.weight", &[HIDDEN, INNER], GgmlDType::F32),
        "`model.layers.1.mlp.up_proj.weight` has shape [64, 96]; the model's sizes ask for [96, 64]",
    );
    is_invalid(
        |d| d.tensor("token_embd.weight", &[200, HIDDEN], GgmlDType::F32),
        "has 261 tokens; the embedding has 200",
    );
}

#[test]
fn heads_may_differ_by_layer_only_if_they_do_not() {
    let per_layer = |a, b| Value::Array(vec![Value::U32(a), Value::U32(b)]);
    let same = open(|d| d.set("llama.attention.head_count_kv", per_layer(2, 2))).unwrap();
    assert_eq!(same.config().kv_heads, 2);
    is_invalid(|d| d.set("llama.attention.head_count_kv", per_layer(2, 1)), "the same for every layer");
}

#[test]
fn a_path_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Checkpoint::open(&folder.path().join("none.gguf"));
    assert!(matches!(missing, Err(ImportError::Io { .. })), "{missing:?}");
    for content in [&b""[..], b"GGU", b"PK\x03\x04 a zip archive"] {
        let file = folder.path().join("other");
        fs::write(&file, content).unwrap();
        let opened = Checkpoint::open(&file).unwrap_err();
        assert!(opened.to_string().contains("does not begin with `GGUF`"), "{opened}");
    }
}
