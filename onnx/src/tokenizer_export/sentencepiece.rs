//! BPE on characters, as SentencePiece has it. A GGUF file keeps no merges but a score for every token: of two
//! neighbours whose union is a token, those with the best union are joined first. Ordering all pairs by the
//! score of their union gives the same merges as a list.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::json;

use super::vocabulary::{Kind, Vocabulary, array};
use super::{Metadata, Parts};
use crate::error::Refusal;

/// SentencePiece's sign for a space.
const SPACE: &str = "\u{2581}";

/// Tokens that stand for one byte.
const BYTES: usize = 256;

pub(super) fn parts(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Parts, Refusal> {
    for key in ["tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.remove_extra_whitespaces"] {
        if metadata.get(key).is_some_and(|value| value.as_bool() != Some(false)) {
            return Refusal::unsupported(format!(
                "metadata `{key}`: texts that are changed first cannot be exported"
            ));
        }
    }
    if vocabulary.tokens.iter().filter(|token| token.kind == Kind::Byte).count() != BYTES {
        return Refusal::unsupported(
            "a vocabulary `llama` without a token for every byte cannot be exported",
        );
    }
    let unknown = vocabulary.tokens.iter().find(|token| token.kind == Kind::Unknown).map(|token| token.text);
    let merges = merges(metadata, vocabulary)?;
    let begins_with_space =
        metadata.get("tokenizer.ggml.add_space_prefix").is_none_or(|value| value.as_bool() != Some(false));

    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let mut normalizers = Vec::new();
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if begins_with_space {
        normalizers.push(json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    normalizers.push(spaces);
    Ok(Parts {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: serde_json::Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "ignore_merges": false,
            "vocab": vocabulary.of_model(),
            "merges": merges,
        }),
        adds_bos: true,
    })
}

/// Every way to make a token from two others, the token with the best score first.
fn merges<'a>(metadata: &Metadata<'a>, vocabulary: &Vocabulary<'a>) -> Result<Vec<[&'a str; 2]>, Refusal> {
    let scores = scores(metadata, vocabulary.tokens.len())?;
    let normal: HashMap<&str, f32> = vocabulary
        .tokens
        .iter()
        .zip(scores)
        .filter(|(token, _)| token.kind == Kind::Normal)
        .map(|(token, score)| (token.text, score))
        .collect();
    let mut joined: Vec<(&str, f32)> =
        normal.iter().filter(|(text, _)| text.chars().nth(1).is_some()).map(|(&t, &s)| (t, s)).collect();
    // Ties are refused below; the text only makes the order the same every time.
    joined.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    if let Some(tie) = joined.windows(2).find(|pair| pair[0].1.total_cmp(&pair[1].1).is_eq()) {
        return Refusal::unsupported(format!(
            "tokens `{}` and `{}` have the same score: their order cannot be told",
            tie[0].0.escape_debug(),
            tie[1].0.escape_debug()
        ));
    }
    let mut merges = Vec::new();
    for (text, _) in joined {
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let mut pairs: Vec<_> =
            cuts.filter(|(l, r)| normal.contains_key(l) && normal.contains_key(r)).collect();
        // The longer left half first, as Hugging Face's own conversion has it.
        pairs.sort_by_key(|(left, _)| Reverse(left.len()));
        merges.extend(pairs.into_iter().map(|(left, right)| [left, right]));
    }
    Ok(merges)
}

fn scores(metadata: &Metadata, tokens: usize) -> Result<Vec<f32>, Refusal> {
    let Some(scores) = array(metadata, "tokenizer.ggml.scores")? else {
        return Refusal::invalid("metadata `tokenizer.ggml.scores` is missing");
    };
    let scores: Option<Vec<f32>> =
        scores.iter().map(|score| score.as_float().map(|x| x as f32).filter(|x| x.is_finite())).collect();
    match scores {
        Some(scores) if scores.len() == tokens => Ok(scores),
        _ => Refusal::invalid("metadata `tokenizer.ggml.scores`: a number for every token was expected"),
    }
}
