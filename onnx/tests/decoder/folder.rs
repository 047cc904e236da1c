//! The folder: whole or absent, described by `model.toml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use npc_onnx::{FORMAT_VERSION, ImportError, ModelFile, Precision, Progress, import};

use crate::support::tiny::Tiny;

/// Set for the process that is to die half-way: the checkpoint and the target.
const DOOMED: &str = "NPC_ONNX_TEST_DOOMED_IMPORT";

fn checkpoint(parent: &Path) -> PathBuf {
    let tiny = Tiny::new("qwen2");
    tiny.write(&parent.join("checkpoint"), &tiny.tensors(4))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_import_makes_a_whole_folder() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path());
    let out = dir.path().join("models/tiny");
    let mut steps: Vec<(String, usize, usize)> = Vec::new();
    let mut note = |p: Progress| steps.push((p.what.to_owned(), p.done, p.total));
    let file = import(&source, &out, Precision::Int8, &mut note).unwrap();

    let files = [
        "chat_template.jinja",
        "decoder.onnx",
        "model.toml",
        "native.bin",
        "native.onnx",
        "tokenizer.json",
        "weights.bin",
    ];
    assert_eq!(names(&out), files);
    assert_eq!(names(&dir.path().join("models")), ["tiny"]);
    assert_eq!(ModelFile::read(&out).unwrap(), file);
    assert_eq!(file.format, FORMAT_VERSION);
    assert_eq!((file.source_file.as_str(), file.precision), ("checkpoint", Precision::Int8));
    let qkv = &file.graph.groups[0];
    assert_eq!((qkv.name.as_str(), qkv.inputs, qkv.outputs), ("qkv", 64, 128));
    let places: Vec<_> = qkv.projections.iter().map(|p| (p.name.as_str(), p.offset, p.size)).collect();
    assert_eq!(places, [("q_proj", 0, 64), ("k_proj", 64, 32), ("v_proj", 96, 32)]);

    // The embedding, the output layer and four linear layers for each of three layers.
    let (_, done, total) = steps.last().unwrap();
    assert_eq!((*done, *total), (14, 14));
    assert!(steps.is_sorted_by_key(|(_, done, _)| *done));
    assert!(steps.iter().any(|(what, _, _)| what == "model.layers.2.mlp.up_proj.weight"));
}

#[test]
fn an_existing_folder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path());
    let out = dir.path().join("precious");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    let error = import(&source, &out, Precision::Fp32, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(names(&out), ["notes.txt"]);
    assert_eq!(names(dir.path()), ["checkpoint", "precious"]);
}

#[test]
fn a_failed_import_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = Tiny::new("llama");
    let mut tensors = tiny.tensors(4);
    tensors.get_mut("model.layers.2.mlp.down_proj.weight").unwrap().1[7] = f32::NAN;
    let source = tiny.write(&dir.path().join("checkpoint"), &tensors);
    let error = import(&source, &dir.path().join("out"), Precision::Int8, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("model.layers.2.mlp.down_proj.weight holds NaN"), "{error}");
    assert_eq!(names(dir.path()), ["checkpoint"]);
}

#[test]
fn sizes_that_blocks_do_not_fit_are_refused_in_int8_only() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = Tiny { inner: 72, ..Tiny::new("llama") };
    let source = tiny.write(&dir.path().join("checkpoint"), &tiny.tensors(4));
    let error = import(&source, &dir.path().join("int8"), Precision::Int8, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, ImportError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("multiple of 32"), "{error}");
    import(&source, &dir.path().join("fp32"), Precision::Fp32, &mut |_| {}).unwrap();
}

#[test]
fn heads_that_the_attention_operator_refuses_are_refused_at_import() {
    let dir = tempfile::tempdir().unwrap();
    let tiny = Tiny { head_dim: 8, ..Tiny::new("qwen3") };
    let source = tiny.write(&dir.path().join("checkpoint"), &tiny.tensors(4));
    let error = import(&source, &dir.path().join("out"), Precision::Fp32, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("head size of 8, and"), "{error}");
    assert_eq!(names(dir.path()), ["checkpoint"]);
}

