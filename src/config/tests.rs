use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use proptest::prelude::*;
use toml::{Table, Value};

use super::load::DEFAULT;
use super::*;

fn set(text: &str) -> Result<Config, String> {
    load(None, &[], &[text])
}

fn load(file: Option<&str>, env: &[(&str, &str)], sets: &[&str]) -> Result<Config, String> {
    let mut on_disk = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    on_disk.write_all(file.unwrap_or_default().as_bytes()).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    Config::load(file.map(|_| on_disk.path()), env, &sets).map_err(|error| error.to_string())
}

/// `section.key` of every setting in the default file.
fn names() -> BTreeSet<String> {
    let table: Table = DEFAULT.parse().unwrap();
    let keys = |(section, keys): (&String, &Value)| -> Vec<String> {
        keys.as_table().unwrap().keys().map(|key| format!("{section}.{key}")).collect()
    };
    table.iter().flat_map(keys).collect()
}

/// The comment right above each setting of the default file.
fn comments() -> BTreeMap<String, String> {
    let (mut section, mut comment) = (String::new(), String::new());
    let mut all = BTreeMap::new();
    for line in DEFAULT.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            comment.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            all.insert(format!("{section}.{key}"), std::mem::take(&mut comment));
        } else {
            assert!(line.is_empty(), "a line of another kind: {line:?}");
            comment.clear();
        }
    }
    all
}

#[test]
fn default_file_has_every_key_of_the_structs() {
    let json = serde_json::to_value(load(None, &[], &[]).unwrap()).unwrap();
    let mut fields = BTreeSet::new();
    for (section, keys) in json.as_object().unwrap() {
        fields.extend(keys.as_object().unwrap().keys().map(|key| format!("{section}.{key}")));
    }
    assert_eq!(fields, names());
}

#[test]
fn no_default_lives_outside_the_default_file() {
    for name in names() {
        let mut table: Table = DEFAULT.parse().unwrap();
        let (section, key) = name.split_once('.').unwrap();
        table.get_mut(section).unwrap().as_table_mut().unwrap().remove(key);
        let error = Config::deserialize(Value::Table(table)).expect_err(&name).to_string();
        assert!(error.contains(&format!("missing field `{key}`")), "{name}: {error}");
    }
}

#[test]
fn every_setting_has_a_comment_that_quotes_its_range() {
    let comments = comments();
    let table: Table = DEFAULT.parse().unwrap();
    assert_eq!(comments.keys().cloned().collect::<BTreeSet<_>>(), names());
    for (name, comment) in comments {
        assert!(comment.trim().len() > 10, "{name} has no comment of its own");
        let (section, key) = name.split_once('.').unwrap();
        let number = matches!(table[section][key], Value::Integer(_) | Value::Float(_));
        assert_eq!(range::of(&name).is_some(), number, "{name}: exactly the numbers have a range");
        if let Some(range) = range::of(&name) {
            assert!(
                comment.contains(&range.to_string()),
                "{name}: the comment must say {range:?}: {comment}"
            );
        }
    }
    for (name, _) in range::RANGES {
        assert!(names().contains(*name), "a range for {name}, which does not exist");
    }
}

#[test]
fn later_sources_win() {
    let file = Some("[engine]\nrows = 2\nqueue = 3\ncontext = 128\n");
    let env = [
        ("NPC_GATEWAY__ENGINE__QUEUE", "4"),
        ("NPC_GATEWAY__ENGINE__CONTEXT", "256"),
        ("NPC_GATEWAY_CACHE", "/elsewhere"),
        ("OTHER", "1"),
    ];
    let config = load(file, &env, &["engine.context=512", "engine.context=1000"]).unwrap();
    assert_eq!((config.engine.rows, config.engine.queue, config.engine.context), (2, 4, 1000));
    assert_eq!(config.engine.prefill_budget, 128);
}

