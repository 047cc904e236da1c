//! The inner loops of attention in 8 bits: with AVX-512 VNNI four products of bytes, or two of 16 bits, for each of
//! sixteen sums at once; with AVX2 the same in two steps.

#[allow(clippy::wildcard_imports)] // One name for each instruction.
use std::arch::x86_64::*;

use super::{Avx2, Avx512};
use crate::engine::native::kernel::acts::ROUND;
use crate::engine::native::kernel::attention::int8::{Inner, LARGEST, Weights, tokens_of};
use crate::engine::native::kernel::attention::{FETCHED, Head, PAGE, Query, SCALES};
use crate::engine::native::kernel::math::{self, LANES, max_lanes, sum_lanes};
use crate::engine::native::kernel::stored::{PAIR, QUAD};
use crate::engine::native::kernel::x86::ranks::dot_avx2;
use crate::engine::native::kernel::x86::{LINE, fetch_line};

macro_rules! inner {
    ($isa:ident, $scores:ident, $weigh:ident $(, $softmax:ident)?) => {
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

            $(
                #[inline(always)]
                unsafe fn softmax<const N: usize>(
                    head: &Head<'_>,
                    table: &[u32],
                    scores: &mut [[[f32; PAGE]; N]],
                    n: usize,
                    query: Query<'_>,
                    start: usize,
                ) -> f32 {
                    // SAFETY: as the caller promises.
                    unsafe { $softmax(head, table, scores, n, query, start) }
                }
            )?
        }
    };
}

