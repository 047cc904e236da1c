//! The engine on the real model and the real ONNX Runtime.

mod support;
#[path = "../../onnx/tests/decoder/support/tiny.rs"]
mod tiny;

mod adapters;
mod architectures;
mod chains;
mod generation;
mod limits;
mod mixes;
mod native;
mod neighbours;
mod pool;
mod steps;
mod trained;
mod turns;
