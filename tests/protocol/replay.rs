//! A session that was written down is played again by the program, and the same frames come.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::client::Encoding;
use crate::server::TestServer;

const SETS: [&str; 4] =
    ["turn.action_floor=0", "turn.max_tokens=24", "engine.context=512", "turn.tracks_timeout_ms=60000"];
const TRACKS: &str = r#"turn.tracks=["emotion","face","action","social","goal"]"#;

fn replay(log: &Path, sets: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_npc-gateway"));
    // Where there are no packs beside those that are built in.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.arg("replay").arg(log);
    for set in SETS.iter().chain(&[TRACKS]).chain(sets) {
        command.args(["--set", set]);
    }
    command.output().unwrap()
}

/// Talks on a server that writes it down; returns the log.
async fn recorded(server: TestServer, folder: &Path, encoding: Encoding) -> PathBuf {
    let mut client = server.identified(encoding, "mina").await;
    client.ask("npc.join", json!({"npc": "vlad", "archetype": "vampire"})).await;
    let actions =
        json!([{"name": "bow", "description": "Bows."}, {"name": "flee", "description": "Runs away."}]);
    for (turn, text) in ["Who are you?", "I brought you a gift.", "Farewell."].iter().enumerate() {
        let mut say = json!({"npc": "vlad", "turn": format!("t{turn}"), "text": text, "actions": actions});
        if turn == 1 {
            say["generation"] = json!({"seed": 5});
        }
        client.send(&json!({"op": "say", "cid": turn, "d": say})).await;
        let frames = client.until("turn.done").await;
        for op in ["dialogue.delta", "emotion", "face.key", "action.proposed", "social", "goal"] {
            assert!(frames.iter().any(|frame| frame["op"] == op), "{op}: {frames:?}");
        }
    }
    client
        .ask("event", json!({"npc": "vlad", "event": "e", "kind": "gift", "text": "Mina gives him a ring."}))
        .await;
    client.refused("npc.join", json!({"npc": "a b"}), "bad_payload").await;
    client.ask("cancel", json!({"turn": "t1", "heard_offset": 3})).await;
    client.close(1000).await;
    server.shut_down();
    server.ended().await;
    let logs: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [log] = &logs[..] else { panic!("{logs:?}") };
    // Its thread may still write.
    for _ in 0..1000 {
        if std::fs::read_to_string(log).unwrap().contains("turn.cancelled") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    log.clone()
}

fn same(log: &Path, sets: &[&str]) {
    let output = replay(log, sets);
    let told = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.starts_with("the same: "), "{told}{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_script_is_played_again() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let script = data.path().join("script.txt");
    std::fs::write(&script, "A gift? For me! You are too kind, my friend.\nGood night. Sleep well.").unwrap();
    let script = format!("engine.script_file={}", script.display());
    let sets = ["engine.kind=scripted", &script, "engine.script_tokens_per_second=0"];
    let record = format!("session.record={}", folder.path().display());
    let all = [&SETS[..], &sets, &[TRACKS, &record]].concat();
    let log = recorded(TestServer::scripted(&all).await, folder.path(), Encoding::Msgpack).await;
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("resume_token") && text.contains("\"seed\":5"), "{text}");
    same(&log, &sets);

    // What differs is told.
    let lines: Vec<_> = text.lines().collect();
    let write = |name: &str, lines: &[String]| {
        let path = data.path().join(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let mut frame: Value =
        serde_json::from_str(lines.iter().find(|line| line.contains("dialogue.delta")).unwrap()).unwrap();
    let number = frame["n"].as_u64().unwrap() as usize;
    frame["frame"]["d"]["text"] = json!("What?");
    let mut other: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    other[number - 1] = frame.to_string();
    let output = replay(&write("other.jsonl", &other), &sets);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("`dialogue.delta` of turn t0, number 1"), "{error}");
    // So is a log that is not whole.
    other.remove(4);
    let output = replay(&write("gap.jsonl", &other), &sets);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("line 5: it is number 6"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_the_model_is_played_again() {
    let folder = tempfile::tempdir().unwrap();
    let record = format!("session.record={}", folder.path().display());
    // Text that comes later than it is spoken moves the face otherwise.
    let slow = "turn.speech_rate=1";
    let all = [&SETS[..], &[TRACKS, &record, slow]].concat();
    let log = recorded(TestServer::start(&all).await, folder.path(), Encoding::Json).await;
    let model = format!("model.path={}", std::env::var("NPC_GATEWAY_TEST_MODEL").unwrap());
    same(&log, &["engine.rows=16", &model, slow]);
}
