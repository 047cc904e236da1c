//! GGUF files of the Llama architecture.
//!
//! ```text
//! cursor      bounded reading of little-endian bytes
//! value       metadata values
//! header      the head of a file: metadata and tensor table, every length checked
//! config      metadata → the sizes of the decoder
//! rope        the rotary frequencies' scaling
//! names       GGUF tensor names → Hugging Face names
//! source      the weights, mapped into memory
//! ```

mod config;
mod cursor;
mod header;
mod names;
mod rope;
mod source;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use header::Header;
pub(crate) use source::open;
pub(crate) use value::{Array, Value};
