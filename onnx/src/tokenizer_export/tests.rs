use std::str::FromStr;
use std::sync::LazyLock;

use candle_core::quantized::gguf_file::Value as Written;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::{from_gguf, sentencepiece_model::SentencePiece};
use crate::checkpoint::files;
use crate::error::Refusal;
use crate::gguf::{Header, Value};
use crate::testing::{Draft, real_gguf, texts};

fn export(draft: &Draft) -> Result<Tokenizer, Refusal> {
    let bytes = draft.bytes();
    let json = from_gguf(&Header::parse(&bytes)?.metadata)?;
    Ok(Tokenizer::from_str(&json).unwrap())
}

/// The ids of a text in which no mark counts.
fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
}

fn text(text: &str) -> Written {
    Written::String(text.into())
}

#[test]
fn merges_bytes_and_finds_marks() {
    let mut draft = Draft::new();
    let tokenizer = export(&draft).unwrap();
    let (hell, o, space) = (258, u32::from(b'o'), u32::from(b' '));
    // Marks are added tokens; they are special, and whole.
    assert_eq!(ids(&tokenizer, "hello<|im_end|> o"), [hell, o, 260, space, o]);
    assert_eq!(tokenizer.get_vocab_size(true), 261);
    assert_eq!(tokenizer.get_vocab_size(false), 259, "marks at the end stay out of the model");
    // Nothing is put before a text unless the file says so.
    assert_eq!(tokenizer.encode_fast("o", true).unwrap().get_ids(), [o]);
    draft.set("tokenizer.ggml.add_bos_token", Written::Bool(true));
    draft.set("tokenizer.ggml.add_eos_token", Written::Bool(true));
    assert_eq!(export(&draft).unwrap().encode_fast("o", true).unwrap().get_ids(), [259, o, 260]);
    // Every text comes back.
    let line = "ĠHell 0\u{0}\n\u{7f}é日😀";
    assert_eq!(tokenizer.decode(&ids(&tokenizer, line), false).unwrap(), line);
}

#[test]
fn user_defined_tokens_are_plain_text() {
    let mut draft = Draft::new();
    let kinds = (0..261).map(|id| Written::I32(if id < 259 { 1 } else { 7 - id % 2 * 4 })).collect();
    draft.set("tokenizer.ggml.token_type", Written::Array(kinds));
    assert!(
        matches!(export(&draft), Err(Refusal::Invalid(reason)) if reason.contains("token 260 has type Some(7)"))
    );
    let kinds = (0..261).map(|id| Written::I32(if id < 259 { 1 } else { 4 - id % 2 })).collect();
    draft.set("tokenizer.ggml.token_type", Written::Array(kinds));
    let tokenizer = export(&draft).unwrap();
    let added = tokenizer.get_added_tokens_decoder();
    assert!(added[&259].special && !added[&260].special && !added[&260].normalized);
}

/// Splits are those of the models' own tokenizers.
#[test]
fn splits_as_each_model_does() {
    let splits = |pre: &str, line: &str| -> Vec<String> {
        let mut draft = Draft::new();
        draft.set("tokenizer.ggml.pre", text(pre));
        let tokenizer = export(&draft).unwrap();
        let encoding = tokenizer.encode(line, false).unwrap();
        // Tokens of one piece have the same word index.
        let mut pieces: Vec<(u32, String)> = Vec::new();
        for (word, (start, end)) in encoding.get_word_ids().iter().zip(encoding.get_offsets()) {
            let word = word.unwrap();
            if pieces.last().is_none_or(|(last, _)| *last != word) {
                pieces.push((word, String::new()));
            }
            pieces.last_mut().unwrap().1.push_str(&line[*start..*end]);
        }
        pieces.into_iter().map(|(_, piece)| piece).collect()
    };
    let line = "I'LL pay 12345  (now)\n\n ok";
    assert_eq!(
        splits("gpt-2", line),
        ["I", "'", "LL", " pay", " 12345", " ", " (", "now", ")", "\n\n", " ok"]
    );
    let single = ["I", "'", "LL", " pay", " ", "1", "2", "3", "4", "5", " ", " (", "now", ")", "\n\n", " ok"];
    assert_eq!(splits("smollm", line), single);
    assert_eq!(splits("starcoder", line), single);
    let llama = ["I", "'LL", " pay", " ", "123", "45", " ", " (", "now", ")\n\n", " ok"];
    assert_eq!(splits("llama-bpe", line), llama);
    let qwen = ["I", "'LL", " pay", " ", "1", "2", "3", "4", "5", " ", " (", "now", ")\n\n", " ok"];
    assert_eq!(splits("qwen2", line), qwen);
}

