//! Small vocabularies made to be difficult.

use npc_onnx::{Architecture, ModelConfig};
use serde_json::{Value, json};

use super::*;

/// Only the tokens matter to the tokenizer.
pub(super) fn config(vocab_size: usize, bos_token: Option<u32>, eos_tokens: &[u32]) -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        vocab_size,
        hidden_size: 64,
        intermediate_size: 128,
        layers: 1,
        heads: 2,
        kv_heads: 1,
        head_dim: 32,
        max_position: 128,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        sliding_window: None,
        tie_word_embeddings: true,
        bos_token,
        eos_tokens: eos_tokens.to_vec(),
    }
}

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn load(json: &Value, template: &str, config: &ModelConfig) -> Result<Tokenizer, EngineError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    Tokenizer::load(dir.path(), config)
}

/// ASCII, one token a character, from id 10; merges are appended as further tokens.
fn ascii(merges: &[(&str, &str)], more: Value) -> Value {
    let mut vocab = serde_json::Map::new();
    for byte in 0x20..0x7Fu8 {
        vocab.insert(char::from(byte).to_string(), json!(10 + usize::from(byte - 0x20)));
    }
    for (left, right) in merges {
        let next = 10 + vocab.len();
        vocab.entry(format!("{left}{right}")).or_insert(json!(next));
    }
    let mut root = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "unk_token": null, "vocab": vocab,
            "merges": merges.iter().map(|(l, r)| json!([l, r])).collect::<Vec<_>>()},
    });
    let Value::Object(more) = more else { panic!("an object") };
    for (key, value) in more {
        if key == "model" {
            for (key, value) in value.as_object().unwrap() {
                root["model"][key] = value.clone();
            }
        } else {
            root[key] = value;
        }
    }
    root
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": special})
}

/// Merges that spell `<|x|>` from its characters.
const TO_MARK: [(&str, &str); 4] = [("<", "|"), ("<|", "x"), ("<|x", "|"), ("<|x|", ">")];

#[test]
fn merges_that_spell_a_mark_do_not_reach_it() {
    let json = ascii(
        &TO_MARK,
        json!({"added_tokens": [added(108, "<|x|>", true)], "model": {"ignore_merges": true}}),
    );
    assert_eq!(json["model"]["vocab"]["<|x|>"], 108, "the mark is the last merge's token");
    let tokenizer = load(&json, CHATML, &config(200, None, &[108])).unwrap();
    for text in ["<|x|>", "a<|x|>b", "<|x|><|x|>"] {
        let ids = tokenizer.encode_text(text);
        assert!(!ids.contains(&108), "{text}: {ids:?}");
        assert_eq!(tokenizer.decode(&ids), text);
    }
    assert_eq!(tokenizer.special_id("<|x|>"), Some(108));
    assert!(tokenizer.is_end(108) && tokenizer.is_special(108));
}

#[test]
fn a_mark_under_another_spelling_is_taken_out_by_its_id() {
    // The vocabulary calls token 108 "<|x|>", the list of added tokens calls it "<end>".
    let json = ascii(&TO_MARK, json!({"added_tokens": [added(108, "<end>", true)]}));
    let tokenizer = load(&json, CHATML, &config(200, None, &[])).unwrap();
    assert!(!tokenizer.encode_text("<|x|> <end>").contains(&108));
}

#[test]
fn added_words_are_marks_too_but_are_shown() {
    let json =
        ascii(&[], json!({"added_tokens": [added(150, "<think>", false), added(151, "<|im_end|>", true)]}));
    let tokenizer = load(&json, CHATML, &config(152, None, &[])).unwrap();
    assert!(!tokenizer.encode_text("<think>").contains(&150));
    assert_eq!(tokenizer.decode(&[150, 151, 10 + 1]), "<think>!");
    assert!(tokenizer.is_end(151), "a well-known end mark needs no mention in the model's settings");
    assert_eq!(tokenizer.vocab_size(), 152);
}

#[test]
fn the_unknown_token_is_a_mark() {
    let json =
        ascii(&[], json!({"added_tokens": [added(0, "<unk>", true)], "model": {"unk_token": "<unk>"}}));
    let tokenizer = load(&json, CHATML, &config(200, None, &[])).unwrap();
    assert_eq!(tokenizer.decode(&tokenizer.encode_text("a\u{1F9DB}b<unk>")), "ab<unk>");
}

#[test]
fn contents_stay_text_and_template_words_become_marks() {
    let marks = [added(1, "<|im_start|>", true), added(2, "<|im_end|>", true), added(3, "\n", false)];
    let mut json = ascii(&[], json!({"added_tokens": marks}));
    json["model"]["vocab"]["\n"] = json!(3);
    let tokenizer = load(&json, CHATML, &config(200, Some(1), &[2])).unwrap();
    let messages = [Message::new(Role::User, "<|im_end|>"), Message::new(Role::Assistant, "")];
    let ids = tokenizer.render_chat(&messages, true).unwrap();
    let count = |id| ids.iter().filter(|&&other| other == id).count();
    assert_eq!((count(1), count(2)), (3, 2));
    assert_eq!(tokenizer.decode(&ids), "user\n<|im_end|>\nassistant\n\nassistant\n");
}

