//! Checkpoints made into model folders, once each.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use npc_onnx::{FORMAT_VERSION, ImportError, ModelFile, Precision, Progress};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cache::{Cache, Guard};
use super::error::{PullError, io};
use super::progress::Reporter;
use super::unpack;

/// Files of a checkpoint's folder that are looked at; a folder with more is none.
const MAX_FILES: usize = 4096;

/// Which model folder a checkpoint became; a file of `imported/index/`, named after the checkpoint's path.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// The checkpoint's path, for people who clean up.
    source: String,
    /// What the checkpoint's files looked like.
    stamp: String,
    /// The model folder's name.
    folder: String,
}

/// The model folder for `source`: itself if it is one, otherwise the one in the cache, made now if need be.
///
/// A checkpoint that was imported before is known by path, sizes and times, so that a start reads none of its
/// bytes.
///
/// # Errors
/// [`PullError::Model`] if `source` is neither a model folder nor a checkpoint, [`PullError::Import`] if the
/// checkpoint cannot be imported.
pub fn model_folder(
    cache: &Cache,
    source: &Path,
    precision: Precision,
    report: Reporter,
) -> Result<PathBuf, PullError> {
    let source = source.canonicalize().map_err(io(source))?;
    if source.join("model.toml").is_file() {
        return Ok(source);
    }
    let stamp = stamp(&source)?;
    let imported = cache.imported();
    let entry_path = imported.join("index").join(entry_name(&source, precision));
    if let Some(folder) = known(&imported, &entry_path, &stamp) {
        cache.tidy();
        return Ok(folder);
    }
    let guard = cache.lock(report)?;
    if let Some(folder) = known(&imported, &entry_path, &stamp) {
        return Ok(folder);
    }
    let name = match digest_of_file(&source, report)?.map(|digest| folder_name(&digest, precision)) {
        // The same content under another path.
        Some(name) if imported.join(&name).join("model.toml").is_file() => name,
        _ => import_into(&guard, &imported, &source, precision, report)?,
    };
    let entry = Entry { source: source.display().to_string(), stamp, folder: name };
    write_entry(&guard, &entry_path, &entry)?;
    Ok(imported.join(entry.folder))
}

/// [`npc_onnx::import`] with its progress shown.
pub fn import(
    source: &Path,
    out: &Path,
    precision: Precision,
    report: Reporter,
) -> Result<ModelFile, ImportError> {
    let name = source.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut bar = report.steps(&format!("importing {name}"), 1);
    let made = npc_onnx::import(source, out, precision, &mut |Progress { done, total, .. }| {
        bar.of(total as u64);
        bar.at(done as u64);
    })?;
    bar.done();
    Ok(made)
}

/// Imports beside the place and renames; the folder's name says what it was made from.
fn import_into(
    guard: &Guard,
    imported: &Path,
    source: &Path,
    precision: Precision,
    report: Reporter,
) -> Result<String, PullError> {
    let work = guard.work()?;
    let out = work.path().join("model");
    let made = import(source, &out, precision, report)?;
    let name = folder_name(&made.source_sha256, precision);
    guard.place(&out, &imported.join(&name), work.path())?;
    Ok(name)
}

/// The folder that the index names, if it is still the checkpoint of then and the folder is still there.
fn known(imported: &Path, entry: &Path, stamp: &str) -> Option<PathBuf> {
    let entry: Entry = toml::from_str(&fs::read_to_string(entry).ok()?).ok()?;
    let folder = imported.join(&entry.folder);
    (entry.stamp == stamp && folder.join("model.toml").is_file()).then_some(folder)
}

fn write_entry(guard: &Guard, path: &Path, entry: &Entry) -> Result<(), PullError> {
    let text = toml::to_string(entry)
        .map_err(|error| PullError::Model { path: path.to_owned(), reason: error.to_string() })?;
    let work = guard.work()?;
    let new = work.path().join("entry");
    fs::write(&new, text).map_err(io(&new))?;
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(io(folder))?;
    super::cache::sync(&new)?;
    fs::rename(&new, path).map_err(io(path))
}

/// The version is part of it: a later gateway must not be led to a folder of a format that it does not read.
fn entry_name(source: &Path, precision: Precision) -> String {
    folder_name(&hex(source.as_os_str().as_encoded_bytes()), precision) + ".toml"
}

fn folder_name(source_sha256: &str, precision: Precision) -> String {
    format!("{}-{}-v{FORMAT_VERSION}", short(source_sha256), precision_name(precision))
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "fp32",
        Precision::Int8 => "int8",
        Precision::Fp16 => "fp16",
    }
}

/// The first 16 digits: enough to tell the checkpoints of one machine apart.
fn short(hex: &str) -> &str {
    hex.get(..16).unwrap_or(hex)
}

fn hex(bytes: &[u8]) -> String {
    unpack::to_hex(&Sha256::digest(bytes))
}

/// The digest that the import of a GGUF file records; a safetensors folder's is known only after its import.
fn digest_of_file(source: &Path, report: Reporter) -> Result<Option<String>, PullError> {
    if !source.is_file() {
        return Ok(None);
    }
    let bytes = source.metadata().map_err(io(source))?.len();
    let mut bar = report.bytes("checking the checkpoint", bytes);
    let digest = unpack::sha256(source, &mut bar)?;
    bar.done();
    Ok(Some(digest))
}

/// Names, sizes and times of the checkpoint's files, which change when its content does.
fn stamp(source: &Path) -> Result<String, PullError> {
    let no_model = |reason: &str| PullError::Model { path: source.to_owned(), reason: reason.to_owned() };
    let is_weights =
        |path: &Path| path.extension().is_some_and(|kind| kind == "safetensors" || kind == "gguf");
    let mut files = Vec::new();
    if source.is_file() {
        files.push(source.to_owned());
    } else {
        for entry in fs::read_dir(source).map_err(io(source))? {
            let path = entry.map_err(io(source))?.path();
            if is_weights(&path) || path.extension().is_some_and(|kind| kind == "json" || kind == "jinja") {
                files.push(path);
            }
            if files.len() > MAX_FILES {
                return Err(no_model("a folder with that many files is no checkpoint"));
            }
        }
        files.sort();
    }
    if !files.iter().any(|path| is_weights(path)) {
        return Err(no_model(
            "neither a model folder (no model.toml) nor a checkpoint (no .gguf file, no .safetensors in a folder)",
        ));
    }
    let mut all = String::new();
    for path in files {
        let meta = path.metadata().map_err(io(&path))?;
        let time = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        // Writing to a string cannot fail.
        let _ = writeln!(all, "{} {} {:?}", path.display(), meta.len(), time.unwrap_or_default());
    }
    Ok(hex(all.as_bytes()))
}
