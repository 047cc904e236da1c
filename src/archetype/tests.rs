use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const VALID: &str = r#"name = "imp"
title = "Imp"
names = ["Pip"]
persona = "You are {name}, an imp."
speech = ["Giggle."]
lore = ["Fire is warm."]
overload_lines = ["Hee."]

[mix]
dialogue_style = 0.5
"#;

const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// A folder of packs: paths and texts.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn load(files: &[(&str, &str)]) -> Result<Packs, String> {
    let dir = folder(files);
    let prefix = format!("{}/", dir.path().display());
    Packs::load(Some(dir.path())).map_err(|e| e.to_string().replace(&prefix, ""))
}

/// The error of a pack that differs from the valid one.
fn error(from: &str, to: &str) -> String {
    assert!(VALID.contains(from));
    load(&[("imp/pack.toml", &VALID.replace(from, to))]).unwrap_err()
}

#[test]
fn the_built_in_packs_are_those_of_the_repository() {
    let built_in = Packs::load(None).unwrap();
    assert_eq!(built_in.names().collect::<Vec<_>>(), ["ghoul", "lich", "vampire", "werewolf", "zombie"]);
    let on_disk = Packs::load(Some(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("adapters"))).unwrap();
    assert_eq!(built_in.names().collect::<Vec<_>>(), on_disk.names().collect::<Vec<_>>());
    for pack in built_in.iter() {
        assert!(pack.names.len() >= 6 && pack.overload_lines.len() >= 4, "{}", pack.name);
        assert_eq!(pack.persona, on_disk.get(&pack.name).unwrap().persona);
        // The model reads all of it before every first line: about four characters a token.
        let texts = pack.speech.iter().chain(&pack.lore).map(|text| text.chars().count() + 1);
        let chars = pack.persona.chars().count() + texts.sum::<usize>();
        assert!(chars <= 560, "{}: {chars} characters of system text", pack.name);
    }
}

#[test]
fn a_pack_is_read_whole() {
    let packs = load(&[("imp/pack.toml", VALID), ("README.md", "x"), ("trainer/notes.txt", "x")]).unwrap();
    assert_eq!(packs.names().collect::<Vec<_>>(), ["imp"]);
    let imp = packs.get("imp").unwrap();
    assert_eq!((imp.title.as_str(), imp.names.as_slice()), ("Imp", &["Pip".to_owned()][..]));
    let weights = |speaking| Task::ALL.map(|task| imp.weight(task, speaking));
    assert_eq!(weights(1), Task::ALL.map(|task| if task == Task::DialogueStyle { 0.5 } else { 1.0 }));
    // What speaks and is not named shares.
    assert_eq!((imp.weight(Task::DialogueStyle, 2), imp.weight(Task::Personality, 2)), (0.5, 0.5));
    assert_eq!(imp.weight(Task::ActionPolicy, 2), 1.0);
    assert!(imp.versions.is_empty() && imp.services.is_none());
    assert!(packs.get("elf").is_none());
}

