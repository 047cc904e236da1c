//! The products with AVX2, for CPUs without VNNI.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs in 16 bits. A four-bit code times a signed byte
//! is at most 15 · 127, so a whole block (16 pairs in 16 lanes, 8 for each lane: 8 · 2 · 1,905 = 30,480) fits into
//! 16 bits, and only one widening is needed for a block. Eight-bit codes go as two four-bit halves.

use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{self, TILE, TileMut};
use crate::engine::native::kernel::attention::{self, Head};
use crate::engine::native::kernel::lora::{self, Element, RANKS};
use crate::engine::native::kernel::weights::{Bits, PANEL};

compiled!("avx2,fma,f16c");

/// See [`crate::engine::native::kernel::Cpu::product`].
///
/// # Safety
/// The CPU has AVX2, FMA and F16C. `panel` holds whole records; `codes`, `scales` and `sums` are a tile's, for as
/// many blocks; `rows` is 1 to [`TILE`].
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn product(
    bits: Bits,
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    rows: usize,
    out: &mut [[f32; PANEL]; TILE],
) {
    macro_rules! rows {
        ($($n:literal)*) => { match (bits, rows) {
            // SAFETY: as the caller promises.
            $((Bits::Four, $n) => unsafe { four::<$n>(panel, codes, scales, sums, out, 0) },)*
            (Bits::Eight, 1) => unsafe { eight::<1>(panel, codes, scales, sums, out, 0) },
            (Bits::Eight, 2) => unsafe { eight::<2>(panel, codes, scales, sums, out, 0) },
            (Bits::Eight, 3) => unsafe { eight::<3>(panel, codes, scales, sums, out, 0) },
            (Bits::Eight, 4) => unsafe { eight::<4>(panel, codes, scales, sums, out, 0) },
            (Bits::Eight, 5) => unsafe { eight::<4>(panel, codes, scales, sums, out, 0); eight::<1>(panel, codes, scales, sums, out, 4) },
            (Bits::Eight, 6) => unsafe { eight::<4>(panel, codes, scales, sums, out, 0); eight::<2>(panel, codes, scales, sums, out, 4) },
            (Bits::Eight, 7) => unsafe { eight::<4>(panel, codes, scales, sums, out, 0); eight::<3>(panel, codes, scales, sums, out, 4) },
            (Bits::Eight, 8) => unsafe { eight::<4>(panel, codes, scales, sums, out, 0); eight::<4>(panel, codes, scales, sums, out, 4) },
            _ => unreachable!("a tile has 1 to {TILE} rows"),
        } };
    }
    rows!(1 2 3 4 5 6 7 8);
}

/// Rows `first..first + R` of a tile, four-bit codes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn four<const R: usize>(
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    out: &mut [[f32; PANEL]; TILE],
    first: usize,
) {
    const RECORD: usize = Bits::Four.record();
    let blocks = panel.len() / RECORD;
    let nibble = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    for half in 0..2 {
        let mut total = [_mm256_setzero_ps(); R];
        // SAFETY: every read stays in the record, in the block's codes and in the block's scales.
        unsafe {
            for r in 0..R {
                total[r] = _mm256_loadu_ps(out.get_unchecked(first + r).as_ptr().add(half * 8));
            }
            for block in 0..blocks {
                let record = panel.as_ptr().add(block * RECORD);
                let a = codes.as_ptr().add(block * 8 * TILE * 4 + first * 4);
                let mut acc = [_mm256_setzero_si256(); R];
                for v in 0..4 {
                    let w = _mm256_loadu_si256(record.add(64 + v * 64 + half * 32).cast());
                    let low = _mm256_and_si256(w, nibble);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(w), nibble);
                    for r in 0..R {
                        let x = _mm256_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned());
                        acc[r] = _mm256_add_epi16(acc[r], _mm256_maddubs_epi16(low, x));
                    }
                    for r in 0..R {
                        let y =
                            _mm256_set1_epi32(a.add(((v + 4) * TILE + r) * 4).cast::<i32>().read_unaligned());
                        acc[r] = _mm256_add_epi16(acc[r], _mm256_maddubs_epi16(high, y));
                    }
                }
                let d = _mm256_cvtph_ps(_mm_loadu_si128(record.add(half * 16).cast()));
                let m = _mm256_cvtph_ps(_mm_loadu_si128(record.add(32 + half * 16).cast()));
                for r in 0..R {
                    let dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(acc[r], ones));
                    let at = block * TILE + first + r;
                    let scaled = _mm256_mul_ps(dot, _mm256_set1_ps(*scales.get_unchecked(at)));
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

/// Rows `first..first + R` of a tile, eight-bit codes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight<const R: usize>(
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    out: &mut [[f32; PANEL]; TILE],
    first: usize,
) {
    const RECORD: usize = Bits::Eight.record();
    let blocks = panel.len() / RECORD;
    let nibble = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let sixteens = _mm256_set1_epi16(16);
    for block in 0..blocks {
        // SAFETY: as in `four`.
        unsafe {
            let record = panel.as_ptr().add(block * RECORD);
            let a = codes.as_ptr().add(block * 8 * TILE * 4 + first * 4);
            for half in 0..2 {
                let mut lows = [_mm256_setzero_si256(); R];
                let mut highs = [_mm256_setzero_si256(); R];
                for v in 0..8 {
                    let w = _mm256_loadu_si256(record.add(64 + v * 64 + half * 32).cast());
                    let low = _mm256_and_si256(w, nibble);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(w), nibble);
                    for r in 0..R {
                        let x = _mm256_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned());
                        lows[r] = _mm256_add_epi16(lows[r], _mm256_maddubs_epi16(low, x));
                        highs[r] = _mm256_add_epi16(highs[r], _mm256_maddubs_epi16(high, x));
                    }
                }
                let d = _mm256_cvtph_ps(_mm_loadu_si128(record.add(half * 16).cast()));
                let m = _mm256_cvtph_ps(_mm_loadu_si128(record.add(32 + half * 16).cast()));
                for r in 0..R {
                    let dot = _mm256_add_epi32(
                        _mm256_madd_epi16(lows[r], ones),
                        _mm256_madd_epi16(highs[r], sixteens),
                    );
                    let at = block * TILE + first + r;
                    let scaled =
                        _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(*scales.get_unchecked(at)));
                    let o = out.get_unchecked_mut(first + r).as_mut_ptr().add(half * 8);
                    let sum = _mm256_fmadd_ps(scaled, d, _mm256_loadu_ps(o));
                    let sum = _mm256_fmadd_ps(m, _mm256_set1_ps(*sums.get_unchecked(at)), sum);
                    _mm256_storeu_ps(o, sum);
                }
            }
        }
    }
}
