//! Blocks of 32 elements with one half-precision scale. Where a byte holds two elements, its low half is one
//! of the first 16 and its high half one of the last 16.

use super::half_at;

/// Elements of a block.
const N: usize = 32;

/// Scale, 16 bytes of 4-bit numbers around 8.
pub(super) fn q4_0(block: &[u8; 18], y: &mut [f32; N]) {
    let scale = half_at(block, 0);
    for (i, &byte) in block[2..].iter().enumerate() {
        y[i] = scale * f32::from((byte & 15) as i8 - 8);
        y[i + 16] = scale * f32::from((byte >> 4) as i8 - 8);
    }
}

/// Scale, smallest value, 16 bytes of 4-bit numbers.
pub(super) fn q4_1(block: &[u8; 20], y: &mut [f32; N]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    for (i, &byte) in block[4..].iter().enumerate() {
        y[i] = scale * f32::from(byte & 15) + least;
        y[i + 16] = scale * f32::from(byte >> 4) + least;
    }
}

/// Scale, the 32 fifth bits, 16 bytes of 4-bit numbers; the 5-bit numbers are around 16.
pub(super) fn q5_0(block: &[u8; 22], y: &mut [f32; N]) {
    let scale = half_at(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (i, &byte) in block[6..].iter().enumerate() {
        y[i] = scale * f32::from((byte & 15 | fifth_bit(fifth, i)) as i8 - 16);
        y[i + 16] = scale * f32::from((byte >> 4 | fifth_bit(fifth, i + 16)) as i8 - 16);
    }
}

/// Scale, smallest value, the 32 fifth bits, 16 bytes of 4-bit numbers.
pub(super) fn q5_1(block: &[u8; 24], y: &mut [f32; N]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (i, &byte) in block[8..].iter().enumerate() {
        y[i] = scale * f32::from(byte & 15 | fifth_bit(fifth, i)) + least;
        y[i + 16] = scale * f32::from(byte >> 4 | fifth_bit(fifth, i + 16)) + least;
    }
}

/// Scale, 32 signed bytes.
pub(super) fn q8_0(block: &[u8; 34], y: &mut [f32; N]) {
    let scale = half_at(block, 0);
    for (y, &byte) in y.iter_mut().zip(&block[2..]) {
        *y = scale * f32::from(byte as i8);
    }
}

/// 16 where element `i` has its fifth bit set.
fn fifth_bit(bits: u32, i: usize) -> u8 {
    ((bits >> i & 1) as u8) << 4
}
