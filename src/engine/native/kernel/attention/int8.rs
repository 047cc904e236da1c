//! Attention over keys and values in 8 bits, in whole numbers but for the softmax.
//!
//! A query is rounded to 8 bits too, with a scale of its own. What the softmax gives is multiplied with the values' scales
//! and rounded to 15 bits of the largest.

use super::{Head, PAGE, Plain, Query, highest, pages};
use crate::engine::native::kernel::acts::ROUND;
use crate::engine::native::kernel::math::{LANES, exp, max_lanes, sum_lanes};
use crate::engine::native::kernel::stored::{PAIR, QUAD, Stored};

/// The largest weight.
pub const LARGEST: f32 = 32_767.0;

/// Pages whose values are added in 32 bits: 32 · 16 tokens · 32,767 · 127 is less than 2³¹.
const PAGES: usize = 32;

/// Room for a page's scores of a query in `f32`, and then for its weights.
pub type Weights = [i16; 2 * PAGE];

/// The two loops that most of the time goes into, for one instruction set.
pub trait Inner {
    /// Σ code of the query · (code of the key - 128) for all tokens of `P` pages, as floats, times the key's scale, times
    /// the query's `step`. `queries` is `[head_dim / 4][N]`, and `starts` -128 times the sum of each.
    ///
    /// # Safety
    /// The CPU has the instructions. There are `head_dim / 4` quads.
    unsafe fn scores<const N: usize, const P: usize>(
        head: &Head<'_>,
        pages: &[u32; P],
        queries: &[[[i8; QUAD]; N]],
        starts: &[i32; N],
        steps: &[f32; N],
        scores: &mut [[[f32; PAGE]; N]; P],
    );

    /// Adds Σ weight · code of the values of the first `tokens` tokens of the pages, of which there are at most [`PAGES`], for
    /// `C` times [`LANES`] elements of a head, from the `chunk`th on.
    ///
    /// # Safety
    /// The CPU has the instructions. The head has these elements.
    unsafe fn weigh<const N: usize, const C: usize>(
        head: &Head<'_>,
        table: &[u32],
        tokens: usize,
        chunk: usize,
        weights: &[[Weights; N]],
        totals: &mut [[[f32; LANES]; N]; C],
    );

    /// See [`softmax`].
    ///
    /// # Safety
    /// The CPU has the instructions.
    #[inline(always)]
    unsafe fn softmax<const N: usize>(
        head: &Head<'_>,
        table: &[u32],
        scores: &mut [[[f32; PAGE]; N]],
        n: usize,
        query: Query<'_>,
        start: usize,
    ) -> f32 {
        softmax::<N>(head, table, scores, n, query, start)
    }
}

impl Inner for Plain {
    #[inline(always)]
    unsafe fn scores<const N: usize, const P: usize>(
        head: &Head<'_>,
        pages: &[u32; P],
        queries: &[[[i8; QUAD]; N]],
        starts: &[i32; N],
        steps: &[f32; N],
        scores: &mut [[[f32; PAGE]; N]; P],
    ) {
        for p in 0..P {
            let keys = head.keys::<i8>(pages[p]);
            for n in 0..N {
                let mut sums = [starts[n]; PAGE];
                for (quads, keys) in queries.iter().zip(keys.numbers.as_chunks::<{ QUAD * PAGE }>().0) {
                    for lane in 0..PAGE {
                        for i in 0..QUAD {
                            // Keys stand 128 too high.
                            let key = keys[lane * QUAD + i].cast_unsigned();
                            sums[lane] += i32::from(key) * i32::from(quads[n][i]);
                        }
                    }
                }
                for lane in 0..PAGE {
                    scores[p][n][lane] = sums[lane] as f32 * (keys.scales[lane] * steps[n]);
                }
            }
        }
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
        let mut sums = [[[0_i32; LANES]; N]; C];
        for (page, (number, weights)) in table.iter().zip(weights).enumerate() {
            let pairs = tokens_of(page, tokens).div_ceil(PAIR);
            let values = head.values::<i8>(*number).numbers.as_chunks::<{ PAIR * LANES }>().0;
            for (pair, values) in values.chunks_exact(head.dim / LANES).enumerate().take(pairs) {
                for (values, sums) in values[chunk..chunk + C].iter().zip(sums.iter_mut()) {
                    for n in 0..N {
                        for lane in 0..LANES {
                            for i in 0..PAIR {
                                let weight = i32::from(weights[n][pair * PAIR + i]);
                                let product = weight * i32::from(values[lane * PAIR + i]);
                                // Of numbers that are none a sum may be too large, and mean nothing.
                                sums[n][lane] = sums[n][lane].wrapping_add(product);
                            }
                        }
                    }
                }
            }
        }
        for (totals, sums) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            for lane in 0..LANES {
                totals[lane] += sums[lane] as f32;
            }
        }
    }
}

