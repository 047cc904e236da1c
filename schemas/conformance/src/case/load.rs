//! Reads case files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{Case, File};
use crate::wire::Encoding;

/// Every case of a folder, in the order of the files' names.
///
/// # Errors
/// A file that cannot be read, a case without proof or steps, two of one name.
pub fn load(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let file = read(&path).with_context(|| path.display().to_string())?;
        cases.extend(file.cases.into_iter().map(|case| Case { file: file.name.clone(), ..case }));
    }
    ensure!(!cases.is_empty(), "{} holds no case", folder.display());
    let names: BTreeSet<String> = cases.iter().map(Case::full_name).collect();
    ensure!(names.len() == cases.len(), "two cases of one file have one name");
    Ok(cases)
}

fn read(path: &Path) -> anyhow::Result<File> {
    let mut file: File = serde_json::from_slice(&fs::read(path)?)?;
    ensure!(!file.chapter.is_empty(), "the file has no chapter");
    for case in &file.cases {
        let name = &case.name;
        ensure!(!case.proves.is_empty(), "{name} proves nothing");
        ensure!(!case.steps.is_empty(), "{name} has no steps");
        for subprotocol in case.subprotocols.iter().flatten() {
            let known = Encoding::ALL.iter().any(|encoding| encoding.name() == subprotocol);
            ensure!(known, "{name}: {subprotocol} is no subprotocol; they are msgpack and json");
        }
    }
    file.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(file)
}
