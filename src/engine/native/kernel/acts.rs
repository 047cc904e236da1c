//! Activations in 8 bits: what the integer products multiply.

pub use npc_onnx::packed::BLOCK;

use super::math::{LANES, silu, sum_lanes};

/// Rows that are multiplied together.
pub const TILE: usize = 8;

/// Rows of activations, quantized for the products.
///
/// Rows stand in tiles of [`TILE`]: four values of each of a tile's rows, then the next four of each, so that the
/// product walks through memory in order. x ≈ scale · code, one scale for [`BLOCK`] values.
#[derive(Debug, Default)]
pub struct Activations {
    pub rows: usize,
    pub inputs: usize,
    /// `[tiles][inputs / 4][TILE][4]`
    pub codes: Vec<i8>,
    /// `[tiles][inputs / BLOCK][TILE]`
    pub scales: Vec<f32>,
    /// scale · Σ codes, laid out as `scales`: what a weight block's minimum is multiplied with.
    pub sums: Vec<f32>,
}

impl Activations {
    /// Makes room for `rows` rows of `inputs` values, a multiple of [`BLOCK`].
    pub fn resize(&mut self, rows: usize, inputs: usize) {
        debug_assert!(inputs.is_multiple_of(BLOCK));
        let tiles = rows.div_ceil(TILE);
        self.rows = rows;
        self.inputs = inputs;
        self.codes.resize(tiles * TILE * inputs, 0);
        self.scales.resize(tiles * TILE * (inputs / BLOCK), 0.0);
        self.sums.resize(tiles * TILE * (inputs / BLOCK), 0.0);
    }
}

/// One tile's part of [`Activations`].
#[derive(Debug)]
pub struct TileMut<'a> {
    pub codes: &'a mut [i8],
    pub scales: &'a mut [f32],
    pub sums: &'a mut [f32],
}

impl TileMut<'_> {
    /// Quantizes row `row` (below [`TILE`]) of the tile.
    #[inline(always)]
    pub fn quantize(&mut self, row: usize, values: &[f32]) {
        for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            let mut largest = [0.0_f32; LANES];
            for half in values.as_chunks::<LANES>().0 {
                for (largest, value) in largest.iter_mut().zip(half) {
                    *largest = largest.max(value.abs());
                }
            }
            let mut width = LANES / 2;
            while width > 0 {
                for i in 0..width {
                    largest[i] = largest[i].max(largest[i + width]);
                }
                width /= 2;
            }
            let scale = largest[0] / 127.0;
            // A block of zeros, or of numbers so small that their scale would be none. (NaN and infinity
            // come out as something finite; the caller's logits show them no more, as in any int8 kernel.)
            let inverse = if scale.is_normal() { scale.recip() } else { 0.0 };
            let mut codes = [0_i8; BLOCK];
            let mut sum = 0_i32;
            for (code, value) in codes.iter_mut().zip(values) {
                let rounded = (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i32;
                sum += rounded;
                *code = rounded as i8;
            }
            for (quad, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
                let at = ((block * (BLOCK / 4) + quad) * TILE + row) * 4;
                self.codes[at..at + 4].copy_from_slice(codes);
            }
            let scale = if scale.is_normal() { scale } else { 0.0 };
            self.scales[block * TILE + row] = scale;
            self.sums[block * TILE + row] = scale * sum as f32;
        }
    }
}

/// RMS norm (Zhang and Sennrich 2019): out = x / sqrt(mean(x²) + epsilon) · weight.
#[inline(always)]
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = x.mul_add(*x, *lane);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = x.mul_add(*x, *lane);
    }
    let inverse = (sum_lanes(lanes) / x.len() as f32 + epsilon).sqrt().recip();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * inverse * weight;
    }
}

/// SwiGLU (Shazeer 2020): out = silu(gate) · up, where `gate_up` holds the gates, then the ups.
#[inline(always)]
pub fn swiglu(gate_up: &[f32], out: &mut [f32]) {
    let (gate, up) = gate_up.split_at(out.len());
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = silu(*gate) * up;
    }
}
