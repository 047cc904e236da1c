//! The smaller precisions stay near fp32, in every architecture.

use npc_onnx::Precision;

use crate::support::import;
use crate::support::runner::{Run, Runner};
use crate::support::tiny::{Random, Tiny};

/// The root of the mean squared difference, relative to the logits' own.
fn distance(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    square(&mut pairs.map(|(a, b)| a - b)) / square(&mut expected.iter().flatten().copied())
}

fn stays_near(precision: Precision, limit: f32) {
    for model_type in ["llama", "mistral", "qwen2", "qwen3"] {
        let tiny = Tiny { tied: model_type == "llama", ..Tiny::new(model_type) };
        let dir = tempfile::tempdir().unwrap();
        let source = tiny.write(&dir.path().join("base"), &tiny.tensors(21));
        let tokens = Random(2).tokens(20, tiny.vocab);
        let mut logits = [Precision::Fp32, precision].into_iter().map(|precision| {
            let mut runner = Runner::open(&import(&source, dir.path(), precision), 2, 32);
            let mut logits = runner.run(&Run::plain(1, &[&tokens[..12]], &[0]));
            logits.extend(runner.run(&Run::plain(1, &[&tokens[12..]], &[12])));
            logits
        });
        let (expected, found) = (logits.next().unwrap(), logits.next().unwrap());
        let off = distance(&found, &expected);
        println!("{precision} {model_type}: {off:.5} from fp32");
        assert!(off > 0.0 && off < limit, "{precision} {model_type}: {off} from fp32");
    }
}

#[test]
fn int8_stays_near_fp32() {
    stays_near(Precision::Int8, 0.05);
}

/// The graph is made for CUDA; on the CPU, ONNX Runtime puts casts around what it has no kernel for.
#[test]
fn fp16_stays_near_fp32() {
    stays_near(Precision::Fp16, 0.01);
}
