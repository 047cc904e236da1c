//! Attention over keys and values in `bf16`, in floats.

use super::{FETCHED, Head, PAGE, Plain, Query, highest, pages};
use crate::engine::native::kernel::math::{LANES, bf16_to_f32, exp, sum_lanes};

/// The two loops that most of the time goes into, for one instruction set.
pub trait Inner {
    /// Lets memory that is read soon come to the cache.
    fn fetch(memory: &[u8]) {
        let _ = memory;
    }

    /// q·K / sqrt(head_dim) for all tokens of `P` pages. `queries` is `[head_dim][N]`.
    ///
    /// # Safety
    /// The CPU has the instructions. There are `head_dim` queries.
    unsafe fn scores<const N: usize, const P: usize>(
        head: &Head<'_>,
        pages: &[u32; P],
        queries: &[[f32; N]],
        scores: &mut [[[f32; PAGE]; N]; P],
    );

    /// Adds weight · V, without its scales, of a page's first `count` tokens (at most [`PAGE`]) for `C` times [`LANES`]
    /// elements of a head, from the `chunk`th on.
    ///
    /// # Safety
    /// The CPU has the instructions. The head has these elements.
    unsafe fn weigh<const N: usize, const C: usize>(
        head: &Head<'_>,
        page: u32,
        count: usize,
        chunk: usize,
        weights: &[[f32; PAGE]; N],
        sums: &mut [[[f32; LANES]; N]; C],
    );
}

impl Inner for Plain {
    #[inline(always)]
    unsafe fn scores<const N: usize, const P: usize>(
        head: &Head<'_>,
        pages: &[u32; P],
        queries: &[[f32; N]],
        scores: &mut [[[f32; PAGE]; N]; P],
    ) {
        let scale = (head.dim as f32).sqrt().recip();
        let mut sums = [[[0.0_f32; PAGE]; N]; P];
        for p in 0..P {
            let keys = head.keys::<u16>(pages[p]).numbers.as_chunks::<PAGE>().0;
            for (queries, keys) in queries.iter().zip(keys) {
                let keys = widen(keys);
                for n in 0..N {
                    for lane in 0..PAGE {
                        sums[p][n][lane] = queries[n].mul_add(keys[lane], sums[p][n][lane]);
                    }
                }
            }
        }
        for p in 0..P {
            let scales = head.keys::<u16>(pages[p]).scales;
            for n in 0..N {
                for lane in 0..PAGE {
                    scores[p][n][lane] = sums[p][n][lane] * (scales[lane] * scale);
                }
            }
        }
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
        let values = head.values::<u16>(page).numbers.as_chunks::<LANES>().0;
        for (t, values) in values.chunks_exact(head.dim / LANES).enumerate().take(count) {
            // A page has no more tokens; the compiler need not look.
            let t = t % PAGE;
            for (values, sums) in values[chunk..chunk + C].iter().zip(sums.iter_mut()) {
                let values = widen(values);
                for n in 0..N {
                    for lane in 0..LANES {
                        sums[n][lane] = weights[n][t].mul_add(values[lane], sums[n][lane]);
                    }
                }
            }
        }
    }
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
    let (turned, room) = room.split_at_mut(dim * N);
    let turned = turned.as_chunks_mut::<N>().0;
    for (n, query) in queries.iter().enumerate() {
        for (turned, value) in turned.iter_mut().zip(query.values) {
            turned[n] = *value;
        }
    }
    let scores = &mut room.as_chunks_mut::<PAGE>().0.as_chunks_mut::<N>().0[..table.len()];
    let ((pages, rest), (groups, other)) = (table.as_chunks::<P>(), scores.as_chunks_mut::<P>());
    for (at, (pages, scores)) in pages.iter().zip(groups).enumerate() {
        fetch::<I, N>(&head, table, at * P, P);
        // SAFETY: as the caller promises; the queries were turned to `head_dim` rows.
        unsafe { I::scores(&head, pages, turned, scores) };
    }
    for (at, (page, scores)) in rest.iter().zip(other).enumerate() {
        fetch::<I, N>(&head, table, pages.len() * P + at, 1);
        // SAFETY: as above.
        unsafe { I::scores(&head, &[*page], turned, std::array::from_mut(scores)) };
    }
    let mut inverse = [0.0; N];
    for n in 0..N {
        inverse[n] = softmax::<N>(&head, table, scores, n, queries[n], first * PAGE);
    }
    let chunks = dim / LANES;
    let most = queries.iter().fold(0, |most, query| most.max(query.to)) - last * PAGE;
    let whole = chunks / C * C;
    for chunk in (0..whole).step_by(C) {
        // SAFETY: as the caller promises; the head has these chunks.
        unsafe { weigh::<I, N, C>(&head, table, most, chunk, scores, &inverse, out) };
    }
    for chunk in whole..chunks {
        // SAFETY: as above.
        unsafe { weigh::<I, N, 1>(&head, table, most, chunk, scores, &inverse, out) };
    }
}

