//! A checkpoint of any supported kind, seen one way: Hugging Face tensor names, half-split rotary order.
//!
//! ```text
//! config        the sizes of a decoder
//! layout        which tensors a decoder of those sizes has, and their shapes
//! source        what a kind of checkpoint must offer
//! files         reading, mapping and hashing
//! ```

mod config;
pub(crate) mod files;
mod layout;
mod source;
mod tensor;

use std::path::{Path, PathBuf};

pub use config::{Architecture, Llama3Rope, ModelConfig, RopeScaling};
pub(crate) use source::Source;
pub use tensor::Tensor;

use crate::{ImportError, gguf, safetensors_dir};

/// An opened checkpoint: a GGUF file or a Hugging Face folder.
///
/// The weights stay in the file, mapped into memory; [`Checkpoint::tensor`] decodes one at a time. The files
/// must not be changed or cut short while the checkpoint is open: the mapping would see it.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) config: ModelConfig,
    pub(crate) chat_template: Option<String>,
    pub(crate) source: Box<dyn Source>,
}

impl Checkpoint {
    /// Opens a GGUF file or a Hugging Face folder and checks that every tensor of the architecture is there
    /// with the right shape, so that a broken checkpoint is refused before any work is done.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let checkpoint = if path.is_dir() { safetensors_dir::open(path)? } else { gguf::open(path)? };
        layout::check(&checkpoint.config, checkpoint.source.as_ref()).map_err(|refusal| refusal.of(path))?;
        Ok(checkpoint)
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's name: `general.name` of a GGUF file, else the file's or folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the source in lowercase hex. For a folder: of the lines that `sha256sum` prints for the
    /// files that were read, in name order.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The sizes and constants, checked to be in range and to fit the tensors.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// True where [`Checkpoint::tensor`] would find `name`. `lm_head.weight` is absent when the output layer
    /// is tied to the embedding, even where a file carries a copy.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.source.shape(name).is_some()
    }

    /// Decodes a tensor by its Hugging Face name (`model.layers.0.self_attn.q_proj.weight`). Linear weights
    /// are `[out, in]`; the rows of q and k are in half-split rotary order. The only error is a name that
    /// [`Checkpoint::has_tensor`] denies.
    pub fn tensor(&self, name: &str) -> Result<Tensor, ImportError> {
        self.source.tensor(name)
    }

    /// The tokenizer as the text of a Hugging Face `tokenizer.json`.
    pub fn tokenizer_json(&self) -> Result<String, ImportError> {
        self.source.tokenizer_json()
    }

    /// The chat template in Jinja, where the checkpoint has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}
