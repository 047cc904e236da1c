//! `npc-gateway pull` as a user runs it: the real binary, the real pip, the real package index.
//!
//! Python with pip and the index are needed, as they are for a first `cargo xtask test`; pip's own cache spares
//! the network from the second download on.

mod faults;
mod fetch;
mod kill;
mod support;
