//! A disk that loses what was not synced; see `examples/unsynced.rs`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is to be preloaded. It lies beside the folder of the tests, for it is built with them.
///
/// # Panics
/// If it is not there.
pub fn library() -> PathBuf {
    let tests = std::env::current_exe().expect("a test has a file");
    let path = tests.ancestors().nth(2).expect("a folder of builds").join("examples/libunsynced.so");
    assert!(path.exists(), "{} is missing: run the tests with `cargo xtask test`", path.display());
    path
}

/// Takes the files of a folder back to where they were last synced, by the logs of a process that is gone. Returns the
/// bytes that were dropped.
///
/// # Panics
/// If a file or a log cannot be read or written.
pub fn undo(data: &Path, logs: &Path) -> u64 {
    let mut dropped = 0;
    for entry in fs::read_dir(data).expect("the data folder") {
        let path = entry.expect("an entry").path();
        let inode = path.metadata().expect("a file").ino();
        let log = logs.join(inode.to_string());
        let Ok(log) = fs::read(&log) else { continue };
        let file = OpenOptions::new().write(true).open(&path).expect("a file of the data folder");
        for (length, offset, before) in records(&log).into_iter().rev() {
            let now = file.metadata().expect("a file").len();
            file.write_all_at(before, offset).expect("what was there");
            file.set_len(length).expect("as long as it was");
            dropped += (before.len() as u64).max(now.saturating_sub(length));
        }
    }
    // The next process begins anew.
    for log in fs::read_dir(logs).expect("the folder of logs") {
        fs::remove_file(log.expect("an entry").path()).expect("a log");
    }
    dropped
}

/// The file's length, the offset and the bytes of each change. What was not written whole was not done.
fn records(mut log: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut records = Vec::new();
    while let Some((header, rest)) = log.split_first_chunk::<24>() {
        let [length, offset, bytes] =
            [0, 8, 16].map(|at| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes")));
        let Some((before, rest)) = rest.split_at_checked(bytes as usize) else { break };
        records.push((length, offset, before));
        log = rest;
    }
    records
}
