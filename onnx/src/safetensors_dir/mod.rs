//! Hugging Face folders: `config.json`, safetensors, `tokenizer.json`.
//!
//! ```text
//! config      config.json → the sizes of the decoder
//! weights     the safetensors files, mapped into memory
//! extras      the files beside them: generation settings, tokenizer settings, chat template
//! ```

mod config;
mod extras;
#[cfg(test)]
mod tests;
mod weights;

use std::path::{Path, PathBuf};

use extras::Extras;
use tokenizers::Tokenizer;
use weights::Weights;

use crate::ImportError;
use crate::checkpoint::{Checkpoint, Source, Tensor, files};
use crate::error::Refusal;

/// Largest `tokenizer.json`, in bytes. Those of big vocabularies take some tens of MiB.
const MAX_TOKENIZER: u64 = 128 << 20;

/// An opened folder.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    weights: Weights,
}

/// Opens a Hugging Face folder.
pub(crate) fn open(path: &Path) -> Result<Checkpoint, ImportError> {
    let mut parts = config::read(&path.join("config.json"))?;
    let extras = Extras::read(path)?;
    parts.eos_tokens.extend_from_slice(&extras.eos_tokens);
    let weights = Weights::open(path)?;
    let config = parts.finish(weights.has("lm_head.weight")).map_err(|r| r.of(&path.join("config.json")))?;
    let weights = weights.without_copies(config.tie_word_embeddings);
    let sha256 = sha256(path, &weights, &extras)?;
    let name =
        path.canonicalize().ok().and_then(|full| Some(full.file_name()?.to_string_lossy().into_owned()));
    Ok(Checkpoint {
        path: path.to_owned(),
        name: name.unwrap_or_default(),
        sha256,
        config,
        chat_template: extras.chat_template,
        source: Box::new(Folder { path: path.to_owned(), weights }),
    })
}

/// SHA-256 of what `sha256sum` prints for the files that make the model, in name order. Other files of the
/// folder (a README, the weights in another format) do not count.
fn sha256(path: &Path, weights: &Weights, extras: &Extras) -> Result<String, ImportError> {
    let mut lines: Vec<String> = weights.hashes().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    let small = ["config.json", "model.safetensors.index.json", "tokenizer.json"];
    for name in small.into_iter().chain(extras.found.iter().copied()) {
        let file = path.join(name);
        if file.is_file() {
            lines.push(format!("{}  {name}\n", files::sha256_hex(&files::map(&file)?)));
        }
    }
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    Ok(files::sha256_hex(lines.concat().as_bytes()))
}

impl Source for Folder {
    fn names(&self) -> Vec<String> {
        self.weights.names()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, ImportError> {
        self.weights
            .tensor(name)
            .ok_or_else(|| Refusal::Invalid(format!("tensor `{name}` is missing")).of(&self.path))
    }

    fn tokenizer_json(&self) -> Result<String, ImportError> {
        let path = self.path.join("tokenizer.json");
        let text = files::read_text(&path, MAX_TOKENIZER)?;
        match Tokenizer::from_bytes(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Refusal::Invalid(format!("no tokenizer: {error}")).of(&path)),
        }
    }
}
