use std::sync::atomic::{AtomicU64, Ordering};

use crate::archetype::Task;

/// How many answers of each task turns went on without, since the start.
#[derive(Debug, Default)]
pub struct Missed([AtomicU64; Task::ALL.len()]);

impl Missed {
    pub fn of(&self, task: Task) -> u64 {
        self.0[task as usize].load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, task: Task) {
        self.0[task as usize].fetch_add(1, Ordering::Relaxed);
    }
}
