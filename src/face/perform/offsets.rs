//! Which character is spoken when.

use std::collections::VecDeque;

/// Characters that are kept; where there are more, those in between have the offset of one before.
const KEPT: usize = 256;

/// The starts of characters, of those that are spoken now and later.
#[derive(Debug, Clone, Default)]
pub struct Offsets {
    /// Time and offset, in order.
    starts: VecDeque<(u64, u64)>,
    /// The last one that was asked for.
    reached: u64,
}

impl Offsets {
    pub fn add(&mut self, start: u64, offset: u64) {
        match self.starts.back_mut() {
            Some(last) if last.0 == start => last.1 = offset,
            _ => self.starts.push_back((start, offset)),
        }
        if self.starts.len() > KEPT {
            self.starts.pop_front();
        }
    }

    /// The offset of the character that is spoken at `t`; never less than before.
    pub fn at(&mut self, t: u64) -> u64 {
        while let Some(&(start, offset)) = self.starts.front()
            && start <= t
        {
            self.reached = self.reached.max(offset);
            self.starts.pop_front();
        }
        self.reached
    }

    /// At least `offset` from now on.
    pub fn raise(&mut self, offset: u64) -> u64 {
        self.reached = self.reached.max(offset);
        self.reached
    }
}
