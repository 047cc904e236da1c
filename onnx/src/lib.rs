//! Checkpoint (GGUF or safetensors) → the ONNX decoder that npc-gateway runs.

mod checkpoint;
mod error;

pub use checkpoint::{Architecture, Llama3Rope, ModelConfig, RopeScaling, Tensor};
pub use error::ImportError;
