//! Checkpoint in, model folder out.

use std::path::Path;

use crate::{ImportError, ModelFile, Precision};

/// How far an import has come; passed to its callback before each tensor and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done now, for people: a tensor's name, or a step such as `checking the source`.
    pub what: &'a str,
    /// Tensors written so far.
    pub done: usize,
    /// Tensors to write in all.
    pub total: usize,
}

/// Turns the checkpoint `source` (a GGUF file or a safetensors folder) into the model folder `out`.
///
/// `out` must not exist. The folder is made under a temporary name beside it and renamed at the end, so it
/// is there whole or not at all.
pub fn import(
    source: &Path,
    out: &Path,
    precision: Precision,
    progress: &mut dyn FnMut(Progress),
) -> Result<ModelFile, ImportError> {
    let _ = (out, precision, progress);
    Err(ImportError::Unsupported { path: source.to_owned(), reason: "not written yet".into() })
}
