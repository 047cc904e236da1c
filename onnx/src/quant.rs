//! Eight-bit weights the way ONNX Runtime's `MatMulNBits` and `GatherBlockQuantized` read them: blocks of 32
//! along a row, one scale each, unsigned bytes around 128.

use rayon::prelude::*;

/// Weights that share one scale.
pub const BLOCK: usize = 32;

/// The byte that stands for zero: the operators' default zero point.
const ZERO: f32 = 128.0;

/// The largest step away from zero. -128 stays unused, so that a weight and its negative are equally exact.
const STEPS: f32 = 127.0;

/// A matrix in 8 bits: `w[r][c] ≈ (bytes[r][c] - 128) · scales[r][c / 32]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Row-major, `rows · columns`.
    pub bytes: Vec<u8>,
    /// Row-major, `rows · columns / 32`.
    pub scales: Vec<f32>,
}

/// Quantizes a row-major matrix whose rows are `columns` long, a multiple of [`BLOCK`].
///
/// Each weight comes out within half a step of its block's scale. Weights must be finite.
pub fn quantize(weights: &[f32], columns: usize) -> Quantized {
    debug_assert!(columns.is_multiple_of(BLOCK), "{columns} columns are no whole blocks");
    let mut bytes = vec![0; weights.len()];
    let mut scales = vec![0.0; weights.len() / BLOCK];
    // A row each is enough work for a thread, and blocks never cross rows.
    bytes
        .par_chunks_mut(columns)
        .zip(scales.par_chunks_mut(columns / BLOCK))
        .zip(weights.par_chunks(columns))
        .for_each(|((bytes, scales), row)| {
            let blocks = bytes.chunks_mut(BLOCK).zip(scales).zip(row.chunks(BLOCK));
            for ((bytes, scale), block) in blocks {
                *scale = quantize_block(block, bytes);
            }
        });
    Quantized { bytes, scales }
}

/// Fills `bytes` and returns the scale.
fn quantize_block(block: &[f32], bytes: &mut [u8]) -> f32 {
    let largest = block.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
    let scale = largest / STEPS;
    // A block of zeros, or of numbers so small that their scale would be none.
    let inverse = if scale.is_normal() { scale.recip() } else { 0.0 };
    for (byte, weight) in bytes.iter_mut().zip(block) {
        *byte = ((weight * inverse).round_ties_even().clamp(-STEPS, STEPS) + ZERO) as u8;
    }
    scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, quantize};

    fn dequantize(q: &super::Quantized) -> Vec<f32> {
        q.bytes.iter().enumerate().map(|(i, &b)| (f32::from(b) - 128.0) * q.scales[i / BLOCK]).collect()
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let q = quantize(&[0.0; 64], 64);
        assert!(q.bytes.iter().all(|&b| b == 128));
        assert_eq!(q.scales, [0.0, 0.0]);
    }

    #[test]
    fn the_largest_weight_is_exact_on_both_sides() {
        let mut block = [0.0; 32];
        (block[3], block[7]) = (-2.54, 2.54);
        let q = quantize(&block, 32);
        assert_eq!((q.bytes[3], q.bytes[7]), (1, 255));
        assert!((dequantize(&q)[7] - 2.54).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn every_weight_is_within_half_a_step(
            weights in prop::collection::vec(prop_oneof![-1e3_f32..1e3, -1e-3_f32..1e-3, Just(0.0)], 192),
        ) {
            let q = quantize(&weights, 96);
            for (i, (w, back)) in weights.iter().zip(dequantize(&q)).enumerate() {
                let step = q.scales[i / BLOCK];
                prop_assert!((w - back).abs() <= step * 0.5001, "{w} came back as {back}, step {step}");
            }
        }
    }
}
