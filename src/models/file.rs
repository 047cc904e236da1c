//! The file of remote models that `models.file` names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hyper::Uri;
use serde::Deserialize;

use super::LOCAL;
use crate::config::read_file;

/// Bytes of the file at most.
const MAX_BYTES: u64 = 256 << 10;
/// Models in it.
const MAX_MODELS: usize = 16;
/// LoRA names of one model.
const MAX_LORAS: usize = 256;
/// Characters of a name.
const MAX_NAME: usize = 200;

/// What is wrong with the remote models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting models.file: {}: {reason}", path.display())]
pub struct FileError {
    pub path: PathBuf,
    pub reason: String,
}

/// Which program serves a model. They differ in what they understand beyond the common part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ServerKind {
    #[serde(rename = "vllm")]
    Vllm,
    #[serde(rename = "tensorrt-llm")]
    TensorrtLlm,
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// Anything else: only what OpenAI's service understands is sent.
    #[serde(rename = "openai")]
    Openai,
}

/// A `[[model]]` of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// What it is called here.
    pub name: String,
    /// Its API, up to `/v1`.
    pub url: String,
    /// What its server calls it.
    pub model: String,
    pub server: ServerKind,
    /// What a million generated tokens cost.
    pub cost: f64,
    /// 0 to 1.
    pub quality: f64,
    /// The environment variable that holds its key.
    #[serde(default)]
    pub key_env: Option<String>,
    /// Lines that it answers at the same time.
    #[serde(default = "lines")]
    pub lines: usize,
    /// Archetype → what the server calls the model with that archetype's LoRA adapter.
    #[serde(default)]
    pub loras: BTreeMap<String, String>,
}

fn lines() -> usize {
    32
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    model: Vec<Remote>,
}

impl Remote {
    /// What its server calls it for an archetype.
    pub fn model_for(&self, archetype: &str) -> &str {
        self.loras.get(archetype).unwrap_or(&self.model)
    }

    /// Where it is asked.
    ///
    /// # Errors
    /// Why that is no address.
    pub fn address(&self) -> Result<Uri, String> {
        let address = format!("{}/chat/completions", self.url.trim_end_matches('/'));
        let uri: Uri = address.parse().map_err(|error| format!("{error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err("it must begin with http:// or https:// and name a host".into());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it holds a password: give the key with key_env".into());
        }
        if uri.query().is_some() {
            return Err("it must have no query".into());
        }
        Ok(uri)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !(1..=32).contains(&self.name.len()) || !self.name.chars().all(plain) {
            return Err(("name", format!("it is {:?}, but must be 1 to 32 of A-Z a-z 0-9 _ . -", self.name)));
        }
        if self.name == LOCAL {
            return Err(("name", format!("{LOCAL:?} is the model that runs in the gateway")));
        }
        // What is wrong with it, and not the address, which may hold a password.
        self.address().map_err(|reason| ("url", reason))?;
        let name =
            |text: &str| (1..=MAX_NAME).contains(&text.chars().count()) && !text.contains(char::is_control);
        if !name(&self.model) {
            return Err(("model", format!("it must have 1 to {MAX_NAME} characters")));
        }
        if !self.cost.is_finite() || !(0.0..=1e6).contains(&self.cost) {
            return Err(("cost", format!("it is {}, but must be from 0 to 1000000", self.cost)));
        }
        if !(0.0..=1.0).contains(&self.quality) {
            return Err(("quality", format!("it is {}, but must be from 0 to 1", self.quality)));
        }
        if !(1..=4096).contains(&self.lines) {
            return Err(("lines", format!("it is {}, but must be from 1 to 4096", self.lines)));
        }
        if self.loras.len() > MAX_LORAS || !self.loras.values().all(|lora| name(lora)) {
            let most = format!("at most {MAX_LORAS} names of 1 to {MAX_NAME} characters");
            return Err(("loras", format!("it must hold {most}")));
        }
        Ok(())
    }
}

#[cfg(test)]
impl Remote {
    pub fn example(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            model: "base".to_owned(),
            server: ServerKind::Openai,
            cost: 1.0,
            quality: 0.9,
            key_env: None,
            lines: 4,
            loras: BTreeMap::new(),
        }
    }
}

