//! Attention over a paged cache.
//!
//! Queries that look at the same keys are computed together, so that a key is read once for all of them. What a query gets
//! depends neither on the chunk that it came in nor on its neighbours: floats are added in the order of positions, and
//! whole numbers in any.

pub mod bf16;
pub mod int8;

use super::super::disjoint::Disjoint;
use super::math::{LANES, max_lanes};
use super::stored::Kept;

/// Tokens of a page.
pub const PAGE: usize = LANES;

/// Where a layer's pages are: `[pages][kv_heads][2]`, the keys and the values of a page each [`half_bytes`] long: the
/// scales of the page's tokens, then the numbers, in the order that [`super::Stored`] says.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The layer's pages, where an `f32` may begin. While some are read, others are written.
    pages: &'a Disjoint<'a, u8>,
    pub kept: Kept,
    kv_heads: usize,
    /// Which of them.
    pub index: usize,
    /// A multiple of [`PAGE`].
    pub dim: usize,
    next: Option<Next<'a>>,
}

/// The head, of the same layer, that comes next, mostly on the same thread. With AVX-512 and keys in 8 bits its keys come to the
/// cache between this one's softmax and its last values: pages lie anywhere in memory, so the CPU cannot know which one is read
/// next. Where nobody has said so, as of a thread's first head, the first pages are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Next<'a> {
    pub index: usize,
    /// The pages that are read.
    pub table: &'a [u32],
}

/// Bytes of a page's scales.
pub const SCALES: usize = PAGE * size_of::<f32>();

/// Bytes of the keys, or of the values, of a page and a head of `dim` numbers of `size` bytes.
pub const fn half_bytes(dim: usize, size: usize) -> usize {
    SCALES + dim * PAGE * size
}

/// The keys or the values of a page.
#[derive(Debug, Clone, Copy)]
pub struct Half<'a, S> {
    /// All of it.
    pub bytes: &'a [u8],
    pub scales: &'a [f32; PAGE],
    pub numbers: &'a [S],
}

impl<'a> Head<'a> {
    /// Head `index` of `kv_heads` in a layer's pages.
    ///
    /// # Safety
    /// While it is in use, nobody writes to this head of the pages that it is asked for.
    pub unsafe fn new(
        pages: &'a Disjoint<'a, u8>,
        kept: Kept,
        (index, kv_heads): (usize, usize),
        dim: usize,
    ) -> Self {
        Self { pages, kept, kv_heads, index, dim, next: None }
    }

    /// The same, before another.
    #[must_use]
    pub fn before(self, next: Option<Next<'a>>) -> Self {
        Self { next, ..self }
    }

    /// The same from its `page`th page on.
    #[inline(always)]
    fn behind(self, page: usize) -> Self {
        let left = |next: Next<'a>| Next { table: next.table.get(page..).unwrap_or_default(), ..next };
        self.before(self.next.map(left))
    }

    /// Where the keys of the next head's `page`th page begin.
    #[inline(always)]
    pub fn next_keys(&self, page: usize) -> Option<*const u8> {
        let next = self.next?;
        let at = Self { index: next.index, ..*self };
        self.pages.address(at.start(*next.table.get(page)?, 0, half_bytes(self.dim, self.kept.bytes())))
    }

    #[inline(always)]
    pub fn keys<S: bytemuck::Pod>(&self, page: u32) -> Half<'a, S> {
        self.half(page, 0)
    }

    #[inline(always)]
    pub fn values<S: bytemuck::Pod>(&self, page: u32) -> Half<'a, S> {
        self.half(page, 1)
    }

    /// Where half `which` of a page begins, if each has so many bytes.
    #[inline(always)]
    fn start(&self, page: u32, which: usize, size: usize) -> usize {
        ((page as usize * self.kv_heads + self.index) * 2 + which) * size
    }

    #[inline(always)]
    fn half<S: bytemuck::Pod>(&self, page: u32, which: usize) -> Half<'a, S> {
        let size = half_bytes(self.dim, size_of::<S>());
        // SAFETY: as whoever made it has promised.
        let bytes = unsafe { self.pages.read(self.start(page, which, size), size) };
        let (scales, numbers) = bytes.split_at(SCALES);
        Half { bytes, scales: bytemuck::from_bytes(scales), numbers: bytemuck::cast_slice(numbers) }
    }
}

/// One head of one token.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// `[head_dim]`
    pub values: &'a [f32],
    /// The first position that it sees, and the last.
    pub from: usize,
    pub to: usize,
}

impl Query<'_> {
    /// Whether it sees all of the page that begins at this position.
    #[inline(always)]
    fn sees_page(&self, begin: usize) -> bool {
        begin >= self.from && begin + PAGE - 1 <= self.to
    }

    /// Which tokens of the page that begins at this position it sees, a bit for each.
    #[inline(always)]
    pub fn seen(&self, begin: usize) -> u16 {
        let below = |position: usize| {
            let count = position.saturating_sub(begin).min(PAGE);
            ((1_u32 << count) - 1) as u16
        };
        below(self.to + 1) & !below(self.from)
    }

    #[inline(always)]
    fn sees(&self, position: usize) -> bool {
        (self.from..=self.to).contains(&position)
    }
}

/// The first page that any of the queries sees, and the last.
#[inline(always)]
fn pages(queries: &[Query<'_>]) -> (usize, usize) {
    let (mut first, mut last) = (usize::MAX, 0);
    for query in queries {
        first = first.min(query.from / PAGE);
        last = last.max(query.to / PAGE);
    }
    (first, last)
}

/// Hides the scores of what query `n` does not see, and returns the highest of the others. They begin at position `start`.
#[inline(always)]
fn highest<const N: usize>(scores: &mut [[[f32; PAGE]; N]], n: usize, query: Query<'_>, start: usize) -> f32 {
    let mut highest = [f32::NEG_INFINITY; PAGE];
    for (page, scores) in scores.iter_mut().enumerate() {
        let scores = &mut scores[n];
        let begin = start + page * PAGE;
        if !query.sees_page(begin) {
            for lane in 0..PAGE {
                // What lies outside is another token's, or none's.
                scores[lane] = if query.sees(begin + lane) { scores[lane] } else { f32::NEG_INFINITY };
            }
        }
        for lane in 0..PAGE {
            highest[lane] = if scores[lane] > highest[lane] { scores[lane] } else { highest[lane] };
        }
    }
    max_lanes(highest)
}

/// Queries that are computed together at most.
pub const QUERIES: usize = 12;

/// Queries up to which memory is fetched ahead. More of them are those of a prompt's neighbouring tokens, whose keys
/// others have just read, and compute longer than they read.
pub const FETCHED: usize = 4;

/// Numbers that one call takes, for positions up to `to`.
pub fn room(dim: usize, to: usize) -> usize {
    QUERIES * (dim + (to / PAGE + 1) * PAGE)
}

/// Plain Rust, compiled for whatever calls it.
pub struct Plain;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_a_query_what_it_sees() {
        for (from, to) in [(0, 0), (0, 15), (0, 16), (3, 40), (16, 31), (17, 17), (31, 32), (40, 100)] {
            let query = Query { values: &[], from, to };
            for begin in (0..128).step_by(PAGE) {
                let wanted =
                    (0..PAGE).filter(|lane| query.sees(begin + lane)).fold(0, |seen, lane| seen | 1 << lane);
                assert_eq!(query.seen(begin), wanted, "{from} to {to}, from {begin}");
                assert_eq!(query.sees_page(begin), wanted == u16::MAX);
            }
        }
    }
}
