//! Super-blocks of 256 elements: sub-blocks have small integer scales, which one half-precision number scales
//! in turn.

use super::half_at;

/// Elements of a super-block.
const N: usize = 256;

/// Scale of scales, scale of minima, 8 packed scales and minima, 128 bytes of 4-bit numbers.
pub(super) fn q4_k(block: &[u8; 144], y: &mut [f32; N]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    // 32 bytes hold two sub-blocks of 32 elements: one in the low halves, one in the high halves.
    for (pair, y) in y.chunks_exact_mut(64).enumerate() {
        let bytes = &block[16 + 32 * pair..][..32];
        let (low, high) = y.split_at_mut(32);
        let (s, m) = scale_and_min(&block[4..16], 2 * pair);
        for (y, &byte) in low.iter_mut().zip(bytes) {
            *y = scale * s * f32::from(byte & 15) - least * m;
        }
        let (s, m) = scale_and_min(&block[4..16], 2 * pair + 1);
        for (y, &byte) in high.iter_mut().zip(bytes) {
            *y = scale * s * f32::from(byte >> 4) - least * m;
        }
    }
}

/// As `q4_k`, with 32 bytes of fifth bits before the 4-bit numbers: bit `i` of byte `j` belongs to element
/// `j` of sub-block `i`.
pub(super) fn q5_k(block: &[u8; 176], y: &mut [f32; N]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    let fifth = &block[16..48];
    for (pair, y) in y.chunks_exact_mut(64).enumerate() {
        let bytes = &block[48 + 32 * pair..][..32];
        let (low, high) = y.split_at_mut(32);
        let sub = 2 * pair;
        let (s, m) = scale_and_min(&block[4..16], sub);
        for (y, (&byte, &bits)) in low.iter_mut().zip(bytes.iter().zip(fifth)) {
            *y = scale * s * f32::from(byte & 15 | (bits >> sub & 1) << 4) - least * m;
        }
        let (s, m) = scale_and_min(&block[4..16], sub + 1);
        for (y, (&byte, &bits)) in high.iter_mut().zip(bytes.iter().zip(fifth)) {
            *y = scale * s * f32::from(byte >> 4 | (bits >> (sub + 1) & 1) << 4) - least * m;
        }
    }
}

/// 128 bytes of low 4 bits, 64 bytes of high 2 bits, 16 signed scales of 16 elements each, scale of scales;
/// the 6-bit numbers are around 32.
pub(super) fn q6_k(block: &[u8; 210], y: &mut [f32; N]) {
    let scale = half_at(block, 208);
    for (half, y) in y.chunks_exact_mut(128).enumerate() {
        let low = &block[64 * half..][..64];
        let high = &block[128 + 32 * half..][..32];
        let scales = &block[192 + 8 * half..][..8];
        for (i, y) in y.iter_mut().enumerate() {
            // Elements 0..64 have their low bits in the low halves of the 64 bytes, 64..128 in the high halves;
            // the high bits of the four quarters lie side by side in the same 32 bytes.
            let quarter = i / 32;
            let low_bits = if i < 64 { low[i] & 15 } else { low[i - 64] >> 4 };
            let high_bits = high[i % 32] >> (2 * quarter) & 3;
            let number = (low_bits | high_bits << 4) as i8 - 32;
            *y = scale * f32::from(scales[i / 16] as i8) * f32::from(number);
        }
    }
}

/// The 6-bit scale and minimum of sub-block `sub` (0..8). The first four have theirs in the low 6 bits of
/// bytes 0..4 and 4..8; the last four have 4 bits in bytes 8..12 and the upper two in what the first left.
fn scale_and_min(packed: &[u8], sub: usize) -> (f32, f32) {
    let (scale, min) = if sub < 4 {
        (packed[sub] & 63, packed[sub + 4] & 63)
    } else {
        (packed[sub + 4] & 15 | packed[sub - 4] >> 6 << 4, packed[sub + 4] >> 4 | packed[sub] >> 6 << 4)
    };
    (f32::from(scale), f32::from(min))
}
