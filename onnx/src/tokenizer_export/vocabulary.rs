//! The tokens of a GGUF file.

use serde_json::{Map, Value as Json, json};

use super::Metadata;
use crate::error::Refusal;
use crate::gguf::Array;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// Stands for what the vocabulary cannot spell.
    Unknown,
    /// A mark of the chat template or of the end of a text; never made from plain text.
    Control,
    /// Plain text that is always one token.
    UserDefined,
    /// Fills the vocabulary up.
    Unused,
    /// One byte of what the vocabulary cannot spell.
    Byte,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) kind: Kind,
}

/// The tokens in the order of their ids.
#[derive(Debug)]
pub(super) struct Vocabulary<'a> {
    pub(super) tokens: Vec<Token<'a>>,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn read(metadata: &Metadata<'a>) -> Result<Self, Refusal> {
        let Some(texts) = array(metadata, "tokenizer.ggml.tokens")? else {
            return Refusal::invalid("metadata `tokenizer.ggml.tokens` is missing");
        };
        let kinds = array(metadata, "tokenizer.ggml.token_type")?;
        if let Some(kinds) = kinds
            && kinds.len() != texts.len()
        {
            return Refusal::invalid(format!(
                "metadata `tokenizer.ggml.token_type` has {} elements for {} tokens",
                kinds.len(),
                texts.len()
            ));
        }
        let mut kinds = kinds.map(Array::iter);
        let mut tokens = Vec::new();
        for (id, text) in texts.iter().enumerate() {
            let Some(text) = text.as_text() else {
                return Refusal::invalid("metadata `tokenizer.ggml.tokens`: texts were expected");
            };
            let kind = match kinds.as_mut().map(|kinds| kinds.next().and_then(|kind| kind.as_unsigned())) {
                None | Some(Some(1)) => Kind::Normal,
                Some(Some(2)) => Kind::Unknown,
                Some(Some(3)) => Kind::Control,
                Some(Some(4)) => Kind::UserDefined,
                Some(Some(5)) => Kind::Unused,
                Some(Some(6)) => Kind::Byte,
                Some(other) => {
                    return Refusal::invalid(format!(
                        "metadata `tokenizer.ggml.token_type`: token {id} has type {other:?}, not 1 to 6"
                    ));
                }
            };
            tokens.push(Token { text, kind });
        }
        Ok(Self { tokens })
    }

    /// Control and user-defined tokens, which are found in a text before it is split.
    pub(super) fn added_tokens(&self) -> Vec<Json> {
        let added = self.tokens.iter().enumerate().filter(|(_, token)| token.is_added());
        added
            .map(|(id, token)| {
                json!({
                    "id": id,
                    "content": token.text,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": token.kind == Kind::Control,
                })
            })
            .collect()
    }

    /// The vocabulary of the BPE model. Added tokens at its end are left out, as Hugging Face has it: a model
    /// that takes whole words from its vocabulary could make them from plain text. Those between other tokens
    /// must stay, or the ids after them would move.
    pub(super) fn of_model(&self) -> Map<String, Json> {
        let end = self.tokens.iter().rposition(|token| !token.is_added()).map_or(0, |last| last + 1);
        self.tokens[..end].iter().enumerate().map(|(id, token)| (token.text.to_owned(), id.into())).collect()
    }

    /// The id and text of the token that the metadata names by `key`.
    pub(super) fn named(&self, metadata: &Metadata, key: &str) -> Result<(u32, &'a str), Refusal> {
        let id = metadata.get(key).and_then(crate::gguf::Value::as_unsigned);
        let found =
            id.and_then(|id| usize::try_from(id).ok()).and_then(|id| Some((id, self.tokens.get(id)?)));
        match found {
            Some((id, token)) => Ok((id as u32, token.text)),
            None => {
                Refusal::invalid(format!("metadata `{key}`: the id of a token was expected, found {id:?}"))
            }
        }
    }
}

impl Token<'_> {
    fn is_added(&self) -> bool {
        matches!(self.kind, Kind::Control | Kind::UserDefined)
    }
}

/// The array that the metadata has under `key`.
pub(super) fn array<'m, 'a>(metadata: &'m Metadata<'a>, key: &str) -> Result<Option<&'m Array<'a>>, Refusal> {
    match metadata.get(key) {
        None => Ok(None),
        Some(value) => match value.as_array() {
            Some(array) => Ok(Some(array)),
            None => Refusal::invalid(format!("metadata `{key}`: an array was expected")),
        },
    }
}
