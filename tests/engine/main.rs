//! The engine on the real model and the real ONNX Runtime.

mod support;

mod generation;
mod mixes;
