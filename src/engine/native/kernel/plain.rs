//! The products in plain Rust: what every CPU runs, and what the vector versions must equal, bit for bit.

use half::f16;

use super::acts::{BLOCK, TILE};
use super::weights::{Bits, PANEL};

/// See [`super::Cpu::product`].
pub fn product(
    bits: Bits,
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    rows: usize,
    out: &mut [[f32; PANEL]; TILE],
) {
    for (block, record) in panel.chunks_exact(bits.record()).enumerate() {
        let half = |at: usize| f16::from_le_bytes([record[at * 2], record[at * 2 + 1]]).to_f32();
        let weights = &record[64..];
        for row in 0..rows {
            let scale = scales[block * TILE + row];
            let sum = sums[block * TILE + row];
            for column in 0..PANEL {
                let mut dot = 0_i32;
                for input in 0..BLOCK {
                    let code = code(bits, weights, column, input);
                    let at = ((block * BLOCK + input) / 4 * TILE + row) * 4 + input % 4;
                    dot += i32::from(code) * i32::from(codes[at]);
                }
                let out = &mut out[row][column];
                *out = (dot as f32 * scale).mul_add(half(column), *out);
                *out = half(PANEL + column).mul_add(sum, *out);
            }
        }
    }
}

/// The code of one weight of a record.
#[inline]
pub fn code(bits: Bits, weights: &[u8], column: usize, input: usize) -> u8 {
    let at = |input: usize| (input / 4 * PANEL + column) * 4 + input % 4;
    match bits {
        Bits::Eight => weights[at(input)],
        Bits::Four if input < BLOCK / 2 => weights[at(input)] & 15,
        Bits::Four => weights[at(input - BLOCK / 2)] >> 4,
    }
}
