//! Stored weights → f32, for every element type that a checkpoint may use.
//!
//! ```text
//! types       the element types: ids, names, block sizes
//! legacy      blocks of 32 with one scale (Q4_0 … Q8_0)
//! k_quants    super-blocks of 256 with scales of scales (Q4_K, Q5_K, Q6_K)
//! ```

mod k_quants;
mod legacy;
#[cfg(test)]
mod tests;
mod types;

use half::{bf16, f16};
use rayon::prelude::*;
pub(crate) use types::{ElementType, unsupported_gguf_name};

/// Rows of a tensor are shared out over threads in pieces of at least this many elements: below it, handing
/// out the work costs more than doing it.
const MIN_ELEMENTS_PER_TASK: usize = 1 << 15;

/// Decodes the rows of a matrix. Row `r` of the result is row `source_row(r)` of `bytes`, which lets a caller
/// reorder rows without a second copy.
///
/// `bytes` holds `rows` rows of `columns` elements and `columns` is a whole number of blocks: the readers
/// check both when they open a file.
///
/// # Panics
/// When `bytes` is shorter than that, or `source_row` answers a row that is not there.
pub(crate) fn dequantize_rows(
    element: ElementType,
    bytes: &[u8],
    rows: usize,
    columns: usize,
    source_row: impl Fn(usize) -> usize + Sync,
) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    if out.is_empty() {
        return out;
    }
    let row_bytes = columns / element.block_elements() * element.block_bytes();
    out.par_chunks_mut(columns).with_min_len(MIN_ELEMENTS_PER_TASK.div_ceil(columns)).enumerate().for_each(
        |(r, row)| {
            let start = source_row(r) * row_bytes;
            dequantize(element, &bytes[start..start + row_bytes], row);
        },
    );
    out
}

/// Decodes whole blocks into `out`, which has room for exactly the elements of `bytes`.
fn dequantize(element: ElementType, bytes: &[u8], out: &mut [f32]) {
    use ElementType::{BF16, F16, F32, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    match element {
        F32 => each_block(bytes, out, |b: &[u8; 4], y: &mut [f32; 1]| y[0] = f32::from_le_bytes(*b)),
        F16 => each_block(bytes, out, |b: &[u8; 2], y: &mut [f32; 1]| y[0] = f16::from_le_bytes(*b).to_f32()),
        BF16 => {
            each_block(bytes, out, |b: &[u8; 2], y: &mut [f32; 1]| y[0] = bf16::from_le_bytes(*b).to_f32());
        }
        Q4_0 => each_block(bytes, out, legacy::q4_0),
        Q4_1 => each_block(bytes, out, legacy::q4_1),
        Q5_0 => each_block(bytes, out, legacy::q5_0),
        Q5_1 => each_block(bytes, out, legacy::q5_1),
        Q8_0 => each_block(bytes, out, legacy::q8_0),
        Q4K => each_block(bytes, out, k_quants::q4_k),
        Q5K => each_block(bytes, out, k_quants::q5_k),
        Q6K => each_block(bytes, out, k_quants::q6_k),
    }
}

/// Decodes block after block with `decode`; both lengths are whole numbers of blocks.
fn each_block<const BYTES: usize, const ELEMENTS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    let (blocks, rest) = bytes.as_chunks::<BYTES>();
    let (outs, out_rest) = out.as_chunks_mut::<ELEMENTS>();
    debug_assert!(rest.is_empty() && out_rest.is_empty() && blocks.len() == outs.len());
    for (block, y) in blocks.iter().zip(outs) {
        decode(block, y);
    }
}

/// The half-precision number at `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
