//! Exported decoders, run in ONNX Runtime and compared with candle-transformers.
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's library and `NPC_GATEWAY_TEST_GGUF` the default model's file;
//! `cargo xtask test` sets both.

mod adapters;
mod architectures;
mod folder;
mod precision;
mod smollm2;
mod support;