/// Reads the file.
///
/// # Errors
/// [`FileError`] names the model and the key.
pub fn read(path: &Path) -> Result<Vec<Remote>, FileError> {
    let fail = |reason: String| FileError { path: path.to_owned(), reason };
    let bytes = read_file(path, MAX_BYTES).map_err(|error| fail(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("it is no UTF-8".into()))?;
    parse(&text).map_err(fail)
}

fn parse(text: &str) -> Result<Vec<Remote>, String> {
    let toml = toml::Deserializer::parse(text).map_err(|error| error.message().to_owned())?;
    let File { model } = serde_path_to_error::deserialize(toml).map_err(|error| {
        let (path, reason) = (error.path().to_string(), error.inner().message().to_owned());
        if path == "." { reason } else { format!("{path}: {reason}") }
    })?;
    if model.is_empty() || model.len() > MAX_MODELS {
        return Err(format!("it holds {} models, but must hold 1 to {MAX_MODELS}", model.len()));
    }
    let mut names = BTreeSet::new();
    for (at, remote) in model.iter().enumerate() {
        remote.check().map_err(|(key, reason)| format!("model[{at}].{key}: {reason}"))?;
        if !names.insert(&remote.name) {
            return Err(format!("model[{at}].name: {:?} is there twice", remote.name));
        }
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[model]]
        name = "big"
        url = "https://models.example/v1/"
        model = "studio/big"
        server = "vllm"
        cost = 0.5
        quality = 0.8
        key_env = "BIG_KEY"
        loras = { banshee = "banshee-lora" }
    "#;

    #[test]
    fn a_good_file_is_read() {
        let models = parse(GOOD).unwrap();
        assert_eq!((models.len(), models[0].lines, models[0].server), (1, 32, ServerKind::Vllm));
        assert_eq!(models[0].address().unwrap(), "https://models.example/v1/chat/completions");
        assert_eq!(
            (models[0].model_for("banshee"), models[0].model_for("ghoul")),
            ("banshee-lora", "studio/big")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |from: &str, to: &str| parse(&GOOD.replace(from, to)).unwrap_err();
        for (from, to, named) in [
            ("\"big\"", "\"local\"", "model[0].name: \"local\" is the model that runs in the gateway"),
            ("\"big\"", "\"a b\"", "model[0].name: it is \"a b\""),
            ("https://models", "ftp://models", "model[0].url: it must begin with http"),
            ("https://models", "https://me:secret@models", "model[0].url: it holds a password"),
            ("/v1/", "/v1?x=1", "model[0].url: it must have no query"),
            ("studio/big", "", "model[0].model: it must have 1 to 200"),
            ("\"vllm\"", "\"tgi\"", "model[0].server: unknown variant `tgi`"),
            ("cost = 0.5", "cost = -1.0", "model[0].cost: it is -1"),
            ("cost = 0.5", "cost = nan", "model[0].cost: it is NaN"),
            ("quality = 0.8", "quality = 1.5", "model[0].quality: it is 1.5"),
            ("quality = 0.8", "quality = 0.8\nlines = 0", "model[0].lines: it is 0"),
            ("quality = 0.8", "", "model[0]: missing field `quality`"),
            ("key_env", "key", "model[0].key: unknown field `key`"),
            ("[[model]]", "[[models]]", "models: unknown field `models`"),
        ] {
            let error = with(from, to);
            assert!(error.contains(named), "{from} → {to}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(parse("").unwrap_err().contains("holds 0 models"));
        assert!(parse(&GOOD.repeat(2)).unwrap_err().contains("model[1].name: \"big\" is there twice"));
        assert!(parse("[[model").is_err());
        let missing = read(Path::new("/missing/models.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("setting models.file: /missing/models.toml: "), "{missing}");
    }
}
