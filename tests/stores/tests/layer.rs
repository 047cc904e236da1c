//! The layer itself: what was synced stays, what was not goes.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

/// Runs in the process that is preloaded.
fn change(folder: &Path) {
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(folder.join("file")).unwrap();
    file.write_all(b"synced beginning, synced end").unwrap();
    file.sync_data().unwrap();
    file.write_all(b", more").unwrap();
    file.write_all_at(b"CHANGED", 0).unwrap();
    file.set_len(10).unwrap();
    file.seek(SeekFrom::Start(8)).unwrap();
    file.write_all(b"again").unwrap();
    // Files elsewhere are nobody's business.
    File::create(folder.parent().unwrap().join("elsewhere")).unwrap().write_all(b"stays").unwrap();
    // As a kill would: nothing is flushed or closed.
    std::process::abort();
}

#[test]
fn what_was_not_synced_goes() {
    if let Ok(folder) = std::env::var("NPC_UNSYNCED_DATA") {
        change(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, undo) = (folder.path().join("data"), folder.path().join("undo"));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&undo).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_not_synced_goes"])
        .env("LD_PRELOAD", npc_stores::disk::library())
        .env("NPC_UNSYNCED_DATA", &data)
        .env("NPC_UNSYNCED_UNDO", &undo)
        .output()
        .unwrap();
    assert!(!status.status.success());
    let file = data.join("file");
    let before = std::fs::read(&file).unwrap();
    assert!(before.starts_with(b"CHANGED"), "{}", String::from_utf8_lossy(&before));
    let log = std::fs::read(undo.join(file.metadata().unwrap().ino().to_string())).unwrap();
    assert!(!log.is_empty());
    npc_stores::disk::undo(&data, &undo);
    assert_eq!(std::fs::read(&file).unwrap(), b"synced beginning, synced end");
    assert_eq!(std::fs::read(folder.path().join("elsewhere")).unwrap(), b"stays");
}