inner!(Avx512, scores_avx512, weigh_avx512, softmax_avx512);
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
    let mut values = [std::ptr::null::<u8>(); P];
    let mut sums = [[_mm512_setzero_si512(); N]; P];
    for p in 0..P {
        keys[p] = head.keys(pages[p]).numbers.as_ptr();
        values[p] = head.values::<i8>(pages[p]).bytes.as_ptr();
        if N <= FETCHED {
            fetch_line(values[p]);
        }
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
            if N <= FETCHED {
                // A quad of keys is a line of memory long, and a page has as many of its values.
                fetch_line(values[p].wrapping_add(SCALES + quad * QUAD * PAGE));
            }
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
        let next = if N <= FETCHED && chunk == 0 { head.next_keys(page) } else { None };
        for pair in 0..tokens_of(page, tokens).div_ceil(PAIR) {
            let mut codes = [_mm512_setzero_si512(); N];
            if let Some(keys) = next {
                // The second half, in as many parts as a page has pairs.
                let first = first_half(head.dim) + pair * head.dim;
                for line in (first..first + head.dim).step_by(LINE) {
                    fetch_line(keys.wrapping_add(line));
                }
            }
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

/// [`softmax`](crate::engine::native::kernel::attention::int8::softmax) by hand: of the plain one the compiler keeps the sums in
/// memory.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn softmax_avx512<const N: usize>(
    head: &Head<'_>,
    table: &[u32],
    scores: &mut [[[f32; PAGE]; N]],
    n: usize,
    query: Query<'_>,
    start: usize,
) -> f32 {
    let hidden = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut highest = hidden;
    for (page, scores) in scores.iter_mut().enumerate() {
        // SAFETY: a page's scores are a register long.
        unsafe {
            let at = scores[n].as_mut_ptr();
            let mut score = _mm512_loadu_ps(at);
            let seen = query.seen(start + page * PAGE);
            if seen != u16::MAX {
                // What lies outside is another token's, or none's.
                score = _mm512_mask_mov_ps(hidden, seen, score);
                _mm512_storeu_ps(at, score);
            }
            highest = _mm512_max_ps(score, highest);
        }
    }
    let highest = _mm512_set1_ps(max_lanes(lanes_of(highest)));
    let (mut sums, mut largest) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for (page, (scores, number)) in scores.iter_mut().zip(table).enumerate() {
        if N <= FETCHED
            && let Some(keys) = head.next_keys(page)
        {
            // Their first half, a part with each query.
            let lines = first_half(head.dim).div_ceil(LINE).div_ceil(N);
            for line in n * lines..(n + 1) * lines {
                fetch_line(keys.wrapping_add(line * LINE));
            }
        }
        let scales = head.values::<i8>(*number).scales;
        // SAFETY: as above, and so are its scales.
        unsafe {
            let at = scores[n].as_mut_ptr();
            let score = _mm512_loadu_ps(at);
            let weight = exp_avx512(_mm512_sub_ps(score, highest));
            let inside = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(score, hidden);
            sums = _mm512_add_ps(sums, _mm512_maskz_mov_ps(inside, weight));
            // Also the scale of what lies outside may be anything.
            let scaled = _mm512_maskz_mul_ps(inside, weight, _mm512_loadu_ps(scales.as_ptr()));
            _mm512_storeu_ps(at, scaled);
            largest = _mm512_max_ps(scaled, largest);
        }
    }
    let largest = max_lanes(lanes_of(largest));
    let inverse = LARGEST / largest;
    // Of values that are all zero, or so small that nothing could be multiplied with what they take.
    let inverse = _mm512_set1_ps(if inverse.is_finite() { inverse } else { 0.0 });
    let round = _mm512_set1_ps(ROUND);
    for scores in scores.iter_mut() {
        let scores = &mut scores[n];
        // SAFETY: as above; the weights take as much room.
        unsafe {
            let rounded = _mm512_fmadd_ps(_mm512_loadu_ps(scores.as_ptr()), inverse, round);
            let weights = _mm512_sub_epi32(_mm512_castps_si512(rounded), _mm512_castps_si512(round));
            let weights = _mm512_zextsi256_si512(_mm512_cvtepi32_epi16(weights));
            _mm512_storeu_si512(scores.as_mut_ptr().cast(), weights);
        }
    }
    sum_lanes(lanes_of(sums)).recip() * (largest / LARGEST)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn lanes_of(register: __m512) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    // SAFETY: so many lanes has a register.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), register) };
    lanes
}

/// [`math::exp`].
#[target_feature(enable = "avx512f")]
#[inline]
fn exp_avx512(x: __m512) -> __m512 {
    let all = |x: f32| _mm512_set1_ps(x);
    let ([least, most], [high, low]) = (math::EXP_RANGE, math::LN_2);
    // What is no number stays.
    let x = _mm512_min_ps(all(most), _mm512_max_ps(all(least), x));
    let shifted = _mm512_fmadd_ps(x, all(std::f32::consts::LOG2_E), all(ROUND));
    let n = _mm512_sub_ps(shifted, all(ROUND));
    let r = _mm512_fmadd_ps(n, all(high), x);
    let r = _mm512_fmadd_ps(n, all(low), r);
    let [first, rest @ ..] = math::EXP;
    let mut p = all(first);
    for factor in rest {
        p = _mm512_fmadd_ps(p, r, all(factor));
    }
    let y = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, all(1.0)));
    let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(y), exponent))
}

/// Bytes of the first half of a page's keys in a head of `dim` numbers.
#[inline(always)]
const fn first_half(dim: usize) -> usize {
    SCALES + dim / 2 * PAGE
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_same_by_hand() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        let mut numbers: Vec<f32> = (-3_200_000..3_200_000).map(|i| i as f32 / 32_000.0).collect();
        let special =
            [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 1e-40, f32::MAX, f32::NAN];
        numbers.extend(special.repeat(2));
        for numbers in numbers.as_chunks::<LANES>().0 {
            // SAFETY: the CPU has the instructions, and sixteen numbers are a register.
            let found = unsafe { lanes_of(exp_avx512(_mm512_loadu_ps(numbers.as_ptr()))) };
            for (x, found) in numbers.iter().zip(found) {
                let wanted = math::exp(*x);
                assert!(wanted.to_bits() == found.to_bits() || wanted.is_nan() && found.is_nan(), "{x}");
            }
        }
    }
}
