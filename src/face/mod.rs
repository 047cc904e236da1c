//! From what a character feels and says to what its face shows.
//!
//! A feeling becomes FACS action units (EMFACS), a line's text becomes visemes, which are action units too, and these
//! become the 52 blendshapes of ARKit. [`Performance`] does so along a line while it streams, and gives the keys that
//! clients play (`schemas/face/README.md` tells them how; `docs/face.md` shows the way). All numbers are in
//! `schemas/face/*.toml`. The room is pure: no I/O, no clock, no threads. The same tables, style, seed and calls give
//! the same keys on every machine: all arithmetic is the basic kind, and chance is ChaCha's.

mod expression;
mod perform;
mod pose;
mod style;
mod tables;

#[cfg(test)]
mod tests;

pub use expression::Expression;
pub use perform::{Key, Performance};
pub use pose::Pose;
pub use style::{Look, LookError, Side, Style};
pub use tables::{Sources, TableError, Tables};
