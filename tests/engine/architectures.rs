//! The native decoder on every architecture that a checkpoint may have: biases, norms of queries and keys, windows.

use std::sync::Arc;

use npc_gateway::config::{self, KvPrecision};
use npc_gateway::engine::{Native, Portable};
use npc_onnx::{ModelFile, Precision};

use super::native::all_logits;
use super::support::{config, runtime};
use super::tiny::{Random, Tiny};

/// How far apart they are, as a share of how far the expected ones spread.
fn off(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let distance: f64 = found.iter().zip(expected).map(|(found, expected)| square(found - expected)).sum();
    (distance / expected.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}

/// Near the portable graph in fp32, and the same bits in chunks of any length.
fn agrees(tiny: &Tiny) {
    /// What 8 bits cost of weights that are random; what is left out costs tens of times as much.
    const TOLERANCE: f64 = 0.05;

    let dir = tempfile::tempdir().unwrap();
    let source = tiny.write(&dir.path().join("checkpoint"), &tiny.tensors(17));
    let tokens = Random(5).tokens(45, tiny.vocab);
    let (exact, int8) = (dir.path().join("fp32"), dir.path().join("int8"));
    npc_onnx::import(&source, &exact, Precision::Fp32, &mut |_| {}).unwrap();
    npc_onnx::import(&source, &int8, Precision::Int8, &mut |_| {}).unwrap();
    let config = config::Engine { context: tiny.max_position, rows: 2, ..config() };
    let model = Arc::new(ModelFile::read(&exact).unwrap());
    let mut portable = Portable::open(&runtime(), &exact, model, &config).unwrap();
    let expected = all_logits(&mut portable, &tokens, 45);
    for kv_precision in [KvPrecision::Int8, KvPrecision::Bf16] {
        let config = config::Engine { kv_precision, ..config.clone() };
        let model = Arc::new(ModelFile::read(&int8).unwrap());
        let mut native = Native::open(&runtime(), &int8, model, &config).unwrap();
        let whole = all_logits(&mut native, &tokens, 45);
        let off = off(&whole, &expected);
        println!("{}, {kv_precision:?}: off by {off:.4}", tiny.model_type);
        assert!(off < TOLERANCE, "{}, {kv_precision:?}: off by {off}", tiny.model_type);
        for chunk in [1, 4, 7] {
            let what = format!("{}, {kv_precision:?}, in chunks of {chunk}", tiny.model_type);
            assert!(all_logits(&mut native, &tokens, chunk) == whole, "{what}");
        }
    }
}

#[test]
fn llama_is_near_fp32() {
    agrees(&Tiny { tied: true, ..Tiny::new("llama") });
}

#[test]
fn mistral_with_a_window_is_near_fp32() {
    agrees(&Tiny { sliding_window: Some(6), head_dim: 32, ..Tiny::new("mistral") });
}

#[test]
fn qwen2_with_its_biases_is_near_fp32() {
    agrees(&Tiny::new("qwen2"));
}

#[test]
fn qwen3_with_its_norms_is_near_fp32() {
    agrees(&Tiny { head_dim: 32, ..Tiny::new("qwen3") });
}
