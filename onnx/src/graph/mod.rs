//! The decoder as ONNX graphs: in standard and `com.microsoft` operators only, and in operators of our own.
//!
//! ```text
//! builder      nodes, values and initializers
//! layout       where the weights lie
//! decoder      the portable graph; its inputs and outputs are described in the crate's README
//! native       the native decoder's graph
//! ```

mod builder;
mod decoder;
mod layout;
mod native;

pub use builder::NATIVE_DOMAIN;
pub use decoder::decoder;
pub use layout::{
    DecoderLayout, Embedding, LayerLayout, Linear, NATIVE_WEIGHTS_FILE, NativeTables, Placed, PlacedMatrix,
    WEIGHTS_FILE,
};
pub use native::native;
