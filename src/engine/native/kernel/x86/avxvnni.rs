//! The products with AVX-VNNI: as [`super::avx512`], in registers half as wide.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::TILE;
use crate::engine::native::kernel::weights::{Bits, PANEL};

/// See [`crate::engine::native::kernel::Cpu::product`].
///
/// # Safety
/// The CPU has AVX2, AVX-VNNI, FMA and F16C. `panel` holds whole records; `codes`, `scales` and `sums` are a tile's,
/// for as many blocks; `rows` is 1 to [`TILE`].
#[target_feature(enable = "avx2,avxvnni,fma,f16c")]
pub unsafe fn product(
    bits: Bits,
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    rows: usize,
    out: &mut [[f32; PANEL]; TILE],
) {
    // Four rows at a time: their sums, in integers and in floats, fit into the sixteen registers.
    let mut first = 0;
    while first < rows {
        // SAFETY: as the caller promises.
        unsafe {
            match (bits, rows - first) {
                (Bits::Four, 1) => tile::<1, false>(panel, codes, scales, sums, out, first),
                (Bits::Four, 2) => tile::<2, false>(panel, codes, scales, sums, out, first),
                (Bits::Four, 3) => tile::<3, false>(panel, codes, scales, sums, out, first),
                (Bits::Four, _) => tile::<4, false>(panel, codes, scales, sums, out, first),
                (Bits::Eight, 1) => tile::<1, true>(panel, codes, scales, sums, out, first),
                (Bits::Eight, 2) => tile::<2, true>(panel, codes, scales, sums, out, first),
                (Bits::Eight, 3) => tile::<3, true>(panel, codes, scales, sums, out, first),
                (Bits::Eight, _) => tile::<4, true>(panel, codes, scales, sums, out, first),
            }
        }
        first += 4;
    }
}

#[target_feature(enable = "avx2,avxvnni,fma,f16c")]
#[inline]
unsafe fn tile<const R: usize, const EIGHT: bool>(
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    out: &mut [[f32; PANEL]; TILE],
    first: usize,
) {
    let size = if EIGHT { Bits::Eight.record() } else { Bits::Four.record() };
    let blocks = panel.len() / size;
    let nibble = _mm256_set1_epi8(15);
    for half in 0..2 {
        // SAFETY: every read stays in the record, in the block's codes and in the block's scales.
        unsafe {
            let mut total = [_mm256_setzero_ps(); R];
            for r in 0..R {
                total[r] = _mm256_loadu_ps(out.get_unchecked(first + r).as_ptr().add(half * 8));
            }
            for block in 0..blocks {
                let record = panel.as_ptr().add(block * size);
                let a = codes.as_ptr().add((block * 8 * TILE + first) * 4);
                let quad = |v: usize, r: usize| {
                    _mm256_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned())
                };
                let mut acc = [_mm256_setzero_si256(); R];
                if EIGHT {
                    for v in 0..8 {
                        let w = _mm256_loadu_si256(record.add(64 + v * 64 + half * 32).cast());
                        for r in 0..R {
                            acc[r] = _mm256_dpbusd_avx_epi32(acc[r], w, quad(v, r));
                        }
                    }
                } else {
                    for v in 0..4 {
                        let w = _mm256_loadu_si256(record.add(64 + v * 64 + half * 32).cast());
                        let low = _mm256_and_si256(w, nibble);
                        let high = _mm256_and_si256(_mm256_srli_epi32::<4>(w), nibble);
                        for r in 0..R {
                            acc[r] = _mm256_dpbusd_avx_epi32(acc[r], low, quad(v, r));
                        }
                        for r in 0..R {
                            acc[r] = _mm256_dpbusd_avx_epi32(acc[r], high, quad(v + 4, r));
                        }
                    }
                }
                let d = _mm256_cvtph_ps(_mm_loadu_si128(record.add(half * 16).cast()));
                let m = _mm256_cvtph_ps(_mm_loadu_si128(record.add(32 + half * 16).cast()));
                for r in 0..R {
                    let at = block * TILE + first + r;
                    let scaled =
                        _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r]), _mm256_set1_ps(*scales.get_unchecked(at)));
                    total[r] = _mm256_fmadd_ps(scaled, d, total[r]);
                    total[r] = _mm256_fmadd_ps(m, _mm256_set1_ps(*sums.get_unchecked(at)), total[r]);
                }
            }
            for r in 0..R {
                _mm256_storeu_ps(out.get_unchecked_mut(first + r).as_mut_ptr().add(half * 8), total[r]);
            }
        }
    }
}
