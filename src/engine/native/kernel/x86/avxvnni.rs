//! The products with AVX-VNNI: as [`super::avx512`], in registers half as wide.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{GROUP, TILE, TileRef};
use crate::engine::native::kernel::weights::{LINE, Line, PANEL};

/// See [`crate::engine::native::kernel::Cpu::product`].
///
/// # Safety
/// The CPU has AVX2, AVX-VNNI and FMA. `acts` has as many codes and groups as `lines` has inputs; `rows` is 1 to
/// [`TILE`].
#[target_feature(enable = "avx2,avxvnni,fma")]
pub unsafe fn product(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    rows: usize,
    out: &mut [[f32; PANEL]; TILE],
) {
    // Four rows at a time: their sums, in integers and in floats, fit into the sixteen registers.
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

#[target_feature(enable = "avx2,avxvnni,fma")]
#[inline]
unsafe fn tile<const R: usize>(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    out: &mut [[f32; PANEL]; TILE],
    first: usize,
) {
    for half in 0..2 {
        let mut total = [_mm256_setzero_ps(); R];
        for (group, lines) in lines.chunks(GROUP / LINE).enumerate() {
            // SAFETY: a group's codes, starts and scales are those of its lines, as the caller promises.
            unsafe {
                let codes = acts.codes.as_ptr().add(group * GROUP * TILE + first * LINE);
                let at = group * TILE + first;
                let mut sums = [_mm256_setzero_si256(); R];
                for r in 0..R {
                    sums[r] = _mm256_set1_epi32(*acts.starts.get_unchecked(at + r));
                }
                for (quad, line) in lines.iter().enumerate() {
                    let weights = _mm256_load_si256(line.0.as_ptr().add(half * 32).cast());
                    for r in 0..R {
                        let four = codes.add((quad * TILE + r) * LINE).cast::<i32>().read_unaligned();
                        sums[r] = _mm256_dpbusd_avx_epi32(sums[r], weights, _mm256_set1_epi32(four));
                    }
                }
                for r in 0..R {
                    let scale = _mm256_set1_ps(*acts.scales.get_unchecked(at + r));
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
