//! The products with AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to 32 bits, a whole
//! panel at once.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{self, TILE};
use crate::engine::native::kernel::attention::{self, Head};
use crate::engine::native::kernel::lora::{self, Element, RANKS};
use crate::engine::native::kernel::weights::{Bits, PANEL};

compiled!("avx2,fma,f16c,avx512f,avx512bw,avx512vl");

/// See [`crate::engine::native::kernel::Cpu::product`].
///
/// # Safety
/// The CPU has AVX-512 F and VNNI. `panel` holds whole records; `codes`, `scales` and `sums` are a tile's, for as
/// many blocks; `rows` is 1 to [`TILE`].
#[target_feature(enable = "avx512f,avx512vnni")]
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
            $((Bits::Four, $n) => unsafe { tile::<$n, false>(panel, codes, scales, sums, out) },
              // SAFETY: as the caller promises.
              (Bits::Eight, $n) => unsafe { tile::<$n, true>(panel, codes, scales, sums, out) },)*
            _ => unreachable!("a tile has 1 to {TILE} rows"),
        } };
    }
    rows!(1 2 3 4 5 6 7 8);
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn tile<const R: usize, const EIGHT: bool>(
    panel: &[u8],
    codes: &[i8],
    scales: &[f32],
    sums: &[f32],
    out: &mut [[f32; PANEL]; TILE],
) {
    let size = if EIGHT { Bits::Eight.record() } else { Bits::Four.record() };
    let blocks = panel.len() / size;
    let nibble = _mm512_set1_epi8(15);
    // SAFETY: every read stays in the record, in the block's codes and in the block's scales.
    unsafe {
        let mut total = [_mm512_setzero_ps(); R];
        for r in 0..R {
            total[r] = _mm512_loadu_ps(out.get_unchecked(r).as_ptr());
        }
        for block in 0..blocks {
            let record = panel.as_ptr().add(block * size);
            let a = codes.as_ptr().add(block * 8 * TILE * 4);
            let quad = |v: usize, r: usize| {
                _mm512_set1_epi32(a.add((v * TILE + r) * 4).cast::<i32>().read_unaligned())
            };
            let mut acc = [_mm512_setzero_si512(); R];
            if EIGHT {
                for v in 0..8 {
                    let w = _mm512_loadu_si512(record.add(64 + v * 64).cast());
                    for r in 0..R {
                        acc[r] = _mm512_dpbusd_epi32(acc[r], w, quad(v, r));
                    }
                }
            } else {
                for v in 0..4 {
                    let w = _mm512_loadu_si512(record.add(64 + v * 64).cast());
                    let low = _mm512_and_si512(w, nibble);
                    let high = _mm512_and_si512(_mm512_srli_epi32::<4>(w), nibble);
                    for r in 0..R {
                        acc[r] = _mm512_dpbusd_epi32(acc[r], low, quad(v, r));
                    }
                    for r in 0..R {
                        acc[r] = _mm512_dpbusd_epi32(acc[r], high, quad(v + 4, r));
                    }
                }
            }
            let d = _mm512_cvtph_ps(_mm256_loadu_si256(record.cast()));
            let m = _mm512_cvtph_ps(_mm256_loadu_si256(record.add(32).cast()));
            for r in 0..R {
                let at = block * TILE + r;
                let scaled =
                    _mm512_mul_ps(_mm512_cvtepi32_ps(acc[r]), _mm512_set1_ps(*scales.get_unchecked(at)));
                total[r] = _mm512_fmadd_ps(scaled, d, total[r]);
                total[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(*sums.get_unchecked(at)), total[r]);
            }
        }
        for r in 0..R {
            _mm512_storeu_ps(out.get_unchecked_mut(r).as_mut_ptr(), total[r]);
        }
    }
}
