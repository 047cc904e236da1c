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
    assert_eq!(imp.mix.len(), 7);
    assert_eq!((imp.mix[&Task::DialogueStyle], imp.mix[&Task::Personality]), (0.5, 1.0));
    assert!(imp.adapters.is_empty());
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
    let adapters = &packs.get("imp").unwrap().adapters;
    let versions: Vec<_> = adapters.values().map(|a| (a.id.as_str(), a.task, a.version.as_str())).collect();
    assert_eq!(
        versions,
        [("imp.personality", Task::Personality, "v1"), ("imp.dialogue_style", Task::DialogueStyle, "v10")]
    );
    assert_eq!(adapters[&Task::DialogueStyle].dir, dir.path().join("imp/dialogue_style/v10"));
}

#[test]
fn only_the_adapters_of_a_line_must_fit_together() {
    let tasks = ["dialogue_style", "personality", "action_policy"];
    let all: Vec<_> =
        tasks.iter().flat_map(|task| FILES.map(|file| format!("imp/{task}/v1/{file}"))).collect();
    let mut files: Vec<(&str, &str)> = all.iter().map(|path| (path.as_str(), "x")).collect();
    files.push(("imp/pack.toml", VALID));
    let packs = load(&files).unwrap();
    let bytes = |adapter: &PackAdapter| if adapter.task == Task::Personality { 3 } else { 4 };
    assert_eq!(packs.crowded(bytes, 7).len(), 0);
    let crowded = packs.crowded(bytes, 6);
    assert_eq!(
        crowded.iter().map(|(pack, bytes)| (pack.name.as_str(), *bytes)).collect::<Vec<_>>(),
        [("imp", 7)]
    );
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
