//! Checkpoint (GGUF or safetensors) → the ONNX decoder that npc-gateway runs.
//!
//! ```text
//! checkpoint   reading: one view of every kind of checkpoint (gguf, safetensors_dir, dequant, tokenizer_export)
//! weights      its tensors, quantized or not, into one file
//! quant, rope  8-bit blocks; rotary tables
//! packed       4- and 8-bit blocks as the native decoder reads them
//! graph        the decoder in ONNX operators over that file
//! proto        ONNX's file format
//! export       all of it into a folder, whole or not at all
//! model_file   the folder's description
//! placed       where a graph's large tensors lie in the file beside it
//! served       a folder's weights, read back as plain numbers
//! ```

mod checkpoint;
mod dequant;
mod error;
mod export;
mod gguf;
mod graph;
mod graph_info;
mod model_file;
pub mod packed;
mod placed;
mod proto;
mod quant;
mod rope;
mod safetensors_dir;
mod served;
#[cfg(test)]
mod testing;
mod tokenizer_export;
mod weights;

pub use checkpoint::{Architecture, Checkpoint, Llama3Rope, ModelConfig, RopeScaling, Tensor};
pub use error::ImportError;
pub use export::{NATIVE_GRAPH_FILE, Progress, import};
pub use graph::{NATIVE_DOMAIN, NATIVE_WEIGHTS_FILE};
pub use graph_info::{AdapterGroup, GraphInfo, Projection};
pub use model_file::{FORMAT_VERSION, ModelFile, Precision};
pub use placed::{PackedTensor, packed_tensors};
pub use served::ServedWeights;
