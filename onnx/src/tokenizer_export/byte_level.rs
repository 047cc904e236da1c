//! BPE on bytes, as GPT-2 has it. What differs between models is how a text is split before the merges.

use serde_json::{Value as Json, json};

use super::vocabulary::{Vocabulary, array};
use super::{Metadata, Parts, text};
use crate::error::Refusal;

/// How Llama 3 splits a text: contractions, words with one mark before them, up to three digits, marks, line
/// ends, white space.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// As Llama 3, with every digit alone.
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How a kind of model splits a text.
struct Split {
    normalizer: Json,
    pre_tokenizer: Json,
    /// A piece that is a token as a whole is taken without asking the merges.
    ignores_merges: bool,
    adds_bos: bool,
}

impl Split {
    /// The split that `tokenizer.ggml.pre` names. llama.cpp has more names for the same ones; those of models
    /// that are no Llama are left out.
    fn named(name: &str) -> Result<Self, Refusal> {
        let plain = |pre_tokenizer| Self {
            normalizer: Json::Null,
            pre_tokenizer,
            ignores_merges: false,
            adds_bos: false,
        };
        Ok(match name {
            "gpt-2" => plain(byte_level(true)),
            "smollm" | "starcoder" | "refact" | "codeshell" => {
                plain(sequence(&[json!({"type": "Digits", "individual_digits": true}), byte_level(true)]))
            }
            "llama-bpe" | "llama3" | "llama-v3" => Self {
                ignores_merges: true,
                adds_bos: true,
                ..plain(sequence(&[pattern(LLAMA_3), byte_level(false)]))
            },
            // The models were trained on texts in this normal form.
            "qwen2" => Self {
                normalizer: json!({"type": "NFC"}),
                ..plain(sequence(&[pattern(QWEN_2), byte_level(false)]))
            },
            other => {
                return Refusal::unsupported(format!(
                    "metadata `tokenizer.ggml.pre` is `{other}`, a way of splitting texts that is not known \
                     here; smollm, gpt-2, starcoder, refact, codeshell, llama-bpe and qwen2 are"
                ));
            }
        })
    }
}

/// Bytes → the printable characters that the vocabulary is written in, after GPT-2's split where asked for.
fn byte_level(use_regex: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn pattern(regex: &str) -> Json {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

fn sequence(steps: &[Json]) -> Json {
    json!({"type": "Sequence", "pretokenizers": steps})
}

pub(super) fn parts(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Parts, Refusal> {
    let Some(pre) = text(metadata, "tokenizer.ggml.pre")? else {
        return Refusal::unsupported(
            "metadata `tokenizer.ggml.pre` is missing: the file is too old to say how texts are split",
        );
    };
    let split = Split::named(pre)?;
    let model = json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": null,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": false,
        "byte_fallback": false,
        "ignore_merges": split.ignores_merges,
        "vocab": vocabulary.of_model(),
        "merges": merges(metadata)?,
    });
    Ok(Parts {
        normalizer: split.normalizer,
        pre_tokenizer: split.pre_tokenizer,
        decoder: byte_level(true),
        model,
        adds_bos: split.adds_bos,
    })
}

/// The merges, the one that comes first in every text before the others.
fn merges<'a>(metadata: &Metadata<'a>) -> Result<Vec<[&'a str; 2]>, Refusal> {
    let Some(merges) = array(metadata, "tokenizer.ggml.merges")? else {
        return Refusal::invalid("metadata `tokenizer.ggml.merges` is missing");
    };
    // The vocabulary is written without spaces, so that the only one stands between the two halves.
    let halves = merges.iter().map(|merge| merge.as_text().and_then(|text| text.split_once(' ')));
    let pairs: Option<Vec<_>> = halves.map(|pair| pair.map(|(left, right)| [left, right])).collect();
    pairs.ok_or_else(|| {
        Refusal::Invalid(
            "metadata `tokenizer.ggml.merges`: pairs of texts with a space between were expected".into(),
        )
    })
}
