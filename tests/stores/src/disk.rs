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

/// What [`undo`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undone {
    /// Files that were written or synced.
    pub watched: usize,
    /// Bytes that were dropped, because no sync came behind them.
    pub dropped: u64,
}

/// Takes the files of a folder back to where they were last synced, by the logs of a process that is gone.
///
/// # Panics
/// If a file or a log cannot be read or written.
pub fn undo(data: &Path, logs: &Path) -> Undone {
    let mut undone = Undone::default();
    for entry in fs::read_dir(data).expect("the data folder") {
        let path = entry.expect("an entry").path();
        let inode = path.metadata().expect("a file").ino();
        let log = logs.join(inode.to_string());
        let Ok(log) = fs::read(&log) else { continue };
        undone.watched += 1;
        let file = OpenOptions::new().write(true).open(&path).expect("a file of the data folder");
        for (length, offset, before) in records(&log).into_iter().rev() {
            let now = file.metadata().expect("a file").len();
            file.write_all_at(before, offset).expect("what was there");
            file.set_len(length).expect("as long as it was");
            undone.dropped += (before.len() as u64).max(now.saturating_sub(length));
        }
    }
    // The next process begins anew.
    for log in fs::read_dir(logs).expect("the folder of logs") {
        fs::remove_file(log.expect("an entry").path()).expect("a log");
    }
    undone
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_not_synced_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, logs) = (folder.path().join("data"), folder.path().join("logs"));
        for folder in [&data, &logs] {
            fs::create_dir(folder).expect("a folder");
        }
        let file = data.join("file");
        let run = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).arg(&file).env("LD_PRELOAD", library());
            command.env("NPC_UNSYNCED_DATA", &data).env("NPC_UNSYNCED_UNDO", &logs);
            assert!(command.status().expect("a program").success(), "{program} {arguments:?}");
        };
        // What each of them writes lies in the page cache, and they are gone. Open for both, as a database opens files.
        run("sh", &["-c", "printf synced 1<>$0"]);
        run("sync", &[]);
        run("sh", &["-c", "exec 3<>$0; cat <&3; printf ' and lost' >&3; printf ' twice' >&3"]);
        assert_eq!(fs::read_to_string(&file).expect("the file"), "synced and lost twice");
        assert_eq!(undo(&data, &logs), Undone { watched: 1, dropped: 15 });
        assert_eq!(fs::read_to_string(&file).expect("the file"), "synced");
        assert_eq!(undo(&data, &logs), Undone::default());
    }
}
