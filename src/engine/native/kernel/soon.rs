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
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl<'a> Soon<'a> {
    pub fn new([now, then]: [&'a [u8]; 2], behind: &'a [&'a [u8]]) -> Self {
        let left = [now, then].iter().chain(behind).map(|memory| memory.len().div_ceil(LINE)).sum();
        Self { now, then, behind, left }
    }

    /// Lines for each of `parts` products that are still to come.
    pub fn share(&self, parts: usize) -> usize {
        self.left.div_ceil(parts.max(1))
    }

    /// Where the next line begins.
    #[inline]
    pub fn line(&mut self) -> Option<*const u8> {
        while self.now.is_empty() {
            if self.then.is_empty() {
                let (first, rest) = self.behind.split_first()?;
                (self.now, self.behind) = (first, rest);
            } else {
                self.now = std::mem::take(&mut self.then);
            }
        }
        let line = self.now.as_ptr();
        self.now = self.now.get(LINE..).unwrap_or_default();
        self.left = self.left.saturating_sub(1);
        Some(line)
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
        let at = |memory: &[u8], line: usize| memory[line * LINE..].as_ptr();
        assert_eq!(found, [at(&a, 0), at(&a, 1), at(&a, 2), at(&b, 0), at(&c, 0), at(&d, 0), at(&d, 1)]);
        assert_eq!((soon.share(1), Soon::default().line()), (0, None));
    }
}
