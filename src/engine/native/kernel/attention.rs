//! Attention of one query position over a paged cache.
//!
//! Every query is computed by itself and in the order of positions, so that its result depends neither on the chunk
//! that it came in nor on its neighbours.

use super::math::{LANES, bf16_to_f32, exp, sum_lanes};

/// Tokens of a page.
pub const PAGE: usize = LANES;

/// Where a layer's pages are: `[pages][kv_heads][2][head_dim · PAGE]`, keys as `[head_dim][PAGE]` so that the scores of a
/// page's tokens are computed side by side, values as `[PAGE][head_dim]`.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The layer's pages.
    pub pages: &'a [u16],
    pub kv_heads: usize,
    /// Which of them.
    pub index: usize,
    pub dim: usize,
}

impl<'a> Head<'a> {
    #[inline(always)]
    fn keys(&self, page: u32) -> &'a [u16] {
        let size = self.dim * PAGE;
        &self.pages[(page as usize * self.kv_heads + self.index) * 2 * size..][..size]
    }

    #[inline(always)]
    fn values(&self, page: u32) -> &'a [u16] {
        let size = self.dim * PAGE;
        &self.pages[((page as usize * self.kv_heads + self.index) * 2 + 1) * size..][..size]
    }
}

/// softmax(q·K / sqrt(head_dim)) · V for `G` query heads that share a key and value head.
///
/// Attends to positions `from..=to` of the sequence whose pages `table` lists. `queries` and `out` are
/// `[G][head_dim]`; `scores` has room for `G` times all positions of the table's pages.
#[inline(always)]
pub fn attend<const G: usize>(
    head: Head<'_>,
    table: &[u32],
    from: usize,
    to: usize,
    queries: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let dim = head.dim;
    let (first, last) = (from / PAGE, to / PAGE);
    let width = (last + 1 - first) * PAGE;
    let scale = (dim as f32).sqrt().recip();
    let (scores, _) = scores.split_at_mut(G * width);
    // Two pages at a time: one alone would wait for its own last additions.
    for (pair, pages) in table[first..=last].chunks(2).enumerate() {
        let at = pair * 2 * PAGE;
        if let [one, other] = pages {
            let keys = [head.keys(*one), head.keys(*other)];
            page_scores::<G, 2>(keys, queries, dim, scale, &mut scores[at..], width);
        } else {
            page_scores::<G, 1>([head.keys(pages[0])], queries, dim, scale, &mut scores[at..], width);
        }
    }
    let mut inverse = [0.0_f32; G];
    for g in 0..G {
        let scores = &mut scores[g * width..(g + 1) * width];
        // What lies outside is another token's, or none's.
        scores[..from - first * PAGE].fill(f32::NEG_INFINITY);
        scores[to + 1 - first * PAGE..].fill(f32::NEG_INFINITY);
        let (chunks, _) = scores.as_chunks_mut::<LANES>();
        let mut highest = [f32::NEG_INFINITY; LANES];
        for lanes in chunks.iter() {
            for lane in 0..LANES {
                highest[lane] = if lanes[lane] > highest[lane] { lanes[lane] } else { highest[lane] };
            }
        }
        let highest = highest.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let mut sums = [0.0_f32; LANES];
        for lanes in chunks {
            for lane in 0..LANES {
                let weight = exp(lanes[lane] - highest);
                let weight = if lanes[lane] == f32::NEG_INFINITY { 0.0 } else { weight };
                lanes[lane] = weight;
                sums[lane] += weight;
            }
        }
        inverse[g] = sum_lanes(sums).recip();
    }
    let chunks = dim / LANES;
    for chunk in (0..chunks / 2 * 2).step_by(2) {
        weigh::<G, 2>(&head, table, from, to, chunk, scores, width, &inverse, out);
    }
    if chunks % 2 == 1 {
        weigh::<G, 1>(&head, table, from, to, chunks - 1, scores, width, &inverse, out);
    }
}

/// q·K / sqrt(head_dim) for all tokens of `P` pages.
#[inline(always)]
fn page_scores<const G: usize, const P: usize>(
    keys: [&[u16]; P],
    queries: &[f32],
    dim: usize,
    scale: f32,
    scores: &mut [f32],
    width: usize,
) {
    let mut acc = [[[0.0_f32; PAGE]; G]; P];
    for d in 0..dim {
        for p in 0..P {
            let keys = widen(&keys[p].as_chunks::<PAGE>().0[d]);
            for g in 0..G {
                let q = queries[g * dim + d];
                for lane in 0..PAGE {
                    acc[p][g][lane] = q.mul_add(keys[lane], acc[p][g][lane]);
                }
            }
        }
    }
    for p in 0..P {
        for g in 0..G {
            for lane in 0..PAGE {
                scores[g * width + p * PAGE + lane] = acc[p][g][lane] * scale;
            }
        }
    }
}

/// Σ weight · V for `C` times [`LANES`] elements of a head.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // A part of `attend`, taken out to be compiled for one and for two.
fn weigh<const G: usize, const C: usize>(
    head: &Head<'_>,
    table: &[u32],
    from: usize,
    to: usize,
    chunk: usize,
    weights: &[f32],
    width: usize,
    inverse: &[f32; G],
    out: &mut [f32],
) {
    let (dim, first) = (head.dim, from / PAGE);
    let row = dim / LANES;
    let mut acc = [[[0.0_f32; LANES]; G]; C];
    for page in first..=to / PAGE {
        let values = head.values(table[page]).as_chunks::<LANES>().0;
        let start = page * PAGE;
        let (low, high) = (from.max(start) - start, to.min(start + PAGE - 1) - start);
        for t in low..=high {
            for c in 0..C {
                let values = widen(&values[t * row + chunk + c]);
                for g in 0..G {
                    let weight = weights[g * width + start - first * PAGE + t];
                    for lane in 0..LANES {
                        acc[c][g][lane] = weight.mul_add(values[lane], acc[c][g][lane]);
                    }
                }
            }
        }
    }
    for c in 0..C {
        for g in 0..G {
            for lane in 0..LANES {
                out[g * dim + (chunk + c) * LANES + lane] = acc[c][g][lane] * inverse[g];
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