/// How many of the `tokens` of a table are on its page `page`.
#[inline(always)]
pub fn tokens_of(page: usize, tokens: usize) -> usize {
    tokens.saturating_sub(page * PAGE).min(PAGE)
}

/// softmax(q·K / sqrt(head_dim)) · V for `N` queries of the sequence whose pages `table` lists; `out` is `[head_dim]` of
/// each. Keys are read `P` pages at a time, values `C` times [`LANES`] elements: as many sums as hide the time that an
/// addition takes, and fit into the registers.
///
/// # Safety
/// The CPU has the instructions of `I`.
#[inline(always)]
pub unsafe fn attend<I: Inner, const N: usize, const P: usize, const C: usize>(
    head: Head<'_>,
    table: &[u32],
    queries: &[Query<'_>; N],
    room: &mut [f32],
    out: &mut [&mut [f32]; N],
) {
    let dim = head.dim;
    let (first, last) = pages(queries);
    let table = &table[first..=last];
    let (one, room) = room.split_at_mut(dim / QUAD);
    let (all, room) = room.split_at_mut(dim / QUAD * N);
    let one: &mut [i8] = bytemuck::cast_slice_mut(one);
    let all = bytemuck::cast_slice_mut::<f32, [i8; QUAD]>(all).as_chunks_mut::<N>().0;
    let (mut starts, mut steps) = ([0; N], [0.0; N]);
    let root = (dim as f32).sqrt().recip();
    for n in 0..N {
        steps[n] = i8::round(queries[n].values, one) * root;
        for (quads, quad) in all.iter_mut().zip(one.as_chunks::<QUAD>().0) {
            quads[n] = *quad;
        }
        let mut sum = 0;
        for code in one.iter() {
            sum += i32::from(*code);
        }
        starts[n] = sum * -128;
    }
    let scores = &mut room.as_chunks_mut::<PAGE>().0.as_chunks_mut::<N>().0[..table.len()];
    let ((pages, rest), (groups, other)) = (table.as_chunks::<P>(), scores.as_chunks_mut::<P>());
    for (pages, scores) in pages.iter().zip(groups) {
        // SAFETY: as the caller promises; there are as many quads as a head has.
        unsafe { I::scores(&head, pages, all, &starts, &steps, scores) };
    }
    // With one page alone each sum would wait for its own last addition.
    let ((pages, rest), (groups, other)) = (rest.as_chunks::<2>(), other.as_chunks_mut::<2>());
    for (pages, scores) in pages.iter().zip(groups) {
        // SAFETY: as above.
        unsafe { I::scores(&head, pages, all, &starts, &steps, scores) };
    }
    for (page, scores) in rest.iter().zip(other) {
        // SAFETY: as above.
        unsafe { I::scores(&head, &[*page], all, &starts, &steps, std::array::from_mut(scores)) };
    }
    let mut factors = [0.0; N];
    for n in 0..N {
        // SAFETY: as the caller promises.
        factors[n] = unsafe { I::softmax::<N>(&head, table, scores, n, queries[n], first * PAGE) };
    }
    // The same room, of which the weights take half.
    let weights = bytemuck::cast_slice::<f32, Weights>(scores.as_flattened().as_flattened());
    let weights = weights.as_chunks::<N>().0;
    let tokens = queries.iter().fold(0, |most, query| most.max(query.to)) + 1 - first * PAGE;
    let chunks = dim / LANES;
    let whole = chunks / C * C;
    for chunk in (0..whole).step_by(C) {
        // SAFETY: as the caller promises; the head has these chunks.
        unsafe { weigh::<I, N, C>(&head, (table, first), tokens, chunk, weights, &factors, out) };
    }
    for chunk in whole..chunks {
        // SAFETY: as above.
        unsafe { weigh::<I, N, 1>(&head, (table, first), tokens, chunk, weights, &factors, out) };
    }
}

/// Turns a query's scores into weights: what the softmax gives before it is divided by its sum, times the value's scale,
/// rounded to [`LARGEST`]s of the largest of them. (Not of what they could be: the token that most weight goes to often has
/// values near zero, and the others would be rounded away.) Returns what their sums are to be multiplied with. The scores
/// begin at position `start`.
#[inline(always)]
fn softmax<const N: usize>(
    head: &Head<'_>,
    table: &[u32],
    scores: &mut [[[f32; PAGE]; N]],
    n: usize,
    query: Query<'_>,
    start: usize,
) -> f32 {
    let highest = highest(scores, n, query, start);
    let (mut sums, mut largest) = ([0.0_f32; PAGE], [0.0_f32; PAGE]);
    for (scores, page) in scores.iter_mut().zip(table) {
        let (scores, scales) = (&mut scores[n], head.values::<i8>(*page).scales);
        for lane in 0..PAGE {
            let weight = exp(scores[lane] - highest);
            let inside = scores[lane] != f32::NEG_INFINITY;
            let scaled = weight * scales[lane];
            sums[lane] += if inside { weight } else { 0.0 };
            // Also the scale of what lies outside may be anything.
            scores[lane] = if inside { scaled } else { 0.0 };
            largest[lane] = if scores[lane] > largest[lane] { scores[lane] } else { largest[lane] };
        }
    }
    let largest = max_lanes(largest);
    let inverse = LARGEST / largest;
    // Of values that are all zero, or so small that nothing could be multiplied with what they take.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    for scores in scores.iter_mut() {
        let scores = &mut scores[n];
        let mut weights = [0; 2 * PAGE];
        for lane in 0..PAGE {
            let rounded = scores[lane].mul_add(inverse, ROUND);
            weights[lane] = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i16;
        }
        *bytemuck::cast_mut::<[f32; PAGE], Weights>(scores) = weights;
    }
    sum_lanes(sums).recip() * (largest / LARGEST)
}

