use proptest::prelude::*;

use super::*;

/// A file with one good model, whose line that begins with `key` is another.
fn changed(key: &str, line: &str) -> String {
    let first = BUILT_IN.split("[[model]]").nth(1).unwrap();
    let lines = first.lines().map(|old| if old.starts_with(&format!("{key} =")) { line } else { old });
    format!("[[model]]\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn said(text: &str) -> String {
    Models::parse("m.toml", text).unwrap_err().to_string()
}

#[test]
fn the_figures_give_the_published_numbers_of_weights() {
    let billions = [
        ("llama-3.1-8b", 8.03),
        ("llama-3.1-70b", 70.6),
        ("qwen2.5-7b", 7.62),
        ("qwen2.5-14b", 14.77),
        ("qwen2.5-32b", 32.76),
        ("qwen2.5-72b", 72.71),
        ("smollm2-135m", 0.1345),
        ("smollm2-360m", 0.3618),
        ("smollm2-1.7b", 1.711),
    ];
    let models = Models::built_in().unwrap();
    assert_eq!(models.iter().count(), billions.len());
    for (name, billion) in billions {
        let model = models.get(name).unwrap();
        let counted = model.architecture.parameters().total();
        assert!((counted as f64 / 1e9 / billion - 1.0).abs() < 0.01, "{name}: {counted}");
        assert_eq!(counted, model.published_parameters, "{name}: to the last weight");
    }
}

#[test]
fn names_are_found_in_any_case_and_an_unknown_one_is_answered_with_those_that_there_are() {
    let models = Models::built_in().unwrap();
    assert_eq!(models.get("Llama-3.1-8B").unwrap().title, "Llama 3.1 8B");
    let message = models.get("gpt").unwrap_err().to_string();
    assert!(message.starts_with("there is no base model \"gpt\"; there are llama-3.1-8b, "), "{message}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_key() {
    for (text, wanted) in [
        (changed("layers", "layers = 0"), "m.toml: model[0].layers is 0, but must be 1 to 1024"),
        (changed("layers", "layers = \"x\""), "m.toml: model[0].layers: invalid type"),
        (changed("layers", ""), "m.toml: model[0]: missing field `layers`"),
        (changed("layers", "layer = 32"), "unknown field `layer`"),
        (changed("kv_heads", "kv_heads = 64"), "m.toml: model[0].kv_heads is 64, but must be 1 to 32"),
        (changed("kv_heads", "kv_heads = 5"), "kv_heads is 5, but must be a divisor of heads (32)"),
        (changed("name", "name = \"\""), "m.toml: model[0].name is empty"),
        (changed("source", "source = \"\""), "m.toml: model[0].source is empty"),
        (changed("context_tokens", "context_tokens = 0"), "m.toml: model[0].context_tokens is 0"),
        (changed("parameters", "parameters = 7000000000"), "model[0].parameters is 7000000000, but must be"),
        (changed("hidden", "hidden = -1"), "m.toml: model[0].hidden: invalid value"),
        (format!("{0}\n{0}", changed("", "")), "m.toml: model.name is \"llama-3.1-8b\", but must be unlike"),
        ("model = 3".into(), "m.toml: model: invalid type"),
        ("[[model".into(), "m.toml: "),
    ] {
        let message = said(&text);
        assert!(message.contains(wanted), "{message}\nwanted: {wanted}");
    }
}

proptest! {
    /// No architecture within the limits overflows, and more of anything is never fewer weights.
    #[test]
    fn weights_are_counted_without_overflow(
        layers in 1_u32..=1024, hidden in 1_u32..=65_536, intermediate in 1_u32..=1_048_576,
        groups in 1_u32..=32, kv_heads in 1_u32..=32, head_dim in 1_u32..=1024, vocab in 2_u32..=4_194_304,
        tied_embeddings: bool, attention_bias: bool,
    ) {
        let architecture = Architecture {
            layers, hidden, intermediate, heads: groups * kv_heads, kv_heads, head_dim, vocab,
            tied_embeddings, attention_bias,
        };
        prop_assert!(architecture.check("x").is_ok());
        let total = architecture.parameters().total();
        prop_assert!(total > 0 && total < 1 << 53);
        let deeper = Architecture { layers: layers + 1, ..architecture };
        prop_assert!(deeper.parameters().total() > total);
        let tied = Architecture { tied_embeddings: true, ..architecture };
        prop_assert!(tied.parameters().total() <= total);
    }
}