#[test]
fn what_llama_cpp_sets_by_the_name_of_the_split() {
    let mut draft = Draft::new();
    draft.set("tokenizer.ggml.pre", text("llama-bpe"));
    draft.set("tokenizer.ggml.merges", texts(["l l"]));
    let tokenizer = export(&draft).unwrap();
    assert_eq!(ids(&tokenizer, "hell"), [258], "a word of the vocabulary needs no merges");
    assert_eq!(tokenizer.encode_fast("hell", true).unwrap().get_ids(), [259, 258]);
    draft.set("tokenizer.ggml.pre", text("gpt-2"));
    let tokenizer = export(&draft).unwrap();
    assert_eq!(tokenizer.encode_fast("hell", true).unwrap().get_ids(), [104, 101, 257]);
    draft.set("tokenizer.ggml.pre", text("qwen2"));
    let tokenizer = export(&draft).unwrap();
    assert_eq!(ids(&tokenizer, "e\u{301}"), ids(&tokenizer, "é"), "composed first");
}

#[test]
fn refuses_what_it_does_not_know() {
    let with = |key: &str, value: Option<Written>| {
        let mut draft = Draft::new();
        match value {
            Some(value) => draft.set(key, value),
            None => draft.remove(key),
        }
        export(&draft).map(drop)
    };
    let unsupported = |result, expected: &str| match result {
        Err(Refusal::Unsupported(reason)) if reason.contains(expected) => {}
        other => panic!("not unsupported with `{expected}`: {other:?}"),
    };
    let invalid = |result, expected: &str| match result {
        Err(Refusal::Invalid(reason)) if reason.contains(expected) => {}
        other => panic!("not invalid with `{expected}`: {other:?}"),
    };
    unsupported(with("tokenizer.ggml.pre", Some(text("tekken"))), "`tekken`");
    unsupported(with("tokenizer.ggml.pre", None), "`tokenizer.ggml.pre` is missing");
    unsupported(with("tokenizer.ggml.model", Some(text("t5"))), "`t5`");
    unsupported(with("tokenizer.ggml.model", Some(text("llama"))), "without a token for every byte");
    invalid(with("tokenizer.ggml.model", None), "`tokenizer.ggml.model` is missing");
    invalid(with("tokenizer.ggml.model", Some(Written::U32(1))), "`tokenizer.ggml.model`: a text");
    invalid(with("tokenizer.ggml.tokens", None), "`tokenizer.ggml.tokens` is missing");
    invalid(with("tokenizer.ggml.tokens", Some(texts(["a"]))), "has 261 elements for 1 tokens");
    invalid(with("tokenizer.ggml.merges", None), "`tokenizer.ggml.merges` is missing");
    invalid(with("tokenizer.ggml.merges", Some(texts(["ab"]))), "pairs of texts");
    invalid(with("tokenizer.ggml.merges", Some(texts(["z q"]))), "does not fit together");
    invalid(with("tokenizer.ggml.add_bos_token", Some(Written::U32(1))), "true or false");
    let mut doubled: Vec<String> = (0..259).map(|id| format!("t{id}")).collect();
    doubled.extend(["t3".to_owned(), "t4".to_owned()]);
    let mut draft = Draft::new();
    draft.set("tokenizer.ggml.tokens", texts(doubled));
    draft.set("tokenizer.ggml.merges", texts(["t1 t"; 0]));
    draft.set("tokenizer.ggml.token_type", Written::Array(vec![Written::I32(1); 261]));
    invalid(export(&draft).map(drop), "is not the only one with its text");
}

