//! The products with AVX2, for CPUs without VNNI.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs in 16 bits, where two products of codes up to 255
//! would not fit. So the weights' magnitudes are multiplied with activations that carry the weights' signs: at most
//! 2 · 127 · 127 = 32,258.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{self, GROUP, TILE, TileRef};
use crate::engine::native::kernel::attention::{self, Head, Query};
use crate::engine::native::kernel::lora::{self, Element, RANKS};
use crate::engine::native::kernel::math;
use crate::engine::native::kernel::stored::Stored;
use crate::engine::native::kernel::weights::{LINE, Line, PANEL};

compiled!("avx2,fma,f16c", super::attend::Avx2, attention::Plain);

/// See [`crate::engine::native::kernel::Cpu::product`].
///
/// # Safety
/// The CPU has AVX2 and FMA. `acts` has as many codes and groups as `lines` has inputs; `rows` is 1 to [`TILE`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn product(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    rows: usize,
    out: &mut [[f32; PANEL]; TILE],
) {
    // As many rows at a time as their sums fit into the sixteen registers.
    let mut first = 0;
    while first < rows {
        // SAFETY: as the caller promises.
        unsafe {
            match rows - first {
                1 => tile::<1>(lines, scales, acts, out, first),
                2 => tile::<2>(lines, scales, acts, out, first),
                3 => tile::<3>(lines, scales, acts, out, first),
                _ => tile::<4>(lines, scales, acts, out, first),
            }
        }
        first += 4;
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile<const R: usize>(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    out: &mut [[f32; PANEL]; TILE],
    first: usize,
) {
    let (ones, zero) = (_mm256_set1_epi16(1), _mm256_set1_epi8(i8::MIN));
    for half in 0..2 {
        let mut total = [_mm256_setzero_ps(); R];
        for (group, lines) in lines.chunks(GROUP / LINE).enumerate() {
            // SAFETY: a group's codes and scales are those of its lines, as the caller promises.
            unsafe {
                let codes = acts.codes.as_ptr().add(group * GROUP * TILE + first * LINE);
                let mut sums = [_mm256_setzero_si256(); R];
                for (quad, line) in lines.iter().enumerate() {
                    let weights = _mm256_load_si256(line.0.as_ptr().add(half * 32).cast());
                    let signed = _mm256_xor_si256(weights, zero);
                    let magnitudes = _mm256_abs_epi8(signed);
                    for r in 0..R {
                        let four = codes.add((quad * TILE + r) * LINE).cast::<i32>().read_unaligned();
                        let four = _mm256_sign_epi8(_mm256_set1_epi32(four), signed);
                        let pairs = _mm256_maddubs_epi16(magnitudes, four);
                        sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
                    }
                }
                for r in 0..R {
                    let scale = _mm256_set1_ps(*acts.scales.get_unchecked(group * TILE + first + r));
                    total[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r]), scale, total[r]);
                }
            }
        }
        for r in 0..R {
            // SAFETY: half of the scales, and half a row of `out`, are a register long.
            unsafe {
                let scaled = _mm256_mul_ps(total[r], _mm256_loadu_ps(scales.as_ptr().add(half * 8)));
                _mm256_storeu_ps(out[first + r].as_mut_ptr().add(half * 8), scaled);
            }
        }
    }
}
