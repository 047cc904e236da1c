//! Memory that is read soon, and comes to the cache while products are computed.

use std::ops::Range;

use super::ranks::UpLines;

/// Some pieces of memory, of which a little is fetched every few lines of a product: many at once would wait for each other,
/// and the products with them, or not come at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Soon<'a> {
    /// Panels of adapters' B, which come first: they are read behind these products.
    ups: &'a [UpLines],
    panel: usize,
    panels: usize,
    /// The piece that is being fetched,
    now: Lines,
    /// the one behind it,
    near: Lines,
    /// and those behind that one, which are too many for the nearest cache.
    far: &'a [Lines],
    /// Lines that are left of all but B.
    left: usize,
    /// Whether `now` is a far one.
    is_far: bool,
}

/// Cache lines that are fetched, and never read.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    first: *const u8,
    count: usize,
}

// SAFETY: nobody reads or writes there.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

impl Default for Lines {
    fn default() -> Self {
        Self { first: std::ptr::null(), count: 0 }
    }
}

/// How much comes at once: adapters' B, and lines of all else.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    ups: usize,
    lines: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl Lines {
    pub fn of(memory: &[u8]) -> Self {
        Self { first: memory.as_ptr(), count: memory.len().div_ceil(LINE) }
    }

    /// How many they are.
    pub fn count(self) -> usize {
        self.count
    }

    /// As many so far behind.
    #[must_use]
    pub fn behind(self, lines: usize) -> Self {
        Self { first: self.first.wrapping_add(lines * LINE), ..self }
    }

    /// Some of them.
    pub fn part(self, lines: Range<usize>) -> Self {
        Self { count: lines.len(), ..self.behind(lines.start) }
    }
}

impl<'a> Soon<'a> {
    pub fn new(near: [&'a [u8]; 2], far: &'a [Lines]) -> Self {
        let [now, near] = near.map(Lines::of);
        let lines = far.iter().fold(0, |lines, some| lines + some.count);
        Self { now, near, far, left: now.count + near.count + lines, ..Self::default() }
    }

    /// Before all else some panels of these adapters' B.
    pub fn with(self, ups: &'a [UpLines], panels: Range<usize>) -> Self {
        Self { ups, panel: panels.start, panels: panels.len(), ..self }
    }

    /// How much comes each of so many times in the first of `parts` products that are still to come: all of B, and a share of
    /// the rest.
    pub fn pace(&mut self, parts: usize, times: usize) -> Pace {
        let share = self.left.div_ceil(parts.max(1));
        self.left -= share.min(self.left);
        Pace { ups: self.ups.len().div_ceil(times.max(1)), lines: share.div_ceil(times.max(1)) }
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.now.count == 0 && self.near.count == 0 && self.far.is_empty() && self.ups.is_empty()
    }

    /// What comes at once: `near` to the nearest cache, or `far` to the next one.
    #[inline(always)] // A call would put the caller's registers into memory.
    pub fn fetch(&mut self, pace: Pace, near: impl Fn(*const u8), far: impl Fn(*const u8)) {
        if pace.ups > 0 {
            let (some, rest) = self.ups.split_at(pace.ups.min(self.ups.len()));
            self.ups = rest;
            for up in some {
                let first = up.first.wrapping_add(self.panel * up.quads);
                for line in 0..self.panels * up.quads {
                    near(first.wrapping_add(line).cast());
                }
            }
        }
        let mut left = pace.lines;
        while left > 0 {
            if self.now.count == 0 {
                if self.near.count > 0 {
                    self.now = std::mem::take(&mut self.near);
                } else {
                    let Some((first, rest)) = self.far.split_first() else { return };
                    (self.now, self.far, self.is_far) = (*first, rest, true);
                }
                continue;
            }
            let line = self.now.first;
            if self.is_far {
                far(line);
            } else {
                near(line);
            }
            self.now = Lines { first: line.wrapping_add(LINE), count: self.now.count - 1 };
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::weights::Line;
    use super::*;

    #[test]
    fn every_line_comes_once_in_order() {
        let (a, b, c, d) = ([0_u8; 130], [0_u8; 64], [0_u8; 1], [0_u8; 128]);
        let (behind, ups) = ([&c[..], &[], &d].map(Lines::of), [[Line::default(); 6], [Line::default(); 6]]);
        let ups = [UpLines::new(&ups[0], 2), UpLines::new(&ups[1], 1)];
        let up = |adapter: usize, line: usize| (ups[adapter].first.wrapping_add(line).cast::<u8>(), true);
        let line = |memory: &[u8], line: usize, is_near| (memory[line * LINE..].as_ptr(), is_near);
        let of_b = [up(0, 2), up(0, 3), up(0, 4), up(0, 5), up(1, 1), up(1, 2)];
        let near = [line(&a, 0, true), line(&a, 1, true), line(&a, 2, true), line(&b, 0, true)];
        let far = [line(&c, 0, false), line(&d, 0, false), line(&d, 1, false)];
        for (parts, groups) in [(1, 1), (1, 3), (2, 2), (3, 1), (4, 9), (1, 100)] {
            let mut soon = Soon::new([&a, &b], &behind).with(&ups, 1..3);
            let found = RefCell::new(Vec::new());
            let mut first = 0;
            for part in 0..parts {
                let pace = soon.pace(parts - part, groups);
                for _ in 0..groups {
                    soon.fetch(
                        pace,
                        |line| found.borrow_mut().push((line, true)),
                        |line| found.borrow_mut().push((line, false)),
                    );
                }
                if part == 0 {
                    first = found.borrow().len();
                }
            }
            let mut found = found.into_inner();
            // All of B is among the first.
            assert!(of_b.iter().all(|line| found[..first].contains(line)), "{parts}, {groups}");
            assert!(soon.is_over());
            found.retain(|line| !of_b.contains(line));
            assert_eq!(found, [&near[..], &far].concat(), "{parts}, {groups}");
        }
        Soon::default().fetch(Pace { ups: 3, lines: 3 }, |_| panic!("nothing"), |_| panic!("nothing"));
    }
}