/// Fetches what comes after the keys of pages `at..at + count`, where it pays: the next ones' keys, and their values. Pages
/// lie anywhere in memory, so the CPU cannot know which one is read next.
#[inline(always)]
fn fetch<I: Inner, const N: usize>(head: &Head<'_>, table: &[u32], at: usize, count: usize) {
    if N > FETCHED {
        return;
    }
    for page in &table[(at + count).min(table.len())..(at + 2 * count).min(table.len())] {
        I::fetch(head.keys::<u16>(*page).bytes);
    }
    for page in &table[at..at + count] {
        I::fetch(head.values::<u16>(*page).bytes);
    }
}

/// Turns a query's scores into weights that are not divided by their sum yet, but multiplied with the values' scales;
/// returns what to multiply with instead. The scores begin at position `start`.
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
    let mut sums = [0.0_f32; PAGE];
    for (scores, page) in scores.iter_mut().zip(table) {
        let (scores, scales) = (&mut scores[n], head.values::<u16>(*page).scales);
        for lane in 0..PAGE {
            let weight = exp(scores[lane] - highest);
            let (inside, scaled) = (scores[lane] != f32::NEG_INFINITY, weight * scales[lane]);
            // Also the scale of what lies outside may be anything; and CPUs are slow with what is below the normal.
            scores[lane] = if inside && scaled >= f32::MIN_POSITIVE { scaled } else { 0.0 };
            sums[lane] += if inside { weight } else { 0.0 };
        }
    }
    sum_lanes(sums).recip()
}

/// Σ weight · V for `C` times [`LANES`] elements of a head, up to the token `most` of the last page: what lies behind it
/// was never written, or for others.
///
/// # Safety
/// The CPU has the instructions of `I`. The head has these elements.
#[inline(always)]
unsafe fn weigh<I: Inner, const N: usize, const C: usize>(
    head: &Head<'_>,
    table: &[u32],
    most: usize,
    chunk: usize,
    weights: &[[[f32; PAGE]; N]],
    inverse: &[f32; N],
    out: &mut [&mut [f32]; N],
) {
    let mut sums = [[[0.0_f32; LANES]; N]; C];
    for (page, (number, weights)) in table.iter().zip(weights).enumerate() {
        let count = if page + 1 == table.len() { most + 1 } else { PAGE };
        // SAFETY: as the caller promises.
        unsafe { I::weigh(head, *number, count, chunk, weights, &mut sums) };
    }
    for n in 0..N {
        for (c, out) in out[n].as_chunks_mut::<LANES>().0[chunk..chunk + C].iter_mut().enumerate() {
            for lane in 0..LANES {
                out[lane] = sums[c][n][lane] * inverse[n];
            }
        }
    }
}

/// A loop and not `map`, which would be compiled without the wider registers, and called.
#[inline(always)]
fn widen(values: &[u16; LANES]) -> [f32; LANES] {
    let mut wide = [0.0; LANES];
    for lane in 0..LANES {
        wide[lane] = bf16_to_f32(values[lane]);
    }
    wide
}
