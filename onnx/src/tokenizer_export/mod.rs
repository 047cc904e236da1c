//! The vocabulary of a GGUF file → the text of a Hugging Face `tokenizer.json`.
//!
//! ```text
//! vocabulary      tokens and their kinds
//! byte_level      `tokenizer.ggml.model = gpt2`: BPE on bytes
//! sentencepiece   `tokenizer.ggml.model = llama`: BPE on characters, merges made from scores
//! ```

mod byte_level;
mod sentencepiece;
#[cfg(test)]
mod sentencepiece_model;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Value as Json, json};
use tokenizers::Tokenizer;
use vocabulary::Vocabulary;

use crate::error::Refusal;
use crate::gguf::Value;

/// The metadata of a GGUF file.
type Metadata<'a> = BTreeMap<&'a str, Value<'a>>;

/// Makes `tokenizer.json`. What comes out has been loaded once: it is a tokenizer, and every token has the id
/// that the file gives it.
pub(crate) fn from_gguf(metadata: &Metadata) -> Result<String, Refusal> {
    let vocabulary = Vocabulary::read(metadata)?;
    let parts = match text(metadata, "tokenizer.ggml.model")? {
        Some("gpt2") => byte_level::parts(metadata, &vocabulary)?,
        Some("llama") => sentencepiece::parts(metadata, &vocabulary)?,
        Some(other) => {
            return Refusal::unsupported(format!(
                "metadata `tokenizer.ggml.model` is `{other}`; `gpt2` and `llama` can be exported"
            ));
        }
        None => return Refusal::invalid("metadata `tokenizer.ggml.model` is missing"),
    };
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added_tokens(),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": post_processor(metadata, &vocabulary, parts.adds_bos)?,
        "decoder": parts.decoder,
        "model": parts.model,
    })
    .to_string();
    check(&json, &vocabulary)?;
    Ok(json)
}

/// The parts of `tokenizer.json` in which the two kinds of tokenizer differ.
struct Parts {
    normalizer: Json,
    pre_tokenizer: Json,
    decoder: Json,
    model: Json,
    /// Whether a text begins with the `bos` token where the file does not say.
    adds_bos: bool,
}

/// Loads the result and compares every id. A token that nothing can produce would show only as a model that
/// talks strangely.
fn check(json: &str, vocabulary: &Vocabulary) -> Result<(), Refusal> {
    let tokenizer = Tokenizer::from_str(json).map_err(|error| {
        Refusal::Invalid(format!("the tokenizer's vocabulary does not fit together: {error}"))
    })?;
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let found = tokenizer.token_to_id(token.text);
        if found != Some(id as u32) {
            return Refusal::invalid(format!(
                "token {id} (`{}`) is not the only one with its text: it would be read as {found:?}",
                token.text.escape_debug()
            ));
        }
    }
    Ok(())
}

/// Puts the `bos` and `eos` tokens around a text where the file asks for it.
fn post_processor(metadata: &Metadata, vocabulary: &Vocabulary, adds_bos: bool) -> Result<Json, Refusal> {
    let adds = |key, default| match metadata.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| Refusal::Invalid(format!("metadata `{key}`: true or false was expected"))),
    };
    let mut before = Vec::new();
    let mut after = Vec::new();
    if adds("tokenizer.ggml.add_bos_token", adds_bos)? {
        before.push(vocabulary.named(metadata, "tokenizer.ggml.bos_token_id")?);
    }
    if adds("tokenizer.ggml.add_eos_token", false)? {
        after.push(vocabulary.named(metadata, "tokenizer.ggml.eos_token_id")?);
    }
    if before.is_empty() && after.is_empty() {
        return Ok(Json::Null);
    }
    let mark = |token: &(u32, &str), part: u8| json!({"SpecialToken": {"id": token.1, "type_id": part}});
    let around = |name: &str, part: u8| -> Vec<Json> {
        let sequence = json!({"Sequence": {"id": name, "type_id": part}});
        let before = before.iter().map(|token| mark(token, part));
        before.chain([sequence]).chain(after.iter().map(|token| mark(token, part))).collect()
    };
    let marks: serde_json::Map<String, Json> = before
        .iter()
        .chain(&after)
        .map(|(id, text)| ((*text).to_owned(), json!({"id": text, "ids": [id], "tokens": [text]})))
        .collect();
    let pair = [around("A", 0), around("B", 1)].concat();
    Ok(json!({
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": pair,
        "special_tokens": marks,
    }))
}

fn text<'a>(metadata: &Metadata<'a>, key: &str) -> Result<Option<&'a str>, Refusal> {
    match metadata.get(key) {
        None => Ok(None),
        Some(value) => match value.as_text() {
            Some(text) => Ok(Some(text)),
            None => Refusal::invalid(format!("metadata `{key}`: a text was expected")),
        },
    }
}
