//! Text to token ids and back, so that text from outside can never act as a mark of the chat format.
//!
//! A model's marks (`<|im_start|>`, `<|im_end|>`, `</s>`, …) are taken out of the vocabulary that plain text
//! is encoded with: no text, however it is spelled, can reach them. Marks come only from the chat template's
//! own words, which are found by a separate search ([`marks`]).

mod definition;
mod marks;
mod pieces;
mod stream;
mod template;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fs, path::Path, sync::Arc};

use npc_onnx::ModelConfig;

use self::{
    definition::Definition,
    marks::{Marks, Segment},
    pieces::Pieces,
    template::Part,
};
pub use self::{
    stream::TextStream,
    template::{ChatTemplate, Message, Role},
};
use super::EngineError;

/// Marks that end an answer in the chat formats in use, besides the end tokens that the model names.
const END_MARKS: [&str; 8] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
];

/// The tokenizer of one model. A clone is cheap and shares everything.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Knows no mark.
    plain: tokenizers::Tokenizer,
    marks: Marks,
    pieces: Arc<Pieces>,
    template: ChatTemplate,
    ends: HashSet<u32>,
    lead: definition::Lead,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and `chat_template.jinja` of a model folder; `config` is that model's, for its
    /// begin and end tokens. Fails with [`EngineError::BadModel`] naming the file.
    pub fn load(model_dir: &Path, config: &ModelConfig) -> Result<Self, EngineError> {
        let json_path = model_dir.join("tokenizer.json");
        let template_path = model_dir.join("chat_template.jinja");
        let read = |path: &Path| {
            fs::read_to_string(path)
                .map_err(|e| EngineError::BadModel { path: path.to_owned(), reason: e.to_string() })
        };
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |reason: String| EngineError::BadModel { path, reason }
        };
        let definition = Definition::parse(&read(&json_path)?).map_err(bad(&json_path))?;
        let size = definition.pieces.len();
        if size > config.vocab_size {
            return Err(bad(&json_path)(format!(
                "its largest token id is {}, but the model has only {} tokens",
                size - 1,
                config.vocab_size
            )));
        }
        let name =
            |id: Option<u32>| id.and_then(|id| definition.marks.name(id)).unwrap_or_default().to_owned();
        let (bos, eos) = (name(config.bos_token), name(config.eos_tokens.first().copied()));
        let template = ChatTemplate::new(&read(&template_path)?, &bos, &eos).map_err(bad(&template_path))?;
        Ok(Self::assemble(definition, template, &config.eos_tokens))
    }

    fn assemble(definition: Definition, template: ChatTemplate, eos_tokens: &[u32]) -> Self {
        let Definition { plain, marks, pieces, lead } = definition;
        let known = END_MARKS.iter().filter_map(|mark| marks.id(mark));
        let ends = eos_tokens.iter().copied().chain(known).collect();
        Self { inner: Arc::new(Inner { plain, marks, pieces: Arc::new(pieces), template, ends, lead }) }
    }

    /// The tokens of a text from outside. Whatever the text holds, no token is a mark: `<|im_end|>` comes out
    /// as the plain text that it is. The text is taken as the continuation of what stands before it, so
    /// nothing is put in front of it.
    pub fn encode_text(&self, text: &str) -> Vec<u32> {
        match self.inner.plain.encode_fast(text, false) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            // `Definition` leaves no model that can fail on a text; were one found, the text is taken
            // character by character, without those that fail, rather than lost whole.
            Err(_) if text.chars().nth(1).is_some() => {
                text.chars().flat_map(|c| self.encode_text(c.encode_utf8(&mut [0; 4]))).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    /// The tokens of a conversation in the model's chat format; with `add_generation_prompt` it ends where
    /// the assistant's answer begins. Only the template's own words can become marks: contents are encoded as
    /// by [`Tokenizer::encode_text`].
    ///
    /// Fails with [`EngineError::BadModel`] when the template rejects the messages, or leaves out or changes
    /// a content. Space at the ends of a content is kept even where the template would trim it.
    pub fn render_chat(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<u32>, EngineError> {
        let parts = self
            .inner
            .template
            .render(messages, add_generation_prompt)
            .map_err(|reason| EngineError::BadModel { path: "chat_template.jinja".into(), reason })?;
        let mut ids = Vec::new();
        for part in parts {
            match part {
                Part::Content(index) => ids.extend(self.encode_text(&messages[index].content)),
                Part::Literal(text) => self.encode_literal(&text, &mut ids),
            }
        }
        Ok(ids)
    }

    /// The template's own words: marks become their tokens, the rest is plain text.
    fn encode_literal(&self, text: &str, ids: &mut Vec<u32>) {
        for segment in self.inner.marks.split(text) {
            match segment {
                Segment::Mark(id) => ids.push(id),
                Segment::Text(text) => {
                    let after_mark = ids.last().is_none_or(|&id| self.is_special(id));
                    let lead = after_mark && self.inner.lead.wanted(ids.is_empty(), text);
                    ids.extend(if lead {
                        self.encode_text(&format!(" {text}"))
                    } else {
                        self.encode_text(text)
                    });
                }
            }
        }
    }

    /// Turns generated tokens into text, piece by piece.
    pub fn stream(&self) -> TextStream {
        TextStream::new(Arc::clone(&self.inner.pieces))
    }

    /// The text of some tokens: what a [`TextStream`] makes of them, at once.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = self.stream();
        let mut text: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
        text.push_str(&stream.flush());
        text
    }

    /// Whether this token ends an answer.
    pub fn is_end(&self, id: u32) -> bool {
        self.inner.ends.contains(&id)
    }

    /// The token of a mark, for example `<|im_end|>`; `None` if the model has no such mark.
    pub fn special_id(&self, mark: &str) -> Option<u32> {
        self.inner.marks.id(mark)
    }

    /// Whether a token is one that plain text can never yield.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.marks.name(id).is_some()
    }

    /// The largest token id plus one. The model may have more rows than that, which no text uses.
    pub fn vocab_size(&self) -> usize {
        self.inner.pieces.len()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("marks", &self.inner.marks.len())
            .finish_non_exhaustive()
    }
}
