//! NPCs as files.

use crate::support::{complaint, gateway, refused};

/// An NPC by hand: its line, and the end of the file.
#[test]
fn an_npc_is_restored_and_exported_again() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("lucy.jsonl"));
    let head = concat!(
        r#"{"format":"npc-gateway.npc","version":1,"#,
        r#""npc":{"id":"lucy","archetype":"vampire","name":"Lucy","seed":7,"state":{}}}"#,
        "\n"
    );
    let foot = |digest: &str| format!("{{\"interactions\":0,\"sha256\":\"{digest}\"}}\n");
    // `printf '…\n' | sha256sum` of the first line.
    let digest = "da532deb40fd955f255a2d4c1c8442d08a25924e866c521f0a2670f3c2a8b6d4";
    std::fs::write(&file, format!("{head}{}", foot(digest))).unwrap();
    let on = |words: &[&str]| {
        let mut command = gateway(words);
        command.arg("--data").arg(&data);
        command
    };
    let name = file.to_str().unwrap();
    assert!(refused(on(&["export", "lucy"]), 1).contains("there is no journal"));
    let restored = on(&["restore", name]).output().unwrap();
    assert!(restored.status.success(), "{}", complaint(&restored));
    assert!(refused(on(&["export", "mina"]), 1).contains("there is no npc \"mina\""));
    let exported = on(&["export", "lucy"]).output().unwrap();
    assert_eq!(exported.stdout, std::fs::read(&file).unwrap(), "{}", complaint(&exported));
    // A file is not written over.
    refused(on(&["export", "lucy", "--out", name]), 1);
    std::fs::write(&file, format!("{head}{}", foot("00"))).unwrap();
    assert!(refused(on(&["restore", name]), 1).contains("checksum"));
}
