//! `model.toml`: what a model folder holds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{GraphInfo, ImportError, ModelConfig};

/// The version of the folder's layout that this crate writes and the only one that it reads.
pub const FORMAT_VERSION: u32 = 6;

/// The file's name in a model folder.
const FILE_NAME: &str = "model.toml";

/// Longest `model.toml` that is read, in bytes. A written one has about 2,000.
const MAX_FILE: u64 = 1 << 20;

/// Longest `name` and `source_file`, in bytes.
const MAX_NAME: usize = 255;

/// The kind of numbers that an exported decoder stores and computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Weights and activations in 32-bit floats: the reference, almost four times as large as `Int8`.
    Fp32,
    /// Weights in 8 bits, one scale for 32 of them; activations in 32-bit floats between the operators.
    Int8,
    /// Weights and activations in 16-bit floats, for CUDA.
    Fp16,
}

impl Precision {
    /// The name in `model.toml` and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
            Self::Fp16 => "fp16",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Fp32, Self::Int8, Self::Fp16]
            .into_iter()
            .find(|precision| precision.as_str() == text)
            .ok_or_else(|| format!("unknown precision {text:?}: use int8, fp32 or fp16"))
    }
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
    /// SHA-256 of the checkpoint, 64 lowercase hex digits.
    pub source_sha256: String,
    /// The checkpoint's file or folder name, without its path.
    pub source_file: String,
    /// The decoder's sizes.
    pub model: ModelConfig,
    /// What the engine must know of the graph.
    pub graph: GraphInfo,
}

impl ModelFile {
    /// Reads and checks `model.toml` in the folder `dir`. Errors name the key that is wrong.
    pub fn read(dir: &Path) -> Result<Self, ImportError> {
        let path = dir.join(FILE_NAME);
        let io = |source| ImportError::Io { path: path.clone(), source };
        let size = std::fs::metadata(&path).map_err(io)?.len();
        if size > MAX_FILE {
            let reason = format!("has {size} bytes, and at most {MAX_FILE} are read");
            return Err(ImportError::Invalid { path, reason });
        }
        let text = std::fs::read_to_string(&path).map_err(io)?;
        parse(&text).map_err(|reason| ImportError::Invalid { path, reason })
    }

    /// Writes `model.toml` into the folder `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), ImportError> {
        let path = dir.join(FILE_NAME);
        let text = toml::to_string_pretty(self)
            .map_err(|error| ImportError::Invalid { path: path.clone(), reason: error.to_string() })?;
        std::fs::write(&path, text).map_err(|source| ImportError::Io { path, source })
    }

    fn check(&self) -> Result<(), String> {
        for (key, text) in [("name", &self.name), ("source_file", &self.source_file)] {
            if text.is_empty() || text.len() > MAX_NAME {
                return Err(format!("{key}: has {} bytes, and must have 1 to {MAX_NAME}", text.len()));
            }
        }
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.source_sha256.len() != 64 || !self.source_sha256.bytes().all(hex) {
            return Err("source_sha256: must be 64 lowercase hex digits".into());
        }
        check_sizes(&self.model)?;
        self.graph.check(&self.model)
    }
}

fn parse(text: &str) -> Result<ModelFile, String> {
    /// Read first: another version may have other keys.
    #[derive(Deserialize)]
    struct Format {
        format: Option<u32>,
    }
    let Format { format } = at_key(text)?;
    match format {
        Some(FORMAT_VERSION) => {}
        Some(other) => {
            return Err(format!(
                "format: is {other}, and this version reads {FORMAT_VERSION}; import the checkpoint again"
            ));
        }
        None => return Err("format: is missing, so this is no model folder of ours".into()),
    }
    let file: ModelFile = at_key(text)?;
    file.check()?;
    Ok(file)
}

/// Parses TOML so that an error begins with its key.
fn at_key<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let deserializer = toml::Deserializer::parse(text).map_err(|error| error.to_string())?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        let reason = error.inner().message().to_owned();
        if key == "." { reason } else { format!("{key}: {reason}") }
    })
}

/// Checks what the engine would otherwise divide by or index with.
fn check_sizes(model: &ModelConfig) -> Result<(), String> {
    for (key, size, limit) in model.sizes() {
        if size == 0 || size > limit {
            return Err(format!("model.{key}: is {size}, and must be 1 to {limit}"));
        }
    }
    if !model.heads.is_multiple_of(model.kv_heads) {
        return Err(format!(
            "model.kv_heads: is {}, which does not divide the {} heads",
            model.kv_heads, model.heads
        ));
    }
    if !model.head_dim.is_multiple_of(2) {
        return Err(format!("model.head_dim: is {}, and must be even", model.head_dim));
    }
    let tokens = model.eos_tokens.iter().map(|&token| ("eos_tokens", token));
    for (key, token) in tokens.chain(model.bos_token.map(|token| ("bos_token", token))) {
        if token as usize >= model.vocab_size {
            return Err(format!(
                "model.{key}: holds {token}, and the vocabulary ends at {}",
                model.vocab_size - 1
            ));
        }
    }
    Ok(())
}
