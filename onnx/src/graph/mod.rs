//! The decoder as an ONNX graph, in standard and `com.microsoft` operators only.
//!
//! ```text
//! builder      nodes, values and initializers
//! layout       where the weights lie
//! decoder      the graph itself; its inputs and outputs are described in the crate's README
//! ```

mod builder;
mod decoder;
mod layout;

pub use decoder::decoder;
pub use layout::{DecoderLayout, Embedding, LayerLayout, Linear, Placed, WEIGHTS_FILE};