/// The default model's vocabulary under every split, against llama.cpp. The ids of `splits.jsonl` come from
/// its server (the wheel xllamacpp 2026.10.11549), which read the same file with `tokenizer.ggml.pre` replaced
/// by `gguf-new-metadata --pre-tokenizer`.
#[test]
fn agrees_with_llama_cpp() {
    #[derive(Deserialize)]
    struct Line {
        pre: String,
        text: String,
        ids: Vec<u32>,
    }
    let file = files::map(&real_gguf()).unwrap();
    let mut header = Header::parse(&file).unwrap();
    let lines: Vec<Line> =
        include_str!("splits.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 160);
    for lines in lines.chunk_by(|a, b| a.pre == b.pre) {
        header.metadata.insert("tokenizer.ggml.pre", Value::Text(&lines[0].pre));
        let mut json: Json = serde_json::from_str(&from_gguf(&header.metadata).unwrap()).unwrap();
        // Marks are plain text, as in llama.cpp without `parse_special`; it composes no characters.
        json["added_tokens"] = Json::Array(Vec::new());
        json["normalizer"] = Json::Null;
        let tokenizer = Tokenizer::from_str(&json.to_string()).unwrap();
        for line in lines {
            assert_eq!(ids(&tokenizer, &line.text), line.ids, "{} {:?}", line.pre, line.text);
        }
    }
}

/// A SentencePiece vocabulary of the letters a to d and some of their words.
fn sentencepiece() -> (Draft, SentencePiece) {
    let model = SentencePiece::new(&["▁a", "ab", "bc", "▁ab", "abc", "dd", "▁▁", "cab", "dda", "▁abc", "cd"]);
    let mut draft = Draft::new();
    let kinds = model.tokens.iter().enumerate().map(|(id, (token, _))| match id {
        0 => 2,
        1 | 2 => 3,
        _ if token.starts_with("<0x") => 6,
        _ => 1,
    });
    draft.set("tokenizer.ggml.token_type", Written::Array(kinds.map(Written::I32).collect()));
    draft.set("tokenizer.ggml.tokens", texts(model.tokens.iter().map(|(token, _)| token.clone())));
    let scores = model.tokens.iter().map(|(_, score)| Written::F32(*score)).collect();
    draft.set("tokenizer.ggml.scores", Written::Array(scores));
    draft.set("tokenizer.ggml.model", text("llama"));
    draft.set("tokenizer.ggml.bos_token_id", Written::U32(1));
    draft.set("tokenizer.ggml.eos_token_id", Written::U32(2));
    (draft, model)
}

#[test]
fn sentencepiece_texts_come_back() {
    let (mut draft, _) = sentencepiece();
    let tokenizer = export(&draft).unwrap();
    for line in ["abc cab", " a  b", "xé日😀\n\0", ""] {
        assert_eq!(tokenizer.decode(&ids(&tokenizer, line), false).unwrap(), line, "{line:?}");
    }
    assert_eq!(tokenizer.encode_fast("", true).unwrap().get_ids()[0], 1, "a text begins with <s>");
    draft.set("tokenizer.ggml.add_space_prefix", Written::Bool(false));
    let tokenizer = export(&draft).unwrap();
    assert_eq!(tokenizer.decode(&ids(&tokenizer, " a"), false).unwrap(), " a");
    assert_eq!(ids(&tokenizer, "a").len(), 1);
}

#[test]
fn sentencepiece_needs_an_order() {
    let (mut draft, model) = sentencepiece();
    let scores = vec![Written::F32(0.0); model.tokens.len()];
    draft.set("tokenizer.ggml.scores", Written::Array(scores));
    assert!(matches!(export(&draft), Err(Refusal::Unsupported(reason)) if reason.contains("the same score")));
    draft.set("tokenizer.ggml.scores", Written::Array(vec![Written::F32(f32::NAN); model.tokens.len()]));
    assert!(matches!(export(&draft), Err(Refusal::Invalid(reason)) if reason.contains("scores")));
}

proptest! {
    /// The merges made from scores join what SentencePiece's own rule joins.
    #[test]
    fn sentencepiece_joins_the_best_neighbours(line in "[abcde ]{0,24}") {
        static BOTH: LazyLock<(Tokenizer, SentencePiece)> = LazyLock::new(|| {
            let (draft, model) = sentencepiece();
            (export(&draft).unwrap(), model)
        });
        let (tokenizer, model) = &*BOTH;
        prop_assert_eq!(ids(tokenizer, &line), model.encode(&line));
    }
}