/// Kills a process in the middle of an import and looks at what it left.
#[test]
fn a_killed_import_leaves_no_folder_and_the_next_one_tidies_up() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path());
    let out = dir.path().join("out");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "folder::the_doomed_import", "--nocapture"])
        .env(DOOMED, dir.path())
        .status()
        .unwrap();
    assert!(!status.success(), "the import was to die: {status}");
    assert!(!out.exists());
    let left = names(dir.path());
    assert!(left.iter().any(|name| name.starts_with(".out.importing-")), "{left:?}");

    import(&source, &out, Precision::Fp32, &mut |_| {}).unwrap();
    assert_eq!(names(dir.path()), ["checkpoint", "out"]);
}

/// Does nothing, except in the process that the test above starts.
#[test]
fn the_doomed_import() {
    let Some(dir) = std::env::var_os(DOOMED).map(PathBuf::from) else { return };
    let mut die = |progress: Progress| {
        if progress.done == 6 {
            std::process::abort();
        }
    };
    let _ = import(&dir.join("checkpoint"), &dir.join("out"), Precision::Fp32, &mut die);
}

#[test]
fn only_one_import_to_a_target_runs() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path());
    let out = dir.path().join("out");
    let mut second = None;
    let mut start_another = |progress: Progress| {
        if progress.done == 3 && second.is_none() {
            second = Some(import(&source, &out, Precision::Fp32, &mut |_| {}));
        }
    };
    import(&source, &out, Precision::Fp32, &mut start_another).unwrap();
    let error = second.expect("the second import was tried").unwrap_err();
    assert!(error.to_string().contains("being imported"), "{error}");
    assert_eq!(names(dir.path()), ["checkpoint", "out"]);
}

/// Each change of a sound `model.toml`, and what the error must say.
#[test]
fn a_malformed_model_toml_is_refused_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path());
    let out = dir.path().join("out");
    import(&source, &out, Precision::Fp32, &mut |_| {}).unwrap();
    let sound = fs::read_to_string(out.join("model.toml")).unwrap();
    let format = format!("format = {FORMAT_VERSION}");
    let another = format!("format: is 1, and this version reads {FORMAT_VERSION}");
    let cases = [
        (&*format, "format = 1", &*another),
        (&*format, "", "format: is missing"),
        (&*format, "format = \"one\"", "format: invalid type"),
        ("precision = \"fp32\"", "precision = \"int4\"", "precision: unknown variant `int4`"),
        ("source_file = \"checkpoint\"", "source_file = \"\"", "source_file: has 0 bytes"),
        ("layers = 3\n", "", "model: missing field `layers`"),
        ("layers = 3\n", "layers = -3\n", "model.layers: invalid value"),
        ("layers = 3\n", "layers = 0\n", "model.layers: is 0"),
        ("layers = 3\n", "layers = 1025\n", "model.layers: is 1025, and must be 1 to 1024"),
        ("kv_heads = 2\n", "kv_heads = 3\n", "model.kv_heads: is 3, which does not divide the 4 heads"),
        ("inputs = 160", "inputs = 161", "graph.groups[3].inputs: is 161, and the model's sizes make it 160"),
        ("name = \"gate_up\"", "name = \"gates\"", "graph.groups[2].name: is \"gates\""),
        ("offset = 96", "offset = 97", "graph.groups[0].projections: must be, in this order, q_proj at 0"),
        (
            "eos_tokens = [2]",
            "eos_tokens = [96]",
            "model.eos_tokens: holds 96, and the vocabulary ends at 95",
        ),
        ("name = \"o\"", "name = \"o\"\nextra = 1", "graph.groups[1].extra: unknown field `extra`"),
        ("[model]", "[model", "TOML parse error at line"),
    ];
    for (from, to, expected) in cases {
        let broken = sound.replacen(from, to, 1);
        assert_ne!(broken, sound, "{from:?} is not in:\n{sound}");
        fs::write(out.join("model.toml"), broken).unwrap();
        let error = ModelFile::read(&out).unwrap_err();
        assert!(matches!(error, ImportError::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{from:?} → {to:?}: {error}");
    }
    fs::remove_file(out.join("model.toml")).unwrap();
    let error = ModelFile::read(&out).unwrap_err();
    assert!(error.to_string().contains("model.toml"), "{error}");
}