#[test]
fn the_newest_adapter_is_used_unless_one_is_pinned() {
    let files =
        |task: &'static str, version: &str| FILES.map(|file| (format!("imp/{task}/{version}/{file}"), "x"));
    let mut all: Vec<(String, &str)> = Vec::new();
    for (task, version) in
        [("dialogue_style", "v2"), ("dialogue_style", "v10"), ("personality", "v1"), ("personality", "v3")]
    {
        all.extend(files(task, version));
    }
    // Neither is a version, and an unfinished version that is not used does not matter.
    all.extend([
        ("imp/personality/v04/adapter_config.json".to_owned(), "x"),
        ("imp/personality/v2/log".to_owned(), "x"),
    ]);
    let pinned = format!("{VALID}\n[versions]\npersonality = \"v1\"\n");
    all.push(("imp/pack.toml".to_owned(), &pinned));
    let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (path.as_str(), *text)).collect();

    let dir = folder(&all);
    let packs = Packs::load(Some(dir.path())).unwrap();
    let imp = packs.get("imp").unwrap();
    let adapters = imp.adapters();
    let versions: Vec<_> = adapters.values().map(|a| (a.id.as_str(), a.task, a.version.as_str())).collect();
    assert_eq!(
        versions,
        [("imp.personality", Task::Personality, "v1"), ("imp.dialogue_style", Task::DialogueStyle, "v10")]
    );
    assert_eq!(adapters[&Task::DialogueStyle].dir, dir.path().join("imp/dialogue_style/v10"));
    // All that are complete can be promoted.
    let numbers = |task| imp.versions[&task].keys().copied().collect::<Vec<_>>();
    assert_eq!((numbers(Task::DialogueStyle), numbers(Task::Personality)), (vec![2, 10], vec![1, 3]));
    assert_eq!((imp.pinned(Task::Personality), imp.pinned(Task::DialogueStyle)), (Some(1), None));
}

#[test]
fn versions_that_come_later_are_found_when_they_are_complete() {
    let dir = folder(&[
        ("imp/pack.toml", VALID),
        ("imp/personality/v1/adapter_config.json", "x"),
        ("imp/personality/v1/adapter_model.safetensors", "x"),
    ]);
    let pack = read_pack(dir.path(), "imp").unwrap().unwrap();
    let numbers =
        || read_versions(dir.path(), &pack).unwrap()[&Task::Personality].keys().copied().collect::<Vec<_>>();
    let v2 = dir.path().join("imp/personality/v2");
    fs::create_dir(&v2).unwrap();
    fs::write(v2.join(FILES[0]), "x").unwrap();
    assert_eq!(numbers(), [1], "on its way");
    let error = read_version(dir.path(), &pack, Task::Personality, 2).unwrap_err().to_string();
    assert!(error.contains("adapter_model.safetensors: this file of the personality adapter"), "{error}");
    fs::write(v2.join("adapter_model.bin"), "x").unwrap();
    let error = read_version(dir.path(), &pack, Task::Personality, 2).unwrap_err().to_string();
    assert!(
        error.contains("adapter_model.bin is a pickle, which may run anything, and is not read"),
        "{error}"
    );
    fs::write(v2.join(FILES[1]), "x").unwrap();
    assert_eq!(numbers(), [1, 2]);
    assert_eq!(read_version(dir.path(), &pack, Task::Personality, 3).unwrap(), None);
}

