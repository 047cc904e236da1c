//! The products with AVX-512 VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to 32 bits, a whole
//! panel at once.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use crate::engine::native::kernel::acts::{self, GROUP, TILE, TileRef};
use crate::engine::native::kernel::attention::{self, Head, Query};
use crate::engine::native::kernel::lora::{self, Element, RANKS};
use crate::engine::native::kernel::math;
use crate::engine::native::kernel::stored::Stored;
use crate::engine::native::kernel::weights::{LINE, Line, PANEL};

compiled!("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni", super::attend::Avx512, super::attend::Avx512);

/// See [`crate::engine::native::kernel::Cpu::product`].
///
/// # Safety
/// The CPU has AVX-512 F and VNNI. `acts` has as many codes and groups as `lines` has inputs; `rows` is 1 to [`TILE`].
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn product(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    rows: usize,
    soon: [&[u8]; 2],
    out: &mut [[f32; PANEL]; TILE],
) {
    macro_rules! rows {
        ($($n:literal, $chains:literal;)*) => { match rows {
            // SAFETY: as the caller promises.
            $($n => unsafe { tile::<$n, $chains>(lines, scales, acts, soon, out) },)*
            _ => unreachable!("a tile has 1 to {TILE} rows"),
        } };
    }
    // Each addition takes four or five cycles and one may start in each: few rows are summed in several chains.
    rows!(1, 4; 2, 4; 3, 2; 4, 2; 5, 1; 6, 1; 7, 1; 8, 1;);
}

/// `R` rows, each group's sums in `C` parts.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn tile<const R: usize, const C: usize>(
    lines: &[Line],
    scales: &[f32; PANEL],
    acts: &TileRef<'_>,
    soon: [&[u8]; 2],
    out: &mut [[f32; PANEL]; TILE],
) {
    let mut total = [_mm512_setzero_ps(); R];
    let (groups, rest) = lines.as_chunks::<{ GROUP / LINE }>();
    for (group, lines) in groups.iter().enumerate() {
        // A little with each group: all at once they would wait for each other, and the products with them.
        for memory in soon {
            let share = memory.len().div_ceil(groups.len() * 64) * 64;
            let (start, end) = ((group * share).min(memory.len()), ((group + 1) * share).min(memory.len()));
            let mut at = start;
            while at < end {
                // SAFETY: it lies in the memory.
                _mm_prefetch::<_MM_HINT_T1>(unsafe { memory.as_ptr().add(at) }.cast());
                at += 64;
            }
        }
        // SAFETY: the group's codes, starts and scales are those of its lines, as the caller promises.
        unsafe { self::group::<R, C>(lines, group, acts, &mut total) };
    }
    if !rest.is_empty() {
        // SAFETY: as above.
        unsafe { self::group::<R, C>(rest, groups.len(), acts, &mut total) };
    }
    // SAFETY: the scales, and a row of `out`, are a register long.
    unsafe {
        let scales = _mm512_loadu_ps(scales.as_ptr());
        for r in 0..R {
            _mm512_storeu_ps(out[r].as_mut_ptr(), _mm512_mul_ps(total[r], scales));
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn group<const R: usize, const C: usize>(
    lines: &[Line],
    group: usize,
    acts: &TileRef<'_>,
    total: &mut [__m512; R],
) {
    // SAFETY: as the caller promises.
    unsafe {
        let codes = acts.codes.as_ptr().add(group * GROUP * TILE);
        let mut sums = [[_mm512_setzero_si512(); C]; R];
        for r in 0..R {
            sums[r][0] = _mm512_set1_epi32(*acts.starts.get_unchecked(group * TILE + r));
        }
        for (four, lines) in lines.chunks_exact(C).enumerate() {
            for c in 0..C {
                let weights = _mm512_load_si512(lines[c].0.as_ptr().cast());
                for r in 0..R {
                    let at = codes.add(((four * C + c) * TILE + r) * LINE);
                    let quad = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                    sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], weights, quad);
                }
            }
        }
        for r in 0..R {
            for c in 1..C {
                sums[r][0] = _mm512_add_epi32(sums[r][0], sums[r][c]);
            }
            let scale = _mm512_set1_ps(*acts.scales.get_unchecked(group * TILE + r));
            total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][0]), scale, total[r]);
        }
    }
}
