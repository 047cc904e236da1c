//! What `cargo xtask fuzz` runs. `tests/fuzz.rs` runs the same functions on the corpus, and on damaged pieces of it.

pub mod targets;
