//! The inner loops of attention in 8 bits: with AVX-512 VNNI four products of bytes, or two of 16 bits, for each of
//! sixteen sums at once; with AVX2 the same in two steps.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use super::{Avx2, Avx512};
use crate::engine::native::kernel::attention::int8::{Inner, Weights, tokens_of};
use crate::engine::native::kernel::attention::{Head, PAGE};
use crate::engine::native::kernel::math::LANES;
use crate::engine::native::kernel::stored::{PAIR, QUAD};
use crate::engine::native::kernel::x86::ranks::dot_avx2;

macro_rules! inner {
    ($isa:ident, $scores:ident, $weigh:ident) => {
        impl Inner for $isa {
            #[inline(always)]
            unsafe fn scores<const N: usize, const P: usize>(
                head: &Head<'_>,
                pages: &[u32; P],
                queries: &[[[i8; QUAD]; N]],
                starts: &[i32; N],
                steps: &[f32; N],
                out: &mut [[[f32; PAGE]; N]; P],
            ) {
                // SAFETY: as the caller promises.
                unsafe { $scores(head, pages, queries, starts, steps, out) }
            }

            #[inline(always)]
            unsafe fn weigh<const N: usize, const C: usize>(
                head: &Head<'_>,
                table: &[u32],
                tokens: usize,
                chunk: usize,
                weights: &[[Weights; N]],
                totals: &mut [[[f32; LANES]; N]; C],
            ) {
                // SAFETY: as the caller promises.
                unsafe { $weigh(head, table, tokens, chunk, weights, totals) }
            }
        }
    };
}

