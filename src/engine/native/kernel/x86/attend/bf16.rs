//! The inner loops of attention in `bf16` with AVX-512: the sums of up to twelve queries stay in registers, which the
//! compiler does not manage by itself.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use super::Avx512;
use crate::engine::native::kernel::attention::bf16::Inner;
use crate::engine::native::kernel::attention::{Head, PAGE};
use crate::engine::native::kernel::math::LANES;
use crate::engine::native::kernel::x86::LINE;

impl Inner for Avx512 {
    #[inline(always)]
    fn fetch(memory: &[u8]) {
        for line in memory.chunks(LINE) {
            // SAFETY: every x86-64 has this instruction, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }

    #[inline(always)]
    unsafe fn scores<const N: usize, const P: usize>(
        head: &Head<'_>,
        pages: &[u32; P],
        queries: &[[f32; N]],
        out: &mut [[[f32; PAGE]; N]; P],
    ) {
        // SAFETY: as the caller promises.
        unsafe { scores(head, pages, queries, out) }
    }

    #[inline(always)]
    unsafe fn weigh<const N: usize, const C: usize>(
        head: &Head<'_>,
        page: u32,
        count: usize,
        chunk: usize,
        weights: &[[f32; PAGE]; N],
        sums: &mut [[[f32; LANES]; N]; C],
    ) {
        // SAFETY: as the caller promises.
        unsafe { weigh(head, page, count, chunk, weights, sums) }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn scores<const N: usize, const P: usize>(
    head: &Head<'_>,
    pages: &[u32; P],
    queries: &[[f32; N]],
    out: &mut [[[f32; PAGE]; N]; P],
) {
    let mut keys = [std::ptr::null::<u16>(); P];
    for p in 0..P {
        keys[p] = head.keys::<u16>(pages[p]).numbers.as_ptr();
    }
    let mut sums = [[_mm512_setzero_ps(); N]; P];
    for (d, queries) in queries.iter().enumerate() {
        for p in 0..P {
            // SAFETY: there are as many keys of a page as queries, as the caller promises.
            let keys = unsafe { wide(keys[p].add(d * PAGE)) };
            for n in 0..N {
                sums[p][n] = _mm512_fmadd_ps(_mm512_set1_ps(queries[n]), keys, sums[p][n]);
            }
        }
    }
    let scale = _mm512_set1_ps((head.dim as f32).sqrt().recip());
    for p in 0..P {
        // SAFETY: a page's scales are a register long.
        let scales = unsafe { _mm512_loadu_ps(head.keys::<u16>(pages[p]).scales.as_ptr()) };
        let scale = _mm512_mul_ps(scales, scale);
        for n in 0..N {
            // SAFETY: so are its scores.
            unsafe { _mm512_storeu_ps(out[p][n].as_mut_ptr(), _mm512_mul_ps(sums[p][n], scale)) };
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn weigh<const N: usize, const C: usize>(
    head: &Head<'_>,
    page: u32,
    count: usize,
    chunk: usize,
    weights: &[[f32; PAGE]; N],
    sums: &mut [[[f32; LANES]; N]; C],
) {
    let values: *const u16 = head.values::<u16>(page).numbers.as_ptr();
    let mut own = [[_mm512_setzero_ps(); N]; C];
    for c in 0..C {
        for n in 0..N {
            // SAFETY: a sum is a register long.
            own[c][n] = unsafe { _mm512_loadu_ps(sums[c][n].as_ptr()) };
        }
    }
    for t in 0..count.min(PAGE) {
        for c in 0..C {
            // SAFETY: the head has this chunk, as the caller promises, and the page this token.
            let values = unsafe { wide(values.add(t * head.dim + (chunk + c) * LANES)) };
            for n in 0..N {
                own[c][n] = _mm512_fmadd_ps(_mm512_set1_ps(weights[n][t]), values, own[c][n]);
            }
        }
    }
    for c in 0..C {
        for n in 0..N {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(sums[c][n].as_mut_ptr(), own[c][n]) };
        }
    }
}

/// Reads [`LANES`] numbers.
///
/// # Safety
/// They can be read.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn wide(at: *const u16) -> __m512 {
    // SAFETY: as the caller promises.
    let values = unsafe { _mm256_loadu_si256(at.cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values)))
}
