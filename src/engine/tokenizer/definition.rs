//! `tokenizer.json` (the Hugging Face format), read so that plain text cannot reach a mark.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::{
    marks::{Mark, Marks},
    pieces::{Pieces, Spelling, named_byte},
};

/// Largest `tokenizer.json` that is read, in bytes. The largest in use (vocabularies of 256,000) have 35 MB.
const MAX_BYTES: usize = 128 << 20;

/// What a `tokenizer.json` says, taken apart.
pub(super) struct Definition {
    /// The model's tokenizer without its marks.
    pub plain: tokenizers::Tokenizer,
    pub marks: Marks,
    pub pieces: Pieces,
    pub lead: Lead,
}

/// Where a tokenizer puts a space in front of a text. [`Definition::plain`] never does: what it encodes
/// stands in the middle of a prompt; the template's own words get it by [`Lead::wanted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    Never,
    /// At the very beginning of the prompt, unless a space is there.
    First,
    /// At the beginning and after each mark, unless a space is there.
    Each,
    /// At the beginning and after each mark.
    EachAlways,
}

impl Lead {
    /// Whether a space belongs in front of `text`, which begins the prompt (`first`) or follows a mark.
    pub(super) fn wanted(self, first: bool, text: &str) -> bool {
        match self {
            Self::Never => false,
            Self::First => first && !text.starts_with([' ', '▁']),
            Self::Each => !text.starts_with([' ', '▁']),
            Self::EachAlways => true,
        }
    }
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

impl AddedToken {
    /// A single character or a raw byte that the vocabulary spells by an added token is text, not a mark:
    /// without it that text could not be written at all.
    fn is_text(&self) -> bool {
        let single = self.content.chars().nth(1).is_none();
        named_byte(&self.content).is_some() || (single && !self.special)
    }
}

impl Definition {
    /// Reads the text of a `tokenizer.json`. Only byte-pair encodings (`"type": "BPE"`) are supported, which
    /// is what every model family of the importer uses. An error says what is wrong with the file.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        if json.len() > MAX_BYTES {
            return Err(format!("it has {} bytes, more than the {MAX_BYTES} that are read", json.len()));
        }
        let mut root: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let kind = root["model"]["type"].as_str().unwrap_or("BPE");
        if kind != "BPE" || !root["model"]["vocab"].is_object() {
            return Err(format!("its model is {kind:?}, but only \"BPE\" with a vocab is supported"));
        }
        let added: Vec<AddedToken> = match root["added_tokens"].take() {
            Value::Null => Vec::new(),
            list => serde_json::from_value(list).map_err(|e| format!("added_tokens: {e}"))?,
        };
        let spelling = spelling(&root["decoder"])?;
        let pieces = pieces(&root["model"]["vocab"], &added, spelling)?;

        let reserved: Vec<&AddedToken> = added.iter().filter(|token| !token.is_text()).collect();
        remove_from_model(&mut root["model"], &reserved)?;
        let marks = reserved.into_iter().map(|token| Mark {
            id: token.id,
            text: token.content.clone(),
            lstrip: token.lstrip,
            rstrip: token.rstrip,
        });
        let marks = Marks::new(marks.collect());

        let lead = take_lead(&mut root);
        root["added_tokens"] = Value::Array(Vec::new());
        for key in ["truncation", "padding", "post_processor"] {
            root[key] = Value::Null;
        }
        let plain = serde_json::to_vec(&root).map_err(|e| e.to_string())?;
        let plain = tokenizers::Tokenizer::from_bytes(plain).map_err(|e| e.to_string())?;
        Ok(Self { plain, marks, pieces, lead })
    }
}

/// How the vocabulary spells bytes: the decoder, which turns entries into text, says it.
fn spelling(decoder: &Value) -> Result<Spelling, String> {
    let list = decoder["decoders"].as_array();
    let kinds: Vec<&str> = match list {
        Some(list) => list.iter().filter_map(|decoder| decoder["type"].as_str()).collect(),
        None => decoder["type"].as_str().into_iter().collect(),
    };
    if kinds.contains(&"ByteLevel") {
        Ok(Spelling::ByteLevel)
    } else if kinds.contains(&"Metaspace") || kinds.contains(&"ByteFallback") {
        Ok(Spelling::Metaspace)
    } else {
        Err(format!("its decoder {kinds:?} is not supported: ByteLevel, Metaspace or ByteFallback is"))
    }
}

