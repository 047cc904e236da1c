//! The small files beside the weights. All of them are optional.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::TokenIds;
use crate::ImportError;
use crate::checkpoint::files;

/// Largest of these files, in bytes. `tokenizer_config.json` lists every added token; big ones take 300 KB.
const MAX_FILE: u64 = 16 << 20;

/// What the small files say.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// The names of those that are there.
    pub(super) found: Vec<&'static str>,
    pub(super) chat_template: Option<String>,
    /// Tokens that end an answer, beside those of `config.json`.
    pub(super) eos_tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<TokenIds>,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Template>,
    eos_token: Option<TokenText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Template {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Full { content: String },
}

/// As much of `tokenizer.json` as it takes to know the added tokens' ids.
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

impl Extras {
    pub(super) fn read(folder: &Path) -> Result<Self, ImportError> {
        let mut extras = Self::default();
        if let Some(generation) = extras.json::<GenerationConfig>(folder, "generation_config.json")? {
            extras.eos_tokens.extend(generation.eos_token_id.map(TokenIds::into_vec).unwrap_or_default());
        }
        let tokenizer = extras.json::<TokenizerConfig>(folder, "tokenizer_config.json")?;
        let template = extras.text(folder, "chat_template.jinja")?;
        if let Some(tokenizer) = tokenizer {
            if let Some(TokenText::Plain(text) | TokenText::Full { content: text }) = tokenizer.eos_token {
                extras.eos_tokens.extend(added_token(folder, &text)?);
            }
            extras.chat_template = match tokenizer.chat_template {
                Some(Template::One(template)) => Some(template),
                Some(Template::Named(all)) => {
                    all.into_iter().find(|named| named.name == "default").map(|named| named.template)
                }
                None => None,
            };
        }
        // A file of its own wins: the newer place.
        if template.is_some() {
            extras.chat_template = template;
        }
        Ok(extras)
    }

    fn text(&mut self, folder: &Path, name: &'static str) -> Result<Option<String>, ImportError> {
        let path = folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        self.found.push(name);
        files::read_text(&path, MAX_FILE).map(Some)
    }

    fn json<T: DeserializeOwned>(
        &mut self,
        folder: &Path,
        name: &'static str,
    ) -> Result<Option<T>, ImportError> {
        let Some(text) = self.text(folder, name)? else { return Ok(None) };
        files::parse_json(&text).map(Some).map_err(|refusal| refusal.of(&folder.join(name)))
    }
}

/// The id of an added token. A folder without a tokenizer has none; whoever asks for the tokenizer is told.
fn added_token(folder: &Path, text: &str) -> Result<Option<u32>, ImportError> {
    let path = folder.join("tokenizer.json");
    if !path.is_file() {
        return Ok(None);
    }
    let tokens: Tokens = files::read_json(&path, super::MAX_TOKENIZER)?;
    Ok(tokens.added_tokens.into_iter().find(|token| token.content == text).map(|token| token.id))
}
