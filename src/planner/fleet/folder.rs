//! Base models that lie in a folder: a checkpoint's `config.json`, or the `model.toml` that `import` writes.

use serde::Deserialize;

use super::super::input::{self, InputError};
use super::super::models::{Architecture, BaseModel, Folder};

/// Largest file that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// `config.json`, in the words of Hugging Face's transformers.
#[derive(Deserialize)]
struct Config {
    model_type: String,
    num_hidden_layers: u32,
    hidden_size: u32,
    intermediate_size: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: u32,
    #[serde(default)]
    tie_word_embeddings: bool,
    max_position_embeddings: u32,
}

/// `model.toml`: only the part that says what the decoder is.
#[derive(Deserialize)]
struct Imported {
    model: Sizes,
}

#[derive(Deserialize)]
struct Sizes {
    architecture: String,
    layers: u32,
    hidden_size: u32,
    intermediate_size: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    vocab_size: u32,
    tie_word_embeddings: bool,
    max_position: u32,
}

/// The base model that a folder's file describes: `file` is `config.json` or `model.toml`, `name` what it shall be called.
///
/// # Errors
/// Another file, more than 1 MiB, a missing key or a size outside its range. The message names the file and the key.
pub fn model_of_folder(name: &str, file: &str, text: &str) -> Result<BaseModel, InputError> {
    if text.len() > MAX_BYTES {
        return Err(InputError::bad(format!("{file} (bytes)"), text.len(), format!("at most {MAX_BYTES}")));
    }
    let sizes = if file.ends_with("model.toml") {
        input::parse::<Imported>(file, text)?.model
    } else if file.ends_with("config.json") {
        let mut json = serde_json::Deserializer::from_str(text);
        let read: Config = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let key = if path == "." { String::new() } else { format!("{path}: ") };
            InputError::Syntax { file: file.to_owned(), key, reason: error.inner().to_string() }
        })?;
        read.sizes()
    } else {
        return Err(InputError::bad("model", file, "a folder with config.json or model.toml"));
    };
    sizes.into_model(name, file)
}

impl Config {
    fn sizes(self) -> Sizes {
        let heads = self.num_attention_heads;
        Sizes {
            architecture: self.model_type,
            layers: self.num_hidden_layers,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim: self.head_dim.unwrap_or(self.hidden_size / heads.max(1)),
            vocab_size: self.vocab_size,
            tie_word_embeddings: self.tie_word_embeddings,
            max_position: self.max_position_embeddings,
        }
    }
}

impl Sizes {
    fn into_model(self, name: &str, file: &str) -> Result<BaseModel, InputError> {
        input::text("model", name)?;
        let architecture = Architecture {
            layers: self.layers,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            vocab: self.vocab_size,
            tied_embeddings: self.tie_word_embeddings,
            // Of the families that the gateway imports, Qwen 2 alone has them.
            attention_bias: self.architecture == "qwen2",
        };
        architecture.check(file)?;
        input::whole(&format!("{file}.max_position"), u64::from(self.max_position), 1, 1 << 24)?;
        Ok(BaseModel {
            name: name.to_owned(),
            title: name.to_owned(),
            published_parameters: architecture.parameters().total(),
            architecture,
            context_tokens: self.max_position,
            source: file.to_owned(),
            folder: Some(Folder::default()),
        })
    }
}
