//! What is wrong is named, and the exit code says whose fault it is.

use crate::support::{complaint, gateway, needed, refused};

#[test]
fn a_bad_setting_exits_2_and_is_named() {
    let cases: [(&[&str], &str); 12] = [
        (&["serve", "--set", "engine.row=2"], "--set: unknown setting engine.row; did you mean engine.rows?"),
        (&["serve", "--set", "engine.rows=257"], "--set: engine.rows is 257, but must be a number, 1 to 256"),
        (
            &["serve", "--listen", "here"],
            "--listen: server.listen is \"here\", but must be an address and a port",
        ),
        (
            &["serve", "--listen", "0.0.0.0:1"],
            "--listen: server.listen is \"0.0.0.0:1\", but must be a loopback",
        ),
        (&["serve", "--set", "auth.mode=jwt"], "auth.keys is \"\", but must be a folder with a key"),
        (
            &["serve", "--set", "auth.mode=jwt", "--set", "auth.keys=/nowhere"],
            "setting auth.keys: /nowhere: No such file",
        ),
        (
            &["serve", "--set", "server.tls_cert=/nowhere", "--set", "server.tls_key=/nowhere"],
            "setting server.tls_cert: /nowhere: No such file",
        ),
        (
            &["serve", "--set", "models.file=/nowhere.toml"],
            "setting models.file: /nowhere.toml: No such file",
        ),
        (
            &["serve", "--set", "models.priority=speed"],
            "models.priority is \"speed\", but must be one of `latency`, `cost`, `quality`, `balanced`",
        ),
        (&["serve", "--model", "/nowhere"], "setting model.path: /nowhere: No such file"),
        (&["serve", "--config", "/nowhere.toml"], "config file /nowhere.toml: No such file"),
        (&["serve", "--nonsense"], "unexpected argument '--nonsense'"),
    ];
    for (words, message) in cases {
        let said = refused(gateway(words), 2);
        assert!(said.contains(message), "{words:?}: {said}");
    }
    let mut by_variable = gateway(&["serve"]);
    by_variable.env("NPC_GATEWAY__ENGINE__QUEUE", "lots");
    let said = refused(by_variable, 2);
    assert!(said.contains("NPC_GATEWAY__ENGINE__QUEUE: engine.queue is \"lots\""), "{said}");
}

#[test]
fn a_plan_that_cannot_be_met_says_which_limit_and_by_how_much() {
    for (words, told) in [
        ("--npcs 5 --token-ms 0.1", "ms too long"),
        ("--npcs 5 --model llama-3.1-70b --precision fp16 --only g5.2xlarge", "too little"),
        ("--npcs 5 --headroom 2", "headroom is 2"),
        ("--npcs 5 --what-if moons=2", "moons"),
    ] {
        let words: Vec<&str> = std::iter::once("plan").chain(words.split(' ')).collect();
        let said = refused(gateway(&words), 2);
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn the_reference_cases_are_told_with_their_arithmetic() {
    let output = gateway(&["plan", "--reference"]).output().unwrap();
    assert!(output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    for row in ["| 100 | 87.5 | 1 |", "| 1000 | 875.0 | 5 |", "| 10000 | 8750.0 | 175 | 154833 |"] {
        assert!(told.contains(row), "{row}: {told}");
    }
    assert!(
        told.contains(
            "servers for 1,000 NPCs: 5 g5.2xlarge (does not hold): the design's own formula gives 18"
        ),
        "{told}"
    );
}

#[test]
fn what_cannot_be_trained_or_measured_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mute = folder.path().join("vampire");
    std::fs::create_dir(&mute).unwrap();
    std::fs::copy("adapters/vampire/pack.toml", mute.join("pack.toml")).unwrap();
    let packs = folder.path().to_str().unwrap();
    let repo = concat!(env!("CARGO_MANIFEST_DIR"), "/adapters");
    let cases: [(&[&str], &str); 6] = [
        (&["train", "--packs", packs], "no pack has a folder `lines`"),
        (&["train", "--packs", packs, "--archetype", "unicorn"], "there is no pack \"unicorn\""),
        (&["train", "--packs", packs, "--task", "dancing"], "there is no task of that name"),
        (&["train", "--packs", repo, "--out", packs], "--out: name one --archetype"),
        (&["train", "--packs", repo, "--resume"], "--out"),
        (&["eval", "--packs", packs], "no pack has an adapter"),
    ];
    for (words, message) in cases {
        let said = refused(gateway(&[&["adapters"], words].concat()), 2);
        assert!(said.contains(message), "{words:?}: {said}");
    }
}

#[test]
fn import_replaces_nothing_by_accident() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let import = |out: &str, more: &[&str]| {
        let mut command = gateway(&["import"]);
        command.arg(needed("NPC_GATEWAY_TEST_GGUF")).arg("--out").arg(place.path().join(out)).args(more);
        command
    };
    std::fs::create_dir(place.path().join("mine")).unwrap();
    std::fs::write(place.path().join("mine/notes.txt"), "mine").unwrap();
    let said = refused(import("mine", &["--force"]), 2);
    assert!(said.contains("the folder is not empty, and no model folder"), "{said}");
    assert!(place.path().join("mine/notes.txt").is_file());

    std::fs::create_dir(place.path().join("model")).unwrap();
    for more in [&[][..], &["--force"]] {
        let output = import("model", more).output().unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        assert!(place.path().join("model/weights.bin").is_file());
        let said = refused(import("model", &[]), 2);
        assert!(said.contains("there is a model folder already; --force replaces it"), "{said}");
    }
    let names: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}
