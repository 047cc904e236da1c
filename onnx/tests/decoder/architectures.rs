//! Every architecture, tiny and random, against candle: prefill, a chunk after a past, rows of different
//! lengths in one step.

use npc_onnx::Precision;
use serde_json::json;

use crate::support::runner::{Run, Runner};
use crate::support::tiny::{Random, Tiny};
use crate::support::{candle, difference, import};

/// How far a logit may be from candle's; they spread over about ±4.
const TOLERANCE: f32 = 1e-3;

fn agrees(tiny: &Tiny) {
    let dir = tempfile::tempdir().unwrap();
    let tensors = tiny.tensors(17);
    let source = tiny.write(&dir.path().join("checkpoint"), &tensors);
    let model = import(&source, dir.path(), Precision::Fp32);
    let mut runner = Runner::open(&model, 4, 48);
    let tokens = Random(5).tokens(29, tiny.vocab);
    let expected = candle::tiny_logits(tiny, &tensors, &tokens);
    let check = |what: &str, position: usize, logits: &[f32]| {
        let off = difference(logits, &expected[position]);
        assert!(off <= TOLERANCE, "{}: {what}, position {position}: off by {off}", tiny.model_type);
    };

    for (i, logits) in runner.run(&Run::plain(0, &[&tokens[..]], &[0])).iter().enumerate() {
        check("whole", i, logits);
    }
    let mut start = 0;
    for end in [7, 8, 20, 29] {
        let chunk = runner.run(&Run::plain(1, &[&tokens[start..end]], &[start]));
        for (i, logits) in chunk.iter().enumerate() {
            check("in chunks", start + i, logits);
        }
        start = end;
    }
    let lengths = [3, 22, 1, 14];
    for (row, &length) in lengths.iter().enumerate() {
        runner.run(&Run::plain(row, &[&tokens[..length]], &[0]));
    }
    for step in 0..5 {
        let past: Vec<usize> = lengths.iter().map(|length| length + step).collect();
        let next: Vec<&[u32]> = past.iter().map(|&at| &tokens[at..=at]).collect();
        let logits = runner.run(&Run::plain(0, &next, &past));
        for (&at, logits) in past.iter().zip(&logits) {
            check("in a batch", at, logits);
        }
    }
}

#[test]
fn llama_agrees_with_candle() {
    agrees(&Tiny::new("llama"));
}

#[test]
fn llama_with_long_context_scaling_agrees_with_candle() {
    let rope_scaling = json!({
        "rope_type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    });
    agrees(&Tiny { rope_scaling: Some(rope_scaling), tied: true, ..Tiny::new("llama") });
}

#[test]
fn mistral_with_a_window_agrees_with_candle() {
    let mistral = Tiny::new("mistral");
    agrees(&Tiny { sliding_window: Some(6), head_dim: 32, ..mistral.clone() });
    agrees(&Tiny { kv_heads: 1, ..mistral });
}

#[test]
fn qwen2_agrees_with_candle() {
    agrees(&Tiny::new("qwen2"));
    agrees(&Tiny { tied: true, kv_heads: 4, ..Tiny::new("qwen2") });
}

#[test]
fn qwen3_agrees_with_candle() {
    agrees(&Tiny { head_dim: 32, tied: true, rope_theta: 1_000_000.0, ..Tiny::new("qwen3") });
    agrees(&Tiny { head_dim: 48, ..Tiny::new("qwen3") });
}
