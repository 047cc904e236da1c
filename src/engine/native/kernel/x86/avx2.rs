//! The products with AVX2, for CPUs without VNNI.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and adds pairs in 16 bits. A four-bit code times a signed byte
//! is at most 15 · 127, so a whole block (16 pairs in 16 lanes, 8 for each lane: 8 · 2 · 1,905 = 30,480) fits into
//! 16 bits, and only one widening is needed for a block. Eight-bit codes go as two four-bit halves.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{self, TILE};
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
    // As many rows at a time as their sums fit into the sixteen registers.
    let mut first = 0;
    while first < rows {
        // SAFETY: as the caller promises.
        first += unsafe {
            match (bits, rows - first) {
                (Bits::Four, 1) => four::<1>(panel, codes, scales, sums, out, first),
                (Bits::Four, 2) => four::<2>(panel, codes, scales, sums, out, first),
                (Bits::Four, 3) => four::<3>(panel, codes, scales, sums, out, first),
                (Bits::Four, _) => four::<4>(panel, codes, scales, sums, out, first),
                (Bits::Eight, 1) => eight::<1>(panel, codes, scales, sums, out, first),
                (Bits::Eight, _) => eight::<2>(panel, codes, scales, sums, out, first),
            }
        };
    }
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
) -> usize {
    const RECORD: usize = Bits::Four.record();
    let blocks = panel.len() / RECORD;
    let nibble = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    for block in 0..blocks {
        // SAFETY: every read stays in the record, in the block's codes and in the block's scales.
        unsafe {
            let record = panel.as_ptr().add(block * RECORD);
            let a = codes.as_ptr().add((block * 8 * TILE + first) * 4);
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            for v in 0..4 {
                let w0 = _mm256_loadu_si256(record.add(64 + v * 64).cast());
                let w1 = _mm256_loadu_si256(record.add(64 + v * 64 + 32).cast());
                let (x0, x1) = (_mm256_and_si256(w0, nibble), _mm256_and_si256(w1, nibble));
                for r in 0..R {
                    let x = _mm256_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned());
                    acc[r][0] = _mm256_add_epi16(acc[r][0], _mm256_maddubs_epi16(x0, x));
                    acc[r][1] = _mm256_add_epi16(acc[r][1], _mm256_maddubs_epi16(x1, x));
                    pin(&mut acc[r][0]);
                    pin(&mut acc[r][1]);
                }
                let w0 = _mm256_and_si256(_mm256_srli_epi16::<4>(w0), nibble);
                let w1 = _mm256_and_si256(_mm256_srli_epi16::<4>(w1), nibble);
                for r in 0..R {
                    let x = _mm256_set1_epi32(a.add(((v + 4) * TILE + r) * 4).cast::<i32>().read_unaligned());
                    acc[r][0] = _mm256_add_epi16(acc[r][0], _mm256_maddubs_epi16(w0, x));
                    acc[r][1] = _mm256_add_epi16(acc[r][1], _mm256_maddubs_epi16(w1, x));
                    pin(&mut acc[r][0]);
                    pin(&mut acc[r][1]);
                }
            }
            let d0 = _mm256_cvtph_ps(_mm_loadu_si128(record.cast()));
            let d1 = _mm256_cvtph_ps(_mm_loadu_si128(record.add(16).cast()));
            let m0 = _mm256_cvtph_ps(_mm_loadu_si128(record.add(32).cast()));
            let m1 = _mm256_cvtph_ps(_mm_loadu_si128(record.add(48).cast()));
            for r in 0..R {
                let at = block * TILE + first + r;
                let scale = _mm256_set1_ps(*scales.get_unchecked(at));
                let sum = _mm256_set1_ps(*sums.get_unchecked(at));
                let o = out.get_unchecked_mut(first + r).as_mut_ptr();
                let dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(acc[r][0], ones));
                let total = _mm256_fmadd_ps(_mm256_mul_ps(dot, scale), d0, _mm256_loadu_ps(o));
                _mm256_storeu_ps(o, _mm256_fmadd_ps(m0, sum, total));
                let dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(acc[r][1], ones));
                let total = _mm256_fmadd_ps(_mm256_mul_ps(dot, scale), d1, _mm256_loadu_ps(o.add(8)));
                _mm256_storeu_ps(o.add(8), _mm256_fmadd_ps(m1, sum, total));
            }
        }
    }
    R
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
) -> usize {
    const RECORD: usize = Bits::Eight.record();
    let blocks = panel.len() / RECORD;
    let nibble = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let sixteens = _mm256_set1_epi16(16);
    for block in 0..blocks {
        // SAFETY: as in `four`.
        unsafe {
            let record = panel.as_ptr().add(block * RECORD);
            let a = codes.as_ptr().add((block * 8 * TILE + first) * 4);
            let mut low = [[_mm256_setzero_si256(); 2]; R];
            let mut high = [[_mm256_setzero_si256(); 2]; R];
            for v in 0..8 {
                let w0 = _mm256_loadu_si256(record.add(64 + v * 64).cast());
                let w1 = _mm256_loadu_si256(record.add(64 + v * 64 + 32).cast());
                let (x0, x1) = (_mm256_and_si256(w0, nibble), _mm256_and_si256(w1, nibble));
                for r in 0..R {
                    let x = _mm256_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned());
                    low[r][0] = _mm256_add_epi16(low[r][0], _mm256_maddubs_epi16(x0, x));
                    low[r][1] = _mm256_add_epi16(low[r][1], _mm256_maddubs_epi16(x1, x));
                    pin(&mut low[r][0]);
                    pin(&mut low[r][1]);
                }
                let w0 = _mm256_and_si256(_mm256_srli_epi16::<4>(w0), nibble);
                let w1 = _mm256_and_si256(_mm256_srli_epi16::<4>(w1), nibble);
                for r in 0..R {
                    let x = _mm256_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned());
                    high[r][0] = _mm256_add_epi16(high[r][0], _mm256_maddubs_epi16(w0, x));
                    high[r][1] = _mm256_add_epi16(high[r][1], _mm256_maddubs_epi16(w1, x));
                    pin(&mut high[r][0]);
                    pin(&mut high[r][1]);
                }
            }
            for half in 0..2 {
                let d = _mm256_cvtph_ps(_mm_loadu_si128(record.add(half * 16).cast()));
                let m = _mm256_cvtph_ps(_mm_loadu_si128(record.add(32 + half * 16).cast()));
                for r in 0..R {
                    let at = block * TILE + first + r;
                    let low = _mm256_madd_epi16(low[r][half], ones);
                    let high = _mm256_madd_epi16(high[r][half], sixteens);
                    let dot = _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
                    let scaled = _mm256_mul_ps(dot, _mm256_set1_ps(*scales.get_unchecked(at)));
                    let o = out.get_unchecked_mut(first + r).as_mut_ptr().add(half * 8);
                    let total = _mm256_fmadd_ps(scaled, d, _mm256_loadu_ps(o));
                    _mm256_storeu_ps(o, _mm256_fmadd_ps(m, _mm256_set1_ps(*sums.get_unchecked(at)), total));
                }
            }
        }
    }
    R
}

/// Keeps a sum in its register: the compiler would otherwise add pairs first, and run out of registers.
#[target_feature(enable = "avx2")]
#[inline]
fn pin(sum: &mut __m256i) {
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!("/* {0} */", inout(ymm_reg) * sum, options(pure, nomem, nostack, preserves_flags));
    }
}