/// A SentencePiece-like vocabulary as Llama 2 has it.
fn sentencepiece(more: Value) -> Value {
    let mut json = ascii(&[], more);
    json["model"]["vocab"]["▁"] = json!(5);
    json["model"]["byte_fallback"] = json!(true);
    for byte in 0..=255u32 {
        json["model"]["vocab"][format!("<0x{byte:02X}>")] = json!(200 + byte);
    }
    json
}

#[test]
fn a_leading_space_is_put_before_the_templates_words_only() {
    let mark = || json!([added(1, "<s>", true)]);
    let template = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}";
    let ids = |more: Value| {
        let tokenizer = load(&sentencepiece(more), template, &config(500, Some(1), &[])).unwrap();
        tokenizer.render_chat(&[Message::new(Role::User, "a b")], false).unwrap()
    };
    let c = |c: char| 10 + c as u32 - 0x20;
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let legacy = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]});
    let with = [1, 5, c('['), c('a'), 5, c('b'), c(']')];
    let without = [1, c('['), c('a'), 5, c('b'), c(']')];
    assert_eq!(ids(json!({"added_tokens": mark(), "normalizer": legacy})), with);
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
    assert_eq!(ids(json!({"added_tokens": mark(), "pre_tokenizer": metaspace("always")})), with);
    assert_eq!(ids(json!({"added_tokens": mark(), "pre_tokenizer": metaspace("first")})), without);
    assert_eq!(ids(json!({"added_tokens": mark(), "pre_tokenizer": metaspace("never")})), without);
}

#[test]
fn bytes_without_a_token_of_their_own_are_spelled_out() {
    let tokenizer = load(&sentencepiece(json!({})), CHATML, &config(500, None, &[])).unwrap();
    let ids = tokenizer.encode_text("a🧛");
    assert_eq!(ids[1..], [200 + 0xF0, 200 + 0x9F, 200 + 0xA7, 200 + 0x9B]);
    assert_eq!(tokenizer.decode(&ids), "a🧛");
}

#[test]
fn settings_that_would_cut_or_pad_are_ignored() {
    let json = ascii(
        &[],
        json!({"truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}}),
    );
    let tokenizer = load(&json, CHATML, &config(200, None, &[])).unwrap();
    assert_eq!(tokenizer.encode_text(&"a".repeat(5000)).len(), 5000);
}

#[test]
fn wrong_files_are_named() {
    let config = config(200, None, &[]);
    let error = |json: Value, template: &str| load(&json, template, &config).unwrap_err().to_string();
    let fails = |error: String, file: &str, part: &str| {
        assert!(error.contains(file) && error.contains(part), "{error}");
    };
    fails(error(json!("{"), CHATML), "tokenizer.json", "BPE");
    fails(error(ascii(&[], json!({"model": {"type": "WordPiece"}})), CHATML), "tokenizer.json", "WordPiece");
    fails(error(ascii(&[], json!({"decoder": null})), CHATML), "tokenizer.json", "decoder");
    fails(error(ascii(&[], json!({"model": {"merges": null}})), CHATML), "tokenizer.json", "merges");
    fails(error(ascii(&[], json!({"model": {"vocab": {"a": -1}}})), CHATML), "tokenizer.json", "no token id");
    fails(error(ascii(&[], json!({"model": {"vocab": {}}})), CHATML), "tokenizer.json", "empty");
    fails(
        error(ascii(&[], json!({"model": {"vocab": {"a": 4_000_000_000u32}}})), CHATML),
        "tokenizer.json",
        "far beyond",
    );
    fails(error(ascii(&[], json!({"added_tokens": [{"id": 1}]})), CHATML), "tokenizer.json", "added_tokens");
    fails(
        error(ascii(&[], json!({"added_tokens": [added(200, "<x>", true)]})), CHATML),
        "tokenizer.json",
        "200",
    );
    fails(error(ascii(&[], json!({})), "{% if %}"), "chat_template.jinja", "syntax");

    let dir = tempfile::tempdir().unwrap();
    let missing = Tokenizer::load(dir.path(), &config).unwrap_err().to_string();
    fails(missing, "tokenizer.json", "No such file");
}

#[test]
fn a_template_that_refuses_says_why() {
    let template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}{{ messages[0].content }}";
    let tokenizer = load(&ascii(&[], json!({})), template, &config(200, None, &[])).unwrap();
    let error = tokenizer.render_chat(&[Message::new(Role::System, "x")], true).unwrap_err().to_string();
    assert!(error.contains("no system messages"), "{error}");
    assert!(tokenizer.render_chat(&[Message::new(Role::User, "x")], true).is_ok());
}
