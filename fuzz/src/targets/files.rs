//! Files that others make: packs, model folders, adapters, checkpoints.

use std::path::PathBuf;
use std::{fs, path::Path};

use npc_gateway::archetype::Packs;
use npc_gateway::engine::Adapter;
use npc_onnx::{AdapterGroup, Checkpoint, GraphInfo, ModelFile, Projection};

use super::MAX_REFUSAL;

/// Calls `read` with a folder in which a file has these bytes, one folder a thread.
fn with_file<T>(name: &str, data: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    with_files(&[(name, data)], read)
}

fn with_files<T>(files: &[(&str, &[u8])], read: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
    }
    FOLDER.with(|folder| {
        // Each kind of file has a folder of its own.
        let folder = folder.path().join(files[0].0.replace('/', "-"));
        for (name, data) in files {
            let path: PathBuf = folder.join(name);
            fs::create_dir_all(path.parent().expect("it was joined")).expect("a folder can be made");
            fs::write(&path, data).expect("a file can be written");
        }
        read(&folder)
    })
}

fn refused(error: impl std::fmt::Display) -> bool {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() <= MAX_REFUSAL, "{} bytes: {text}", text.len());
    false
}

/// `pack.toml`.
pub fn pack(data: &[u8]) -> bool {
    match with_file("vampire/pack.toml", data, |folder| Packs::load(Some(folder))) {
        Ok(packs) => packs.get("vampire").is_some(),
        Err(error) => refused(error),
    }
}

/// `model.toml`.
pub fn model(data: &[u8]) -> bool {
    with_file("model.toml", data, ModelFile::read).map_or_else(refused, |_| true)
}

/// `adapter_config.json`, up to the first NUL, and `adapter_model.safetensors` behind it.
pub fn adapter(data: &[u8]) -> bool {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (config, weights) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let files = [("adapter_config.json", config), ("adapter_model.safetensors", weights)];
    match with_files(&files, |folder| Adapter::load("a", folder, &graph(), 2)) {
        Ok(adapter) => {
            let found =
                adapter.info.targets.iter().all(|target| ["q_proj", "v_proj"].contains(&target.as_str()));
            assert!(found && adapter.info.rank > 0, "{:?}", adapter.info);
            true
        }
        Err(error) => refused(error),
    }
}

fn graph() -> GraphInfo {
    let projection = |name: &str, offset, size| Projection { name: name.to_owned(), offset, size };
    let projections = vec![projection("q_proj", 0, 4), projection("v_proj", 4, 2)];
    GraphInfo { groups: vec![AdapterGroup { name: "qkv".to_owned(), inputs: 4, outputs: 6, projections }] }
}

/// A GGUF file.
pub fn checkpoint(data: &[u8]) -> bool {
    let read = |folder: &Path| {
        let checkpoint = Checkpoint::open(&folder.join("model.gguf"))?;
        checkpoint.tokenizer_json().map(drop)
    };
    with_file("model.gguf", data, read).map_or_else(refused, |()| true)
}
