//! Files that are written from the code and checked in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable that writes them anew.
const UPDATE: &str = "UPDATE_GOLDEN";
const HOW: &str = "if the change is meant, run `UPDATE_GOLDEN=1 cargo test --workspace --lib wire::tests`";

/// The golden frames of one direction, by name.
pub struct Golden {
    folder: &'static str,
    frames: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
}

impl Golden {
    pub fn new(folder: &'static str) -> Self {
        Self { folder, frames: BTreeMap::new() }
    }

    /// Adds the two encodings of a frame.
    pub fn add(&mut self, op: &str, variant: &str, json: &[u8], msgpack: &[u8]) {
        let name = if variant.is_empty() { op.to_owned() } else { format!("{op}~{variant}") };
        let twice = self.frames.insert(name, (json.to_owned(), msgpack.to_owned()));
        assert!(twice.is_none(), "{op}~{variant} is there twice");
    }

    /// Name, JSON and MessagePack.
    pub fn frames(&self) -> impl Iterator<Item = (&str, &[u8], &[u8])> {
        self.frames.iter().map(|(name, (json, msgpack))| (name.as_str(), json.as_slice(), msgpack.as_slice()))
    }

    /// Compares with the files, or writes them.
    pub fn check(&self) {
        let files = self.frames().flat_map(|(name, json, msgpack)| {
            [(format!("{name}.json"), json.to_owned()), (format!("{name}.msgpack"), msgpack.to_owned())]
        });
        check_folder(&schemas().join("golden").join(self.folder), &files.collect());
    }
}

/// The folder `schemas/`.
pub fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// Holds that a folder has exactly these files; writes them if [`UPDATE`] is set.
pub fn check_folder(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let there: BTreeMap<String, Vec<u8>> = match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
            .collect(),
        Err(_) => BTreeMap::new(),
    };
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(folder).unwrap();
        for name in there.keys().filter(|name| !files.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, contents) in files {
            if there.get(name) != Some(contents) {
                fs::write(folder.join(name), contents).unwrap();
            }
        }
        return;
    }
    for (name, contents) in files {
        compare(&folder.join(name), there.get(name), contents);
    }
    for name in there.keys() {
        assert!(files.contains_key(name), "{} belongs to nothing; {HOW}", folder.join(name).display());
    }
}

/// Holds that a file has exactly these contents; writes it if [`UPDATE`] is set.
pub fn check_file(path: &Path, contents: &[u8]) {
    let there = fs::read(path).ok();
    if std::env::var_os(UPDATE).is_none() {
        compare(path, there.as_ref(), contents);
    } else if there.as_deref() != Some(contents) {
        fs::write(path, contents).unwrap();
    }
}

fn compare(path: &Path, there: Option<&Vec<u8>>, contents: &[u8]) {
    match there {
        None => panic!("{} is missing; {HOW}", path.display()),
        Some(there) => assert!(
            there == contents,
            "{} is\n{}\nand should be\n{}\n{HOW}",
            path.display(),
            String::from_utf8_lossy(there),
            String::from_utf8_lossy(contents)
        ),
    }
}
