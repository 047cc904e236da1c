//! Wires everything once.