#[test]
fn a_name_is_never_a_path() {
    let dir = folder(&[("imp/pack.toml", VALID), ("packs/imp/pack.toml", VALID)]);
    let packs = dir.path().join("packs");
    for name in ["../imp", "imp/../imp", "./imp", "/imp", "", "Imp", "imp\0"] {
        assert_eq!(read_pack(&packs, name).unwrap(), None, "{name:?}");
    }
    for version in ["v1/../v1", "../v1", "v01", "v", "v1 ", "1", "v-1", "v1000000"] {
        assert_eq!(version_number(version), None, "{version:?}");
    }
    assert_eq!((version_number("v1"), version_number("v999999")), (Some(1), Some(999_999)));
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_a_packs_folder() {
    use std::os::unix::fs::symlink;
    let dir = folder(&[
        ("packs/imp/pack.toml", VALID),
        ("packs/imp/personality/v1/adapter_config.json", "x"),
        ("packs/imp/weights", "x"),
        ("elsewhere/v1/adapter_config.json", "x"),
        ("elsewhere/v1/adapter_model.safetensors", "x"),
        ("elsewhere/pack.toml", VALID),
    ]);
    let at = |path: &str| dir.path().join(path);
    let load = || Packs::load(Some(&at("packs"))).map_err(|error| error.to_string());
    let weights = at("packs/imp/personality/v1/adapter_model.safetensors");
    symlink(at("packs/imp/weights"), &weights).unwrap();
    assert_eq!(load().unwrap().get("imp").unwrap().adapters().len(), 1, "a link within the pack");
    let refused = |what: &str| {
        let error = load().unwrap_err();
        assert!(error.contains(what) && error.ends_with("a link leads out of the pack's folder"), "{error}");
    };
    fs::remove_file(&weights).unwrap();
    symlink("../../../../elsewhere/v1/adapter_model.safetensors", &weights).unwrap();
    refused("adapter_model.safetensors");
    fs::remove_file(&weights).unwrap();
    fs::write(&weights, "x").unwrap();
    symlink(at("elsewhere/pack.toml"), at("packs/imp/personality/v1/metrics.json")).unwrap();
    refused("metrics.json");
    // The folder of a version, and that of a task.
    fs::remove_dir_all(at("packs/imp/personality/v1")).unwrap();
    symlink(at("elsewhere/v1"), at("packs/imp/personality/v1")).unwrap();
    refused("personality/v1");
    fs::remove_dir_all(at("packs/imp/personality")).unwrap();
    symlink(at("elsewhere"), at("packs/imp/personality")).unwrap();
    refused("personality/v1");
    fs::remove_file(at("packs/imp/personality")).unwrap();
    fs::remove_file(at("packs/imp/pack.toml")).unwrap();
    symlink(at("elsewhere/pack.toml"), at("packs/imp/pack.toml")).unwrap();
    refused("pack.toml");
    // The pack as a whole may lie where its owner has put it.
    fs::rename(at("packs/imp"), at("imp")).unwrap();
    fs::remove_file(at("imp/pack.toml")).unwrap();
    fs::write(at("imp/pack.toml"), VALID).unwrap();
    symlink(at("imp"), at("packs/imp")).unwrap();
    assert!(load().unwrap().get("imp").is_some());
}

/// A version in a folder of its own.
fn version(dir: &Path) -> PackAdapter {
    PackAdapter {
        id: "imp.personality".into(),
        task: Task::Personality,
        version: "v1".into(),
        dir: dir.to_owned(),
    }
}

#[test]
fn what_the_files_of_a_version_say_is_told() {
    let config = r#"{"r": 4, "rank_pattern": {"q_proj": 16}, "target_modules": ["q_proj", "v_proj"],
        "base_model_name_or_path": "some/base"}"#;
    let metrics = r#"{"task": "personality", "examples": 60, "held_out": 6, "base_loss": 3.5, "loss": 2.25,
        "accuracy": null, "base_accuracy": null, "majority": null}"#;
    let dir = folder(&[
        ("adapter_config.json", config),
        ("adapter_model.safetensors", "abc"),
        ("metrics.json", metrics),
    ]);
    let files = VersionFiles::read(&version(dir.path())).unwrap();
    assert_eq!((files.bytes, files.rank, files.trained_on.as_deref()), (3, 16, Some("some/base")));
    assert_eq!(files.targets, ["q_proj", "v_proj"]);
    // `printf abc | sha256sum`.
    assert_eq!(files.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let metrics = files.metrics.unwrap();
    assert_eq!((metrics.examples, metrics.loss, metrics.base_loss), (Some(60), Some(2.25), Some(3.5)));
    assert_eq!(metrics.worse(), None);
    fs::remove_file(dir.path().join("metrics.json")).unwrap();
    assert_eq!(VersionFiles::read(&version(dir.path())).unwrap().metrics, None);
    for (text, wanted) in [
        ("{", "metrics.json: EOF"),
        (r#"{"loss": -1}"#, "metrics.json: loss is -1, but must be a number from 0 on"),
        (r#"{"accuracy": 1.5}"#, "metrics.json: accuracy is 1.5, but must be from 0 to 1"),
        (r#"{"loss": "low"}"#, "metrics.json: invalid type"),
    ] {
        fs::write(dir.path().join("metrics.json"), text).unwrap();
        let error = VersionFiles::read(&version(dir.path())).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_version_is_worse_if_its_measure_says_so() {
    let metrics = |text: &str| serde_json::from_str::<Metrics>(text).unwrap().worse();
    assert_eq!(metrics("{}"), None);
    assert_eq!(metrics(r#"{"loss": 2, "base_loss": 2}"#), None);
    assert!(metrics(r#"{"loss": 2.5, "base_loss": 2}"#).unwrap().contains("its loss is 2.5"));
    // A choice is right or wrong, however sure of it the model is.
    assert_eq!(metrics(r#"{"loss": 2.5, "base_loss": 2, "accuracy": 0.6, "base_accuracy": 0.5}"#), None);
    assert!(metrics(r#"{"accuracy": 0.4, "base_accuracy": 0.5}"#).unwrap().contains("its accuracy is 0.4"));
}

#[test]
fn files_that_are_too_large_are_not_read() {
    let dir =
        folder(&[("adapter_config.json", "{}"), ("adapter_model.safetensors", ""), ("metrics.json", "{}")]);
    for (name, bytes) in [
        ("metrics.json", 65_537),
        ("adapter_config.json", 1_048_577),
        ("adapter_model.safetensors", 10 << 30),
    ] {
        // It has a hole, and takes no space.
        fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap().set_len(bytes).unwrap();
        let error = VersionFiles::read(&version(dir.path())).unwrap_err();
        assert!(error.starts_with(&format!("{name} has {bytes} bytes; at most ")), "{error}");
        fs::write(dir.path().join(name), "{}").unwrap();
    }
}

#[test]
fn services_are_told_with_what_voices_are_like() {
    let services = r#"
[services.voice]
url = "wss://voice.example/speak?model=2"
[services.voice.parameters]
vocal_tract_length = 21.5
pitch = 70
roughness = 0.4
breath = 0
language = "en"
[services.body]
url = "http://10.0.0.7:9000/body"
"#;
    let packs = load(&[("imp/pack.toml", &format!("{VALID}{services}"))]).unwrap();
    let told = packs.get("imp").unwrap().services.clone().unwrap();
    let voice = told.voice.unwrap();
    assert_eq!(voice.url, "wss://voice.example/speak?model=2");
    let parameters = serde_json::to_value(&voice.parameters).unwrap();
    let expected = serde_json::json!({"vocal_tract_length": 21.5, "pitch": 70.0, "roughness": 0.4, "breath": 0.0,
        "language": "en"});
    assert_eq!(parameters, expected);
    let body = told.body.unwrap();
    assert_eq!(
        (body.url.as_str(), body.parameters.len(), told.facial),
        ("http://10.0.0.7:9000/body", 0, None)
    );

    let voice = |from: &str, to: &str| {
        assert!(services.contains(from), "{from}");
        load(&[("imp/pack.toml", &format!("{VALID}{}", services.replace(from, to)))]).unwrap_err()
    };
    let long = "x".repeat(500);
    let cases = [
        (
            voice("roughness = 0.4", ""),
            "services.voice.parameters.roughness: it is missing; it must be a share",
        ),
        (
            voice("= 70", "= 7"),
            "services.voice.parameters.pitch: it is 7, but must be hertz, from 20 to 1000",
        ),
        (
            voice("21.5", "nan"),
            "services.voice.parameters.vocal_tract_length: it is nan, but must be centimetres",
        ),
        (
            voice("breath = 0", "breath = \"much\""),
            "services.voice.parameters.breath: it is \"much\", but must be",
        ),
        (voice("\"en\"", "[1]"), "services.voice.parameters.language: it must be a number"),
        (voice("\"en\"", "inf"), "services.voice.parameters.language: it must be a number"),
        (voice("wss://", "ftp://"), "services.voice.url: wanted: http://"),
        (voice("wss://voice.example", ""), "services.voice.url: wanted: http://"),
        (
            voice("voice.example", "me:secret@voice.example"),
            "services.voice.url: it holds a user or a password",
        ),
        (voice("/speak", &format!("/{long}")), "services.voice.url: it has 528 characters, at most 512"),
        (voice("wss://voice.example", "wss://voice example"), "services.voice.url: it is no address"),
        (voice("[services.body]", "[services.legs]"), "services.legs: unknown field `legs`"),
        (
            voice("\"http://10.0.0.7:9000/body\"", "\"http://h/\"\nport = 1"),
            "services.body.port: unknown field",
        ),
    ];
    for (error, expected) in cases {
        assert!(
            error.starts_with(&format!("imp/pack.toml: {expected}")),
            "expected {expected:?}\n     got {error:?}"
        );
    }
}

#[test]
fn incomplete_and_misnamed_adapters_are_named() {
    let with = |path: &str, toml: &str| load(&[("imp/pack.toml", toml), (path, "x")]).unwrap_err();
    let half = with("imp/personality/v2/adapter_config.json", VALID);
    assert!(half.starts_with("imp/personality/v2/adapter_model.safetensors: "), "{half}");
    let typo = with("imp/dialog_style/v1/adapter_config.json", VALID);
    assert!(typo.starts_with("imp/dialog_style: there is no task"), "{typo}");
    let absent = with("imp/x", &format!("{VALID}[versions]\npersonality = \"v7\"\n"));
    assert!(absent.starts_with("imp/personality/v7/adapter_config.json: "), "{absent}");
}

#[test]
fn a_face_is_as_the_pack_says() {
    let face =
        "\n[face]\ntempo = 0.5\n[face.gains]\nAU6 = 0.0\nAU12L = 0.5\n[face.extra.anger]\nAU10 = 0.6\n";
    let packs = load(&[("imp/pack.toml", &format!("{VALID}{face}"))]).unwrap();
    let face = &packs.get("imp").unwrap().face;
    assert_eq!((face.tempo, face.expressivity, face.blinks_per_minute), (0.5, 1.0, None));
    assert_eq!((face.gains["AU6"], face.gains["AU12L"]), (0.0, 0.5));
    assert_eq!(face.extra[&crate::wire::EmotionLabel::Anger]["AU10"], 0.6);
    assert_eq!(load(&[("imp/pack.toml", VALID)]).unwrap().get("imp").unwrap().face, FaceOverrides::default());
}

#[test]
fn mistakes_are_named_with_file_and_key() {
    let long = |n: usize| "x".repeat(n);
    let face = |toml: &str| error("[mix]", &format!("[face]\n{toml}\n[mix]"));
    let cases = [
        (error("title = \"Imp\"", ""), "imp/pack.toml: missing field `title`"),
        (error("title =", "titel = \"x\"\ntitle ="), "imp/pack.toml: titel: unknown field `titel`"),
        (error("\"Imp\"", "3"), "imp/pack.toml: title: invalid type: integer `3`, expected a string"),
        (error("\"Imp\"", "\"Imp"), "imp/pack.toml: line 2: "),
        (
            error("\"imp\"", "\"pim\""),
            "imp/pack.toml: name: it is \"pim\", but the pack's folder is named \"imp\"",
        ),
        (error("\"imp\"", "\"Imp\""), "imp/pack.toml: name: it is \"Imp\", but must be 1 to 32 of"),
        (error("\"Imp\"", "\" \""), "imp/pack.toml: title: it is empty"),
        (error("Imp", &long(41)), "imp/pack.toml: title: it has 41 characters, at most 40"),
        (error("[\"Pip\"]", "[]"), "imp/pack.toml: names: it has 0 entries, but must have 1 to 256"),
        (error("\"Pip\"", "\"Pip\", 5"), "imp/pack.toml: names[1]: invalid type"),
        (
            error("\"Pip\"", "\"Pip\", \"\\u001b[2J\""),
            "imp/pack.toml: names[1]: it holds the control character U+001B",
        ),
        (error("an imp.", &long(1000)), "imp/pack.toml: persona: it has 1016 characters"),
        (error("[\"Giggle.\"]", &format!("{:?}", vec!["x"; 17])), "imp/pack.toml: speech: it has 17 entries"),
        (error("Giggle.", &long(301)), "imp/pack.toml: speech[0]: it has 301"),
        (error("Fire is warm.", &long(301)), "imp/pack.toml: lore[0]: it has 301"),
        (error("[\"Hee.\"]", "[]"), "imp/pack.toml: overload_lines: it has 0 entries"),
        (error("0.5", "2.5"), "imp/pack.toml: mix.dialogue_style: it is 2.5, but must be from -2 to 2"),
        (error("0.5", "nan"), "imp/pack.toml: mix.dialogue_style: it is NaN"),
        (error("0.5", "\"much\""), "imp/pack.toml: mix.dialogue_style: invalid type: string"),
        (
            error("dialogue_style", "dialog"),
            "imp/pack.toml: mix.dialog: there is no task of that name; the tasks are",
        ),
        (
            error("[mix]", "[versions]\npersonality = \"1\"\n[mix]"),
            "imp/pack.toml: versions.personality: it is \"1\"",
        ),
        (face("blink = 1"), "imp/pack.toml: face.blink: unknown field `blink`"),
        (face("expressivity = 3.0"), "imp/pack.toml: face.expressivity: it is 3, but must be from 0 to 2"),
        (face("tempo = 0.0"), "imp/pack.toml: face.tempo: it is 0, but must be from 0.25 to 2"),
        (face("mouth = nan"), "imp/pack.toml: face.mouth: it is NaN"),
        (face("gaze = -1.0"), "imp/pack.toml: face.gaze: it is -1"),
        (face("blinks_per_minute = 61.0"), "imp/pack.toml: face.blinks_per_minute: it is 61"),
        (face("gains = { AU6 = 2.5 }"), "imp/pack.toml: face.gains.AU6: it is 2.5, but must be from 0 to 2"),
        (
            face("gains = { cheek = 1.0 }"),
            "imp/pack.toml: face.gains.cheek: it must be an action unit such as",
        ),
        (face("gains = { AU12LL = 1.0 }"), "imp/pack.toml: face.gains.AU12LL: it must be an action unit"),
        (face("gains = { AU123 = 1.0 }"), "imp/pack.toml: face.gains.AU123: it must be an action unit"),
        (face("gains = { AU = 1.0 }"), "imp/pack.toml: face.gains.AU: it must be an action unit"),
        (
            face("extra.anger = { AU10 = 1.5 }"),
            "imp/pack.toml: face.extra.anger.AU10: it is 1.5, but must be",
        ),
        (
            face("extra.neutral = { AU10 = 1.0 }"),
            "imp/pack.toml: face.extra.neutral: the neutral face is all",
        ),
        (face("extra.glee = { AU10 = 1.0 }"), "imp/pack.toml: face.extra"),
    ];
    for (error, expected) in cases {
        assert!(error.starts_with(expected), "expected {expected:?}\n     got {error:?}");
    }
}

#[test]
fn folders_without_packs_and_too_large_files_are_errors() {
    assert!(load(&[("notes.txt", "x")]).unwrap_err().contains("it holds no pack"));
    let large = format!("{VALID}# {}", "x".repeat(64 << 10));
    assert!(load(&[("imp/pack.toml", &large)]).unwrap_err().contains("at most 65536 are read"));
    let missing = Packs::load(Some(Path::new("does/not/exist"))).unwrap_err();
    assert!(missing.to_string().starts_with("does/not/exist: "), "{missing}");
}

#[test]
fn tasks_have_one_name_everywhere() {
    for task in Task::ALL {
        assert_eq!(task.name().parse::<Task>(), Ok(task));
        assert_eq!(serde_json::to_string(&task).unwrap(), format!("\"{task}\""));
    }
    assert_eq!(format!("{:>14}", Task::Personality), "   personality");
    assert!("speaking".parse::<Task>().is_err());
}
