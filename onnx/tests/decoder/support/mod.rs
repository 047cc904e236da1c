pub mod candle;
pub mod runner;
pub mod tiny;

use std::path::{Path, PathBuf};

use npc_onnx::Precision;

/// A variable that the test command sets.
fn variable(name: &str) -> PathBuf {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set; run `cargo xtask test`, which pulls what tests need"))
        .into()
}

/// ONNX Runtime's library.
pub fn runtime() -> PathBuf {
    variable("ORT_DYLIB_PATH")
}

/// The default model's GGUF file.
pub fn gguf() -> PathBuf {
    variable("NPC_GATEWAY_TEST_GGUF")
}

/// Imports into a new folder under `parent`.
pub fn import(source: &Path, parent: &Path, precision: Precision) -> PathBuf {
    let out = parent.join(precision.as_str());
    npc_onnx::import(source, &out, precision, &mut |_| {}).expect("the checkpoint imports");
    out
}

/// The largest difference between two lists of the same length.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The index of the largest value, and how far the next largest is below it.
pub fn best(logits: &[f32]) -> (u32, f32) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.select_nth_unstable_by(1, |&a, &b| logits[b].total_cmp(&logits[a]));
    (order[0] as u32, logits[order[0]] - logits[order[1]])
}

/// Natural logarithms of the probabilities, in 64 bits.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - largest).exp()).sum();
    let log_sum = sum.ln() + f64::from(largest);
    logits.iter().map(|&l| f64::from(l) - log_sum).collect()
}