#[test]
fn values_need_no_quotes() {
    let path = |text: &str| set(text).unwrap().model.path.into_os_string().into_string().unwrap();
    assert_eq!(path("model.path=/x y/z.gguf"), "/x y/z.gguf");
    assert_eq!(path("model.path=\"/x\""), "/x");
    assert_eq!(path("model.path=12"), "12");
    assert_eq!(path("model.path=a=b"), "a=b");
    assert_eq!(path("model.path=\"a\"\nb = 2"), "\"a\"\nb = 2");
    let providers = |text: &str| set(text).unwrap().engine.providers;
    let both = vec![Provider::Cuda, Provider::Cpu];
    assert_eq!(providers(r#"engine.providers=["cuda", "cpu"]"#), both);
    assert_eq!(providers("engine.providers=cuda, cpu"), both);
    assert_eq!(set("turn.temperature=1").unwrap().turn.temperature, 1.0);
    assert!(set("engine.fallback=true").unwrap().engine.fallback);
    assert_eq!(
        load(None, &[("NPC_GATEWAY__SERVER__ALLOWED_ORIGINS", "https://a.example,http://b:1")], &[])
            .unwrap()
            .server
            .allowed_origins,
        ["https://a.example", "http://b:1"]
    );
}

#[test]
fn a_bad_setting_is_named_with_its_source() {
    let cases: &[(&str, &str)] = &[
        ("engine.row=1", "--set: unknown setting engine.row; did you mean engine.rows?"),
        ("engin.rows=1", "--set: unknown setting engin.rows; did you mean engine.rows?"),
        ("rows=1", "--set: unknown setting rows; did you mean "),
        ("engine.rows", "--set: \"engine.rows\" names no setting; wanted section.key=value"),
        ("engine.rows=many", "--set: engine.rows is \"many\", but must be a whole number, 1 to 256"),
        ("engine.rows=1.5", "--set: engine.rows is 1.5, but must be a whole number, 1 to 256"),
        ("engine.rows=0", "--set: engine.rows is 0, but must be a number, 1 to 256"),
        ("engine.rows=-1", "--set: engine.rows is -1, but must be a number, 1 to 256"),
        ("engine.context=63", "engine.context is 63, but must be a number, 64 to 131072"),
        ("engine.fallback=1", "engine.fallback is 1, but must be true or false"),
        ("turn.temperature=0", "turn.temperature is 0.0, but must be a number, above 0, at most 2"),
        ("turn.temperature=nan", "turn.temperature is nan, but must be a number, above 0, at most 2"),
        ("turn.min_p=1", "turn.min_p is 1.0, but must be a number, at least 0, below 1"),
        (
            "engine.decoder=fast",
            "--set: engine.decoder is \"fast\", but must be one of `auto`, `native`, `portable`",
        ),
        ("engine.kind=fake", "--set: engine.kind is \"fake\", but must be `model` or `scripted`"),
        (
            "engine.script_tokens_per_second=-1",
            "engine.script_tokens_per_second is -1.0, but must be a number, 0 to 1000000",
        ),
        ("engine.providers=", "engine.providers is [], but must be at least one provider, each once"),
        ("engine.providers=cpu,cpu", "at least one provider, each once"),
        (
            "engine.providers=gpu",
            "--set: engine.providers is [\"gpu\"], but must be one of `cpu`, `cuda`, `tensorrt`",
        ),
        ("engine.providers=[1]", "--set: engine.providers is [1], but must be a list of texts"),
        ("server.listen=localhost", "but must be an address and a port, such as 127.0.0.1:7777"),
        ("server.listen=0.0.0.0:7777", "a loopback address such as 127.0.0.1, because auth.mode"),
        ("server.allowed_origins=https://a/", "a list of origins such as"),
        ("auth.mode=none", "auth.mode is \"none\", but must be `dev` or `jwt`"),
        ("auth.mode=jwt", "auth.keys is \"\", but must be a folder with a key, because auth.mode is \"jwt\""),
        ("auth.issuers=[\"\"]", "auth.issuers is [\"\"], but must be a list of texts that are not empty"),
        (
            "auth.play_grants=everything",
            "--set: auth.play_grants is [\"everything\"], but must be one of `create`, `mix`, `context`, `audience`",
        ),
        ("server.tls_cert=/c.pem", "server.tls_key is \"\", but must be set when server.tls_cert is"),
        ("server.tls_key=/k.pem", "server.tls_cert is \"\", but must be set when server.tls_key is"),
        ("server.data=", "server.data is \"\", but must be a folder"),
        ("turn.window_min=10", ""),
        (
            "turn.max_tokens=1024",
            "turn.max_tokens is 1024, but must be less than engine.context, which is 1024",
        ),
        ("log.level=a=b=c", "log.level is \"a=b=c\", but must be a tracing filter"),
    ];
    for (text, message) in cases {
        match set(text) {
            Ok(_) => assert!(message.is_empty(), "{text} was taken"),
            Err(error) => assert!(!message.is_empty() && error.contains(message), "{text}: {error}"),
        }
    }
    let window = load(None, &[], &["turn.window_max=4"]).unwrap_err();
    assert!(
        window.contains("turn.window_min is 5, but must be at most turn.window_max, which is 4"),
        "{window}"
    );
}

#[test]
fn spans_are_sent_only_by_a_program_that_can() {
    let url = "log.otlp_url=http://127.0.0.1:4318/v1/traces";
    if cfg!(feature = "otel") {
        assert_eq!(set(url).unwrap().log.otlp_url, "http://127.0.0.1:4318/v1/traces");
        for bad in ["localhost:4318", "ftp://x/", "http://", "http:///v1", "http://a b/"] {
            let error = set(&format!("log.otlp_url={bad}")).unwrap_err();
            assert!(error.contains("but must be a URL such as http://127.0.0.1:4318/v1/traces"), "{error}");
        }
    } else {
        let error = set(url).unwrap_err();
        assert!(
            error.contains("but must be empty: this program was built without the feature \"otel\""),
            "{error}"
        );
    }
    assert!(set("log.otlp_share=1.5").unwrap_err().contains("but must be a number, 0 to 1"));
    assert_eq!(set("log.otlp_url=").unwrap().log.otlp_url, "");
}

#[test]
fn files_and_variables_are_named() {
    let file = |text: &str| load(Some(text), &[], &[]).unwrap_err();
    for (text, message) in [
        ("[engine]\nrow = 1", "unknown setting engine.row; did you mean engine.rows?"),
        ("[motor]\nrows = 1", "unknown setting motor; did you mean "),
        ("engine = 1", "engine is 1, but must be a table, written [engine]"),
        ("[engine]\nrows = \"2\"", "engine.rows is \"2\", but must be a whole number, 1 to 256"),
        ("[engine", "TOML parse error at line 1"),
    ] {
        let error = file(text);
        assert!(error.contains("config file ") && error.contains(message), "{text}: {error}");
    }
    let env = |name: &str, value: &str| load(None, &[(name, value)], &[]).unwrap_err();
    assert!(
        env("NPC_GATEWAY__ENGINE__ROWS", "x").starts_with("environment variable NPC_GATEWAY__ENGINE__ROWS: ")
    );
    assert!(env("NPC_GATEWAY__ROWS", "1").contains("wanted NPC_GATEWAY__SECTION__KEY"));
    assert!(env("NPC_GATEWAY__ENGINE__ROW", "1").contains("did you mean engine.rows?"));
    let missing = Config::load(Some(Path::new("/nowhere/x.toml")), std::iter::empty(), &[]).unwrap_err();
    assert!(missing.to_string().contains("config file /nowhere/x.toml: No such file"), "{missing}");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused_in_few_words(name in "\\PC{0,40}", value in "\\PC{0,400}") {
        for text in [format!("{name}={value}"), format!("engine.rows={value}"), format!("model.path={value}")] {
            if let Err(error) = set(&text) {
                prop_assert!(error.chars().count() < 1000, "{}", error);
            }
        }
    }

    #[test]
    fn a_path_comes_through_as_it_was(path in "/[A-Za-z0-9 _.=#\\[\\]-]{1,60}") {
        let config = set(&format!("model.path={path}")).unwrap();
        prop_assert_eq!(config.model.path.to_str().unwrap(), path.trim());
    }
}
