//! The engine on the real model and the real ONNX Runtime.

mod support;

mod adapters;
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
