//! Quantization of activations, which the compiler does not vectorize by itself.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{BLOCK, ROUND, TileMut};

/// See [`TileMut::quantize`].
///
/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn quantize(tile: &mut TileMut<'_>, row: usize, values: &[f32]) {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let round = _mm256_set1_ps(ROUND);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
        // SAFETY: a block has 32 values, eight for each register.
        let x: [__m256; 4] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(values.as_ptr().add(i * 8)) });
        let [a, b, c, d] = x.map(|x| _mm256_and_ps(x, magnitude));
        let largest = _mm256_max_ps(_mm256_max_ps(a, b), _mm256_max_ps(c, d));
        let largest = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps::<1>(largest));
        let largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
        let largest = _mm_cvtss_f32(_mm_max_ss(largest, _mm_movehdup_ps(largest)));
        let (scale, inverse) = TileMut::scale(largest);
        let inverse = _mm256_set1_ps(inverse);
        let codes = x.map(|x| {
            let rounded = _mm256_castps_si256(_mm256_fmadd_ps(x, inverse, round));
            _mm256_sub_epi32(rounded, _mm256_castps_si256(round))
        });
        let sum =
            _mm256_add_epi32(_mm256_add_epi32(codes[0], codes[1]), _mm256_add_epi32(codes[2], codes[3]));
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)));
        let bytes = _mm256_packs_epi16(
            _mm256_packs_epi32(codes[0], codes[1]),
            _mm256_packs_epi32(codes[2], codes[3]),
        );
        // The packing works on both halves of a register by themselves.
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        let mut quads = [[0_i8; 4]; BLOCK / 4];
        // SAFETY: the quads are the register's 32 bytes.
        unsafe { _mm256_storeu_si256(quads.as_mut_ptr().cast(), bytes) };
        tile.store(block, row, &quads, scale, sum);
    }
}
