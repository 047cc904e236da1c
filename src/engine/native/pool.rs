//! Which page belongs to how many sequences.

use super::kernel::PAGE;
use super::pages::Pages;
use crate::engine::EngineError;

/// Counts the users of every page.
#[derive(Debug)]
pub struct Pool {
    /// Sequences that have the page.
    users: Vec<u32>,
    /// Pages without users.
    free: Vec<u32>,
}

impl Pool {
    pub fn new(pages: usize) -> Self {
        // A u32 each: 2³² pages would be more memory than there is.
        Self { users: vec![0; pages], free: (0..pages as u32).rev().collect() }
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn retain(&mut self, page: u32) {
        self.users[page as usize] += 1;
    }

    pub fn release(&mut self, page: u32) {
        let users = &mut self.users[page as usize];
        *users -= 1;
        if *users == 0 {
            self.free.push(page);
        }
    }

    fn take(&mut self) -> Result<u32, EngineError> {
        let page = self.free.pop().ok_or_else(|| {
            EngineError::Runtime("no page of the KV cache is free (engine.kv_memory_mb)".into())
        })?;
        self.users[page as usize] = 1;
        Ok(page)
    }

    /// Sees to it that the sequence has a page of its own for the token at `position`.
    pub fn make_writable(
        &mut self,
        table: &mut Vec<u32>,
        position: usize,
        pages: &mut Pages,
    ) -> Result<(), EngineError> {
        let index = position / PAGE;
        while table.len() <= index {
            table.push(self.take()?);
        }
        let page = table[index];
        if self.users[page as usize] > 1 {
            let own = self.take()?;
            pages.copy(page, own, position % PAGE);
            self.release(page);
            table[index] = own;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::kernel::Kept;
    use super::super::pages::Sizes;
    use super::{PAGE, Pages, Pool};

    proptest! {
        /// Shared, written and released in any order: every page is either free or counted as often as it is used,
        /// and no write goes to a page that somebody else has.
        #[test]
        fn pages_are_never_lost_nor_written_by_two(steps in prop::collection::vec((0_usize..4, 0_usize..6, 0_usize..6, 0_usize..90), 1..80)) {
            let mut pool = Pool::new(64);
            let sizes = Sizes { layers: 1, kv_heads: 1, head_dim: 16, kept: Kept::Int8 };
            let mut pages = Pages::new(sizes, 64).unwrap();
            let mut tables: Vec<Vec<u32>> = vec![Vec::new(); 6];
            for (what, a, b, position) in steps {
                match what {
                    0 | 1 => {
                        let room = tables[a].len() * PAGE;
                        let position = position.min(room);
                        if pool.make_writable(&mut tables[a], position, &mut pages).is_ok() {
                            let page = tables[a][position / PAGE];
                            for (i, table) in tables.iter().enumerate() {
                                prop_assert!(i == a || !table.contains(&page));
                            }
                        }
                    }
                    2 if a != b => {
                        for page in std::mem::take(&mut tables[b]) {
                            pool.release(page);
                        }
                        let shared = tables[a][..tables[a].len().min(position / PAGE)].to_vec();
                        for page in &shared {
                            pool.retain(*page);
                        }
                        tables[b] = shared;
                    }
                    _ => {
                        for page in std::mem::take(&mut tables[a]) {
                            pool.release(page);
                        }
                    }
                }
                let mut used = vec![0; 64];
                tables.iter().flatten().for_each(|page| used[*page as usize] += 1);
                prop_assert_eq!(&used, &pool.users);
                prop_assert_eq!(pool.free(), used.iter().filter(|users| **users == 0).count());
            }
        }
    }
}
