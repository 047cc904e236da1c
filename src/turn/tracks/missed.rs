use std::sync::atomic::{AtomicU64, Ordering};

use super::Asked;
use crate::archetype::Task;
use crate::engine::EngineError;
use crate::metrics::{Missing, Question};

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

impl Asked {
    /// As what it is counted.
    pub(super) fn counted(self) -> Question {
        match self {
            Self::Emotion(_) => Question::Emotion,
            Self::Action => Question::Action,
            Self::Social => Question::Social,
            Self::Goal => Question::Goal,
        }
    }
}

/// Why there is no answer.
pub(super) fn missing(error: &EngineError) -> Missing {
    match error {
        EngineError::Overloaded { .. } | EngineError::DeadlineExceeded { .. } => Missing::Overloaded,
        _ => Missing::Failed,
    }
}
