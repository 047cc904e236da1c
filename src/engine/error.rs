//! What can go wrong in the engine.

use std::path::PathBuf;

/// Why the engine did not start, or a request did not run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    #[error("the engine has no place for it; try again in {retry_after_ms} ms")]
    Overloaded { retry_after_ms: u64 },
    #[error("no place became free within {waited_ms} ms; try again in {retry_after_ms} ms")]
    DeadlineExceeded { waited_ms: u64, retry_after_ms: u64 },
    #[error("the prompt has {tokens} tokens, but at most {limit} fit beside the answer (engine.context)")]
    PromptTooLong { tokens: usize, limit: usize },
    #[error("{field} is {value}, but must be {allowed}")]
    BadRequest { field: &'static str, value: String, allowed: String },
    #[error("no adapter {0:?} is loaded")]
    UnknownAdapter(String),
    #[error("adapter {path}: {reason}")]
    BadAdapter { path: PathBuf, reason: String },
    #[error("model folder {path}: {reason}")]
    BadModel { path: PathBuf, reason: String },
    /// An empty path: the text that is built in.
    #[error("script {path}: {reason}")]
    BadScript { path: PathBuf, reason: String },
    #[error("ONNX Runtime: {0}")]
    Runtime(String),
    #[error("execution provider {provider}: {reason}; providers that this ONNX Runtime has: {found}")]
    Provider { provider: String, reason: String, found: String },
    /// A model elsewhere that answered in the engine's place.
    #[error("remote model {model:?}: {reason}")]
    Remote { model: String, reason: String },
    #[error("the engine has stopped")]
    Stopped,
}
