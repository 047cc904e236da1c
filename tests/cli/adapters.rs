//! Adapters and their versions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::{complaint, gateway, needed, refused, started};

#[test]
fn adapters_are_listed_and_checked() {
    let packs = concat!(env!("CARGO_MANIFEST_DIR"), "/adapters");
    let output = gateway(&["adapters", "list", "--packs", packs]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for archetype in ["vampire", "werewolf", "zombie", "ghoul", "lich"] {
        assert!(list.lines().any(|line| line.starts_with(archetype)), "{archetype}: {list}");
    }
    let empty = tempfile::tempdir().unwrap();
    let model = needed("NPC_GATEWAY_TEST_MODEL");
    let mut check = gateway(&["adapters", "check"]);
    check.arg(empty.path()).arg("--model").arg(model);
    let said = refused(check, 1);
    assert!(said.contains("adapter_config.json"), "{said}");
}

/// A pack `imp` with two versions of one adapter, below a folder `adapters`.
fn imp(place: &std::path::Path) {
    use safetensors::tensor::{Dtype, TensorView};
    let pack = place.join("adapters/imp");
    for (version, number) in [("v1", 0.01_f32), ("v2", 0.02)] {
        let dir = pack.join("personality").join(version);
        std::fs::create_dir_all(&dir).unwrap();
        let config = r#"{"peft_type":"LORA","r":1,"lora_alpha":1}"#;
        std::fs::write(dir.join("adapter_config.json"), config).unwrap();
        let numbers = number.to_le_bytes().repeat(576);
        let name = |f| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{f}.weight");
        let view = |shape| TensorView::new(Dtype::F32, shape, &numbers).unwrap();
        let tensors = [(name("A"), view(vec![1, 576])), (name("B"), view(vec![576, 1]))];
        safetensors::serialize_to_file(tensors, None, &dir.join("adapter_model.safetensors")).unwrap();
    }
    let text = "name = \"imp\"\ntitle = \"Imp\"\nnames = [\"Pip\"]\npersona = \"You are {name}.\"\noverload_lines = [\"Hee.\"]\n";
    std::fs::write(pack.join("pack.toml"), text).unwrap();
}

#[test]
fn a_version_is_promoted_and_taken_back_and_remembered() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    imp(place.path());
    let serve = || {
        let mut command = gateway(&["serve", "--listen", "127.0.0.1:0", "--data", "data", "--model"]);
        command.arg(needed("NPC_GATEWAY_TEST_MODEL")).env("ORT_DYLIB_PATH", needed("ORT_DYLIB_PATH"));
        // Where it stands there is a folder of packs, which no setting names.
        started(command.current_dir(place.path()).stderr(Stdio::null()))
    };
    let server = serve();
    let url = format!("http://{}", server.address);
    let adapters = |words: &[&str]| gateway(&[&["adapters"], words, &["--url", &url]].concat());
    let says = |words: &[&str]| {
        let output = adapters(words).output().unwrap();
        assert!(output.status.success(), "{}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(says(&["promote", "imp.personality", "v1"]), "imp.personality uses v1\n");
    let tried = says(&["promote", "imp.personality", "v2", "--share", "0.25"]);
    assert_eq!(tried, "imp.personality uses v1, and v2 for 0.25 of the NPCs\n");
    assert_eq!(says(&["rollback", "imp.personality"]), "imp.personality uses v1\n");
    assert_eq!(says(&["rollback", "imp.personality"]), "imp.personality uses v2\n");
    assert!(
        refused(adapters(&["rollback", "imp.personality"]), 1).contains("has no version before this one")
    );
    let said = refused(adapters(&["promote", "imp.personality", "v9"]), 2);
    assert!(said.contains("has no version v9 that is complete; it has: v1, v2"), "{said}");
    for (words, wanted) in [
        (
            &["promote", "imp.singing", "v1"][..],
            "\"imp.singing\" is no adapter such as vampire.dialogue_style",
        ),
        (&["promote", "imp.personality", "2"][..], "\"2\" is no version such as v2"),
        (&["promote", "imp.personality", "v2", "--share", "2"][..], "--share is 2, but must be from 0 to 1"),
    ] {
        let said = refused(adapters(words), 2);
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(says(&["promote", "imp.personality", "v1"]), "imp.personality uses v1\n");
    drop(server);
    let said = refused(adapters(&["rollback", "imp.personality"]), 1);
    assert!(said.contains("is `npc-gateway serve` running there?"), "{said}");
    // Killed, it goes on with what was promoted.
    let server = serve();
    let mut socket = TcpStream::connect(&server.address).unwrap();
    write!(socket, "GET /api/v1/archetypes/imp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let chain: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(chain["tasks"]["personality"]["version"], "v1", "{chain}");
}

/// With less memory than the files claim to have: what is refused was not read.
#[test]
fn adapters_that_claim_to_be_huge_are_refused_in_little_memory() {
    const TEN_GB: u64 = 10 << 30;
    let place = tempfile::tempdir().unwrap();
    let model = needed("NPC_GATEWAY_TEST_MODEL");
    let check = || {
        let command = format!(
            "ulimit -v 1048576; exec {} adapters check {} --model {}",
            env!("CARGO_BIN_EXE_npc-gateway"),
            place.path().display(),
            model.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdin(Stdio::null());
        refused(shell, 1)
    };
    let config = r#"{"peft_type":"LORA","r":4,"lora_alpha":8}"#;
    std::fs::write(place.path().join("adapter_config.json"), config).unwrap();
    let weights = place.path().join("adapter_model.safetensors");
    let header = format!(
        r#"{{"layers.0.self_attn.q_proj.lora_A.weight":{{"dtype":"F32","shape":[4,671088640],"data_offsets":[0,{TEN_GB}]}}}}"#
    );
    let length = (header.len() as u64).to_le_bytes();
    for bytes in [[&TEN_GB.to_le_bytes()[..], b"{}"].concat(), [&length[..], header.as_bytes()].concat()] {
        std::fs::write(&weights, bytes).unwrap();
        let said = check();
        assert!(said.contains("adapter_model.safetensors is damaged"), "{said}");
    }
    std::fs::File::create(&weights).unwrap().set_len(TEN_GB).unwrap();
    let said = check();
    assert!(said.contains("has 10737418240 bytes; at most "), "{said}");
    std::fs::remove_file(&weights).unwrap();
    std::fs::write(place.path().join("adapter_model.bin"), "x").unwrap();
    let said = check();
    assert!(said.contains("adapter_model.bin is a pickle"), "{said}");
}
