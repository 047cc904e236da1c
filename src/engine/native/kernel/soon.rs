//! Memory that is read soon, and comes to the cache while products are computed.

/// Some pieces of memory, of which a little is fetched with each group of a product: all at once they would wait for each
/// other, and the products with them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Soon<'a> {
    now: &'a [u8],
    then: &'a [u8],
    behind: &'a [&'a [u8]],
    /// Cache lines that are left.
    left: usize,
    /// Whether `now` is one of those behind, which are too many for the nearest cache.
    is_far: bool,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl<'a> Soon<'a> {
    pub fn new([now, then]: [&'a [u8]; 2], behind: &'a [&'a [u8]]) -> Self {
        let left = [now, then].iter().chain(behind).map(|memory| memory.len().div_ceil(LINE)).sum();
        Self { now, then, behind, left, is_far: false }
    }

    /// Lines for each of `parts` products that are still to come.
    pub fn share(&self, parts: usize) -> usize {
        self.left.div_ceil(parts.max(1))
    }

    /// Where the next line begins, and whether it may come to the nearest cache.
    #[inline]
    pub fn line(&mut self) -> Option<(*const u8, bool)> {
        while self.now.is_empty() {
            if self.then.is_empty() {
                let (first, rest) = self.behind.split_first()?;
                (self.now, self.behind, self.is_far) = (first, rest, true);
            } else {
                self.now = std::mem::take(&mut self.then);
            }
        }
        let line = self.now.as_ptr();
        self.now = self.now.get(LINE..).unwrap_or_default();
        self.left = self.left.saturating_sub(1);
        Some((line, !self.is_far))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_once_in_order() {
        let (a, b, c, d) = ([0_u8; 130], [0_u8; 64], [0_u8; 1], [0_u8; 128]);
        let behind = [&c[..], &[], &d];
        let mut soon = Soon::new([&a, &b], &behind);
        assert_eq!((soon.share(1), soon.share(7), soon.share(0)), (7, 1, 7));
        let found: Vec<_> = std::iter::from_fn(|| soon.line()).collect();
        let near = |memory: &[u8], line: usize| (memory[line * LINE..].as_ptr(), true);
        let far = |memory: &[u8], line: usize| (memory[line * LINE..].as_ptr(), false);
        assert_eq!(
            found,
            [near(&a, 0), near(&a, 1), near(&a, 2), near(&b, 0), far(&c, 0), far(&d, 0), far(&d, 1)]
        );
        assert_eq!((soon.share(1), Soon::default().line()), (0, None));
    }
}
