//! `model.toml`: what a model folder holds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{ImportError, ModelConfig};

/// The version of the folder's layout that this crate writes and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The kind of numbers that an exported decoder stores and computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Weights and activations in 32-bit floats: the reference, four times as large as `Int8`.
    Fp32,
    /// Weights in 8 bits, one scale for 32 of them; activations in 32-bit floats at the edges of operators.
    Int8,
    /// Weights and activations in 16-bit floats, for CUDA.
    Fp16,
}

/// `model.toml`, read or about to be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// The folder's layout: [`FORMAT_VERSION`].
    pub format: u32,
    /// A name for people, from the checkpoint or its file name.
    pub name: String,
    pub precision: Precision,
    /// SHA-256 of the checkpoint, 64 lower-case hex digits.
    pub source_sha256: String,
    /// The checkpoint's file or folder name, without its path.
    pub source_file: String,
    /// The decoder's sizes.
    pub model: ModelConfig,
    /// What the engine must know of the graph.
    pub graph: GraphInfo,
}

/// The parts of the graph that adapters are placed by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphInfo {
    /// The fused linear layers of every decoder layer, in the graph's order: `qkv`, `o`, `gate_up`, `down`.
    pub groups: Vec<AdapterGroup>,
}

/// One fused linear layer: projections that read the same input, their outputs side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterGroup {
    /// The `{G}` of the inputs `lora.{i}.{G}.a`, `lora.{i}.{G}.b` and `lora.{G}.gate`.
    pub name: String,
    /// Columns of `x`, and rows of `a`.
    pub inputs: usize,
    /// Columns of `y`, and columns of `b`.
    pub outputs: usize,
    /// What the output columns are, without gaps and in order.
    pub projections: Vec<Projection>,
}

/// One linear layer's place in a fused one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// The module's name in PEFT's `target_modules`, such as `q_proj`.
    pub name: String,
    /// The first of its columns in the group's output.
    pub offset: usize,
    /// How many columns it has.
    pub size: usize,
}

impl ModelFile {
    /// Reads and checks `model.toml` in the folder `dir`. Errors name the key that is wrong.
    pub fn read(dir: &Path) -> Result<Self, ImportError> {
        let path = dir.join("model.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ImportError::Io { path: path.clone(), source })?;
        toml::from_str(&text).map_err(|error| ImportError::Invalid { path, reason: error.to_string() })
    }
}