/// Σ weight · V for `C` times [`LANES`] elements of a head, of the first `tokens` tokens of the table, which begins with
/// the sequence's page `first`.
///
/// # Safety
/// The CPU has the instructions of `I`. The head has these elements.
#[inline(always)]
unsafe fn weigh<I: Inner, const N: usize, const C: usize>(
    head: &Head<'_>,
    (table, first): (&[u32], usize),
    tokens: usize,
    chunk: usize,
    weights: &[[Weights; N]],
    factors: &[f32; N],
    out: &mut [&mut [f32]; N],
) {
    let mut totals = [[[0.0_f32; LANES]; N]; C];
    let mut page = 0;
    while page < table.len() {
        // Up to a page whose number in the sequence is a multiple, wherever the table begins.
        let end = (((first + page) / PAGES + 1) * PAGES - first).min(table.len());
        // SAFETY: as the caller promises.
        unsafe {
            let tokens = tokens - page * PAGE;
            let (head, pages) = (&head.behind(page), page..end);
            I::weigh::<N, C>(head, &table[pages.clone()], tokens, chunk, &weights[pages], &mut totals);
        }
        page = end;
    }
    for n in 0..N {
        for (c, out) in out[n].as_chunks_mut::<LANES>().0[chunk..chunk + C].iter_mut().enumerate() {
            let totals = &totals[c][n];
            for lane in 0..LANES {
                out[lane] = totals[lane] * factors[n];
            }
        }
    }
}
