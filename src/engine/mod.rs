//! Tokens in, tokens out: the scheduler, the KV slots, the adapter pool, the sampler and the ONNX session.

mod error;
mod request;
pub mod tokenizer;

pub use error::EngineError;
pub use request::{
    Choice, Choose, Event, FinishReason, Generate, Generation, Mix, Sampling, Usage, Weighted,
};
pub use tokenizer::Tokenizer;
