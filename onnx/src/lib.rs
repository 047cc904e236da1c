//! Checkpoint (GGUF or safetensors) → the ONNX decoder that npc-gateway runs.

mod checkpoint;
mod dequant;
mod error;
mod export;
mod gguf;
mod model_file;
mod safetensors_dir;
#[cfg(test)]
mod testing;
mod tokenizer_export;

pub use checkpoint::{Architecture, Checkpoint, Llama3Rope, ModelConfig, RopeScaling, Tensor};
pub use error::ImportError;
pub use export::{Progress, import};
pub use model_file::{AdapterGroup, FORMAT_VERSION, GraphInfo, ModelFile, Precision, Projection};
