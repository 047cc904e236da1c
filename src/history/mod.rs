//! What was said. For now the hot tier alone: in memory, gone at a restart.

mod hot;

pub use hot::{Exchange, Hot, HotLimits};
