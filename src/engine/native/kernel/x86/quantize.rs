//! Quantization of activations, which the compiler does not vectorize by itself.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{BLOCK, GROUP, ROUND, TILE, TileMut};

/// Registers of a block.
const REGISTERS: usize = BLOCK / 8;

/// See [`TileMut::quantize`].
///
/// # Safety
/// The CPU has AVX2 and FMA.
// Loops instead of `map`: a closure is compiled without the features, and called.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn avx2(tile: &mut TileMut<'_>, row: usize, values: &[f32]) {
    let round = _mm256_set1_ps(ROUND);
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (group, values) in values.chunks(GROUP).enumerate() {
        let blocks = values.as_chunks::<BLOCK>().0;
        let (scale, inverse) = TileMut::scale(largest(blocks));
        let inverse = _mm256_set1_ps(inverse);
        let mut sums = _mm256_setzero_si256();
        for (block, values) in blocks.iter().enumerate() {
            let mut codes = [_mm256_setzero_si256(); REGISTERS];
            for i in 0..REGISTERS {
                // SAFETY: the read stays in the block.
                let x = unsafe { _mm256_loadu_ps(values.as_ptr().add(i * 8)) };
                let rounded = _mm256_castps_si256(_mm256_fmadd_ps(x, inverse, round));
                codes[i] = _mm256_sub_epi32(rounded, _mm256_castps_si256(round));
            }
            let bytes = _mm256_packs_epi16(
                _mm256_packs_epi32(codes[0], codes[1]),
                _mm256_packs_epi32(codes[2], codes[3]),
            );
            // The packing works on both halves of a register by themselves.
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            let mut quads = [[0_i8; 4]; BLOCK / 4];
            // SAFETY: the quads are the register's 32 bytes.
            unsafe { _mm256_storeu_si256(quads.as_mut_ptr().cast(), bytes) };
            tile.store(group * (GROUP / BLOCK) + block, row, &quads);
        }
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)));
        tile.close(group, row, scale, sum);
    }
}

/// See [`TileMut::quantize`].
///
/// # Safety
/// The CPU has AVX-512 F, BW and VL.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl")]
pub unsafe fn avx512(tile: &mut TileMut<'_>, row: usize, values: &[f32]) {
    /// Registers of a group.
    const ALL: usize = GROUP / 16;
    let round = _mm512_set1_ps(ROUND);
    let (groups, rest) = values.as_chunks::<GROUP>();
    for (group, values) in groups.iter().enumerate() {
        let mut x = [_mm512_setzero_ps(); ALL];
        let mut largest = _mm512_setzero_ps();
        for i in 0..ALL {
            // SAFETY: the read stays in the group.
            x[i] = unsafe { _mm512_loadu_ps(values.as_ptr().add(i * 16)) };
            // In this order a NaN is passed over, as `f32::max` does.
            largest = _mm512_max_ps(_mm512_abs_ps(x[i]), largest);
        }
        let half = _mm256_max_ps(
            _mm512_castps512_ps256(largest),
            _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b11_10_11_10>(largest, largest)),
        );
        let quarter = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
        let pair = _mm_max_ps(quarter, _mm_movehl_ps(quarter, quarter));
        let (scale, inverse) = TileMut::scale(_mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair))));
        let inverse = _mm512_set1_ps(inverse);
        let mut sums = _mm512_setzero_si512();
        let mut quads = [[[0_i8; 4]; 4]; ALL];
        let flat = if tile.flat.is_empty() {
            &mut []
        } else {
            tile.flat[(group * TILE + row) * GROUP..][..GROUP].as_chunks_mut::<16>().0
        };
        for i in 0..ALL {
            let rounded = _mm512_castps_si512(_mm512_fmadd_ps(x[i], inverse, round));
            let codes = _mm512_sub_epi32(rounded, _mm512_castps_si512(round));
            // Of what is no number codes may be any.
            let codes =
                _mm512_max_epi32(_mm512_min_epi32(codes, _mm512_set1_epi32(127)), _mm512_set1_epi32(-128));
            sums = _mm512_add_epi32(sums, codes);
            let codes = _mm512_cvtepi32_epi8(codes);
            // SAFETY: the quads are the register's 16 bytes.
            unsafe { _mm_storeu_si128(quads[i].as_mut_ptr().cast(), codes) };
            if let Some(flat) = flat.get_mut(i) {
                // SAFETY: as above.
                unsafe { _mm_storeu_si128(flat.as_mut_ptr().cast(), codes) };
            }
        }
        let own = &mut tile.codes[group * GROUP * TILE..][..GROUP * TILE];
        for (codes, quad) in own.as_chunks_mut::<{ TILE * 4 }>().0.iter_mut().zip(quads.as_flattened()) {
            codes[row * 4..row * 4 + 4].copy_from_slice(quad);
        }
        tile.close(group, row, scale, _mm512_reduce_add_epi32(sums));
    }
    if !rest.is_empty() {
        // SAFETY: the CPU has more than that.
        unsafe { half_group(tile, row, groups.len(), rest) };
    }
}

/// The last group, if it is half as long.
#[target_feature(enable = "avx2,fma")]
unsafe fn half_group(tile: &mut TileMut<'_>, row: usize, group: usize, values: &[f32]) {
    let own = (group * GROUP * TILE, group * TILE);
    let mut part = TileMut {
        codes: &mut tile.codes[own.0..],
        scales: &mut tile.scales[own.1..],
        starts: &mut tile.starts[own.1..],
        flat: tile.flat.get_mut(own.1 * GROUP..).unwrap_or_default(),
    };
    // SAFETY: as the caller promises.
    unsafe { avx2(&mut part, row, values) };
}

/// The largest magnitude.
#[target_feature(enable = "avx2")]
#[inline]
fn largest(blocks: &[[f32; BLOCK]]) -> f32 {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let mut lanes = [_mm256_setzero_ps(); 2];
    for values in blocks {
        for i in 0..REGISTERS {
            // SAFETY: the read stays in the block.
            let x = unsafe { _mm256_loadu_ps(values.as_ptr().add(i * 8)) };
            // In this order a NaN is passed over, as `f32::max` does.
            lanes[i % 2] = _mm256_max_ps(_mm256_and_ps(x, magnitude), lanes[i % 2]);
        }
    }
    let lanes = _mm256_max_ps(lanes[0], lanes[1]);
    let largest = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
    _mm_cvtss_f32(_mm_max_ss(largest, _mm_movehdup_ps(largest)))
}