inner!(Avx512, scores_avx512, weigh_avx512);
inner!(Avx2, scores_avx2, weigh_avx2);

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn scores_avx512<const N: usize, const P: usize>(
    head: &Head<'_>,
    pages: &[u32; P],
    queries: &[[[i8; QUAD]; N]],
    starts: &[i32; N],
    steps: &[f32; N],
    out: &mut [[[f32; PAGE]; N]; P],
) {
    let mut keys = [std::ptr::null::<i8>(); P];
    let mut sums = [[_mm512_setzero_si512(); N]; P];
    for p in 0..P {
        keys[p] = head.keys(pages[p]).numbers.as_ptr();
        for n in 0..N {
            sums[p][n] = _mm512_set1_epi32(starts[n]);
        }
    }
    for (quad, queries) in queries.iter().enumerate() {
        let mut codes = [_mm512_setzero_si512(); N];
        for n in 0..N {
            codes[n] = _mm512_set1_epi32(quad_of(&queries[n]));
        }
        for p in 0..P {
            // SAFETY: a page has as many quads of keys as a query, as the caller promises.
            let keys = unsafe { _mm512_loadu_si512(keys[p].add(quad * QUAD * PAGE).cast()) };
            for n in 0..N {
                sums[p][n] = _mm512_dpbusd_epi32(sums[p][n], keys, codes[n]);
            }
        }
    }
    for p in 0..P {
        // SAFETY: a page's scales are a register long.
        let scales = unsafe { _mm512_loadu_ps(head.keys::<i8>(pages[p]).scales.as_ptr()) };
        for n in 0..N {
            let step = _mm512_mul_ps(scales, _mm512_set1_ps(steps[n]));
            let scores = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[p][n]), step);
            // SAFETY: so are its scores.
            unsafe { _mm512_storeu_ps(out[p][n].as_mut_ptr(), scores) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn weigh_avx512<const N: usize, const C: usize>(
    head: &Head<'_>,
    table: &[u32],
    tokens: usize,
    chunk: usize,
    weights: &[[Weights; N]],
    totals: &mut [[[f32; LANES]; N]; C],
) {
    let mut own = [[_mm512_setzero_si512(); N]; C];
    for (page, (number, weights)) in table.iter().zip(weights).enumerate() {
        let values: *const i8 = head.values(*number).numbers.as_ptr();
        for pair in 0..tokens_of(page, tokens).div_ceil(PAIR) {
            let mut codes = [_mm512_setzero_si512(); N];
            for n in 0..N {
                // SAFETY: a page has weights for its tokens.
                codes[n] = unsafe { _mm512_set1_epi32(pair_of(&weights[n], pair)) };
            }
            for c in 0..C {
                // SAFETY: the head has this chunk, as the caller promises, and the page this pair of tokens.
                let values = unsafe {
                    let at = values.add((pair * head.dim + (chunk + c) * LANES) * PAIR);
                    _mm512_cvtepi8_epi16(_mm256_loadu_si256(at.cast()))
                };
                for n in 0..N {
                    own[c][n] = _mm512_dpwssd_epi32(own[c][n], values, codes[n]);
                }
            }
        }
    }
    for c in 0..C {
        for n in 0..N {
            // SAFETY: a total is a register long.
            unsafe {
                let total = totals[c][n].as_mut_ptr();
                let sum = _mm512_cvtepi32_ps(own[c][n]);
                _mm512_storeu_ps(total, _mm512_add_ps(_mm512_loadu_ps(total), sum));
            }
        }
    }
}

/// The codes of a quad.
#[inline(always)]
fn quad_of(codes: &[i8; QUAD]) -> i32 {
    // SAFETY: they are four bytes.
    unsafe { codes.as_ptr().cast::<i32>().read_unaligned() }
}

/// The weights of a pair of tokens.
///
/// # Safety
/// `pair` is less than a page's pairs.
#[inline(always)]
unsafe fn pair_of(weights: &Weights, pair: usize) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { weights.as_ptr().add(pair * PAIR).cast::<i32>().read_unaligned() }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn scores_avx2<const N: usize, const P: usize>(
    head: &Head<'_>,
    pages: &[u32; P],
    queries: &[[[i8; QUAD]; N]],
    _starts: &[i32; N],
    steps: &[f32; N],
    out: &mut [[[f32; PAGE]; N]; P],
) {
    for p in 0..P {
        let page = head.keys::<i8>(pages[p]);
        let keys = page.numbers.as_ptr();
        let mut sums = [[_mm256_setzero_si256(); N]; 2];
        for (quad, queries) in queries.iter().enumerate() {
            for half in 0..2 {
                // SAFETY: a page has as many quads of keys as a query, as the caller promises.
                let keys = unsafe {
                    _mm256_loadu_si256(keys.add(quad * QUAD * PAGE + half * QUAD * PAGE / 2).cast())
                };
                for n in 0..N {
                    let codes = _mm256_set1_epi32(quad_of(&queries[n]));
                    sums[half][n] = dot_avx2(sums[half][n], keys, codes);
                }
            }
        }
        for half in 0..2 {
            // SAFETY: a page's scales, and its scores, are two registers long.
            let scales = unsafe { _mm256_loadu_ps(page.scales.as_ptr().add(half * PAGE / 2)) };
            for n in 0..N {
                let step = _mm256_mul_ps(scales, _mm256_set1_ps(steps[n]));
                let scores = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half][n]), step);
                // SAFETY: as above.
                unsafe { _mm256_storeu_ps(out[p][n].as_mut_ptr().add(half * PAGE / 2), scores) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn weigh_avx2<const N: usize, const C: usize>(
    head: &Head<'_>,
    table: &[u32],
    tokens: usize,
    chunk: usize,
    weights: &[[Weights; N]],
    totals: &mut [[[f32; LANES]; N]; C],
) {
    let mut own = [[[_mm256_setzero_si256(); N]; 2]; C];
    for (page, (number, weights)) in table.iter().zip(weights).enumerate() {
        let values: *const i8 = head.values(*number).numbers.as_ptr();
        for pair in 0..tokens_of(page, tokens).div_ceil(PAIR) {
            for c in 0..C {
                for half in 0..2 {
                    // SAFETY: the head has this chunk, as the caller promises, and the page this pair of tokens.
                    let values = unsafe {
                        let at = (pair * head.dim + (chunk + c) * LANES + half * LANES / 2) * PAIR;
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(values.add(at).cast()))
                    };
                    for n in 0..N {
                        // SAFETY: a page has weights for its tokens.
                        let codes = unsafe { _mm256_set1_epi32(pair_of(&weights[n], pair)) };
                        let product = _mm256_madd_epi16(values, codes);
                        own[c][half][n] = _mm256_add_epi32(own[c][half][n], product);
                    }
                }
            }
        }
    }
    for c in 0..C {
        for half in 0..2 {
            for n in 0..N {
                // SAFETY: a total is two registers long.
                unsafe {
                    let total = totals[c][n].as_mut_ptr().add(half * LANES / 2);
                    let sum = _mm256_cvtepi32_ps(own[c][half][n]);
                    _mm256_storeu_ps(total, _mm256_add_ps(_mm256_loadu_ps(total), sum));
                }
            }
        }
    }
}