fn pieces(vocab: &Value, added: &[AddedToken], spelling: Spelling) -> Result<Pieces, String> {
    let mut all = Vec::new();
    for (entry, id) in vocab.as_object().into_iter().flatten() {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| format!("model.vocab: the id of {entry:?} is no token id"))?;
        all.push((id, spelling.bytes(entry)));
    }
    for token in added {
        // Marks are never shown; an added word is shown as it is written.
        let bytes = match named_byte(&token.content) {
            Some(byte) => vec![byte],
            None if token.special => Vec::new(),
            None => token.content.clone().into_bytes(),
        };
        all.push((token.id, bytes));
    }
    // Ids index a table: a wild one must not make it huge.
    let limit = all.len().saturating_mul(2).saturating_add(1 << 16);
    match all.iter().map(|(id, _)| *id as usize).max() {
        None => Err("model.vocab is empty".to_owned()),
        Some(id) if id > limit => Err(format!("token id {id} is far beyond its {} tokens", all.len())),
        Some(_) => Ok(Pieces::new(all.into_iter())),
    }
}

/// Takes the reserved tokens, and every merge that needs or makes one, out of the model, so that no text can
/// reach them even where the merges spell a mark or `ignore_merges` looks whole words up.
fn remove_from_model(model: &mut Value, reserved: &[&AddedToken]) -> Result<(), String> {
    let contents: HashSet<&str> = reserved.iter().map(|token| token.content.as_str()).collect();
    let ids: HashSet<u64> = reserved.iter().map(|token| u64::from(token.id)).collect();
    let mut gone: HashSet<String> = contents.iter().map(|&content| content.to_owned()).collect();
    if let Some(vocab) = model["vocab"].as_object_mut() {
        vocab.retain(|entry, id| {
            let keep = !contents.contains(entry.as_str()) && !id.as_u64().is_some_and(|id| ids.contains(&id));
            if !keep {
                gone.insert(entry.clone());
            }
            keep
        });
    }
    if model["unk_token"].as_str().is_some_and(|unk| gone.contains(unk)) {
        model["unk_token"] = Value::Null;
    }
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default().to_owned();
    let merges = model["merges"].as_array_mut().ok_or("model.merges is missing")?;
    merges.retain(|merge| {
        let Some((left, right)) = merge_pair(merge) else { return true };
        let whole = format!("{left}{}", right.strip_prefix(&prefix).unwrap_or(right));
        !(gone.contains(left) || gone.contains(right) || gone.contains(&whole))
    });
    Ok(())
}

/// A merge is `"a b"` or `["a", "b"]`. Anything else is left for the library to refuse.
fn merge_pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(pair) => pair.split_once(' '),
        Value::Array(pair) => Some((pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
        _ => None,
    }
}

/// Turns off whatever puts a space in front of a text, and says what it was.
fn take_lead(root: &mut Value) -> Lead {
    let mut lead = Lead::Never;
    for key in ["normalizer", "pre_tokenizer"] {
        let list = ["normalizers", "pretokenizers"].into_iter().find(|list| root[key][list].is_array());
        if let Some(steps) = list.and_then(|list| root[key][list].as_array_mut()) {
            steps.retain_mut(|step| keep_step(step, &mut lead));
        } else if !root[key].is_null() && !keep_step(&mut root[key], &mut lead) {
            root[key] = Value::Null;
        }
    }
    lead
}

/// Looks at one step of a normalizer or pre-tokenizer; `false`: it did nothing but put a space in front.
fn keep_step(step: &mut Value, lead: &mut Lead) -> bool {
    match step["type"].as_str() {
        Some("Prepend") if step["prepend"] == "▁" => {
            *lead = Lead::EachAlways;
            false
        }
        Some("Metaspace") => {
            // The format's default is "always"; `add_prefix_space` is its older name.
            let scheme = step["prepend_scheme"].as_str().unwrap_or("always");
            *lead = match scheme {
                _ if step["add_prefix_space"] == false => Lead::Never,
                "never" => Lead::Never,
                "first" => Lead::First,
                _ => Lead::Each,
            };
            step["prepend_scheme"] = "never".into();
            step["add_prefix_space"] = false.into();
            true
        }
        Some("ByteLevel") => {
            if step["add_prefix_space"] == true {
                *lead = Lead::Each;
                step["add_prefix_space"] = false.into();
            }
            true
        }
        _ => true,
    }
}
