//! What a turn tells besides its line: on one clock with it, and cancelled with it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::{BOTH, Client, Encoding};
use crate::server::TestServer;

/// A script of these lines.
pub fn script(lines: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let setting = format!("engine.script_file={}", file.path().display());
    (file, setting)
}

const ACTIONS: [&str; 3] = ["bow", "draw_sword", "flee"];

fn say(npc: &str, turn: &str) -> Value {
    let actions: Vec<_> = ACTIONS.map(|name| json!({"name": name, "description": "does it"})).into();
    json!({"npc": npc, "turn": turn, "text": "I brought you a gift.", "actions": actions})
}

async fn joined(server: &TestServer, encoding: Encoding, player: &str) -> Client {
    let mut client = server.identified(encoding, player).await;
    client.ask("npc.join", json!({"npc": "lucy", "archetype": "vampire"})).await;
    client
}

/// The frames of a turn by their op, each with its payload.
fn by_op(frames: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut ops: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for frame in frames {
        ops.entry(frame["op"].as_str().unwrap().to_owned()).or_default().push(frame["d"].clone());
    }
    ops
}

#[tokio::test]
async fn a_turn_tells_what_the_npc_feels_and_does() {
    let (_file, lines) = script("A gift? For me! You are too kind. Sit down.");
    let tracks = r#"turn.tracks=["emotion","action"]"#;
    let server = TestServer::scripted(&[&lines, tracks, "turn.action_floor=0"]).await;
    for encoding in BOTH {
        let mut client = joined(&server, encoding, &format!("{encoding:?}")).await;
        client.send(&json!({"op": "say", "d": say("lucy", "t")})).await;
        let frames = client.until("turn.done").await;
        let ops = by_op(&frames);
        let text = ops["turn.done"][0]["text"].as_str().unwrap();
        let chars = text.chars().count() as u64;
        let emotion = &ops["emotion"][0];
        assert_eq!((&emotion["turn"], &emotion["text_offset"]), (&json!("t"), &json!(0)), "{emotion}");
        let probs = emotion["probs"].as_object().unwrap();
        assert_eq!(probs.len(), 8);
        let sum: f64 = probs.values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{emotion}");
        let likeliest = probs.iter().map(|(_, p)| p.as_f64().unwrap()).fold(0.0, f64::max);
        assert_eq!(probs[emotion["label"].as_str().unwrap()].as_f64(), Some(likeliest));
        // What it does, it does behind its first sentence.
        let [action] = &ops["action.proposed"][..] else { panic!("{ops:?}") };
        assert!(ACTIONS.contains(&action["name"].as_str().unwrap()), "{action}");
        assert_eq!((&action["text_offset"], &action["action"]), (&json!(7), &json!("a1")));
        for track in ops["emotion"].iter().chain(&ops["action.proposed"]) {
            assert!(track["text_offset"].as_u64().unwrap() <= chars && track["t_ms"].is_u64(), "{track}");
        }
        // The outcome of what was proposed is recorded.
        let told = client.ask("action.result", json!({"turn": "t", "action": "a1", "ok": true})).await;
        assert_eq!(told["op"], "event.recorded", "{told}");
    }
}

#[tokio::test]
async fn nothing_is_told_that_is_not_wanted() {
    let server = TestServer::scripted(&["turn.tracks=[]", "turn.action_floor=0"]).await;
    let mut client = joined(&server, Encoding::Json, "anna").await;
    client.send(&json!({"op": "say", "d": say("lucy", "t")})).await;
    let ops = by_op(&client.until("turn.done").await);
    assert_eq!(ops.keys().collect::<Vec<_>>(), ["dialogue.delta", "turn.done", "turn.started"]);
}

#[tokio::test]
async fn an_action_that_is_not_likely_is_not_proposed() {
    let server = TestServer::scripted(&[r#"turn.tracks=["action"]"#, "turn.action_floor=0.9"]).await;
    let mut client = joined(&server, Encoding::Json, "anna").await;
    client.send(&json!({"op": "say", "d": say("lucy", "t")})).await;
    assert!(!by_op(&client.until("turn.done").await).contains_key("action.proposed"));
    // One alone is certain.
    let mut one = say("lucy", "t2");
    one["actions"] = json!([{"name": "bow", "description": ""}]);
    client.send(&json!({"op": "say", "d": one})).await;
    let proposed = &by_op(&client.until("turn.done").await)["action.proposed"][0];
    assert_eq!((&proposed["name"], proposed["p"].as_f64()), (&json!("bow"), Some(1.0)));
}

#[tokio::test]
async fn what_was_not_heard_is_not_done() {
    let (_file, lines) =
        script("Come in. Sit down. Have some wine, and tell me where you have been all these years.");
    let tracks = r#"turn.tracks=["action"]"#;
    let server = TestServer::scripted(&[&lines, tracks, "turn.action_floor=0", "turn.speech_rate=10"]).await;
    for (turn, heard, retracted) in [("a", 3, json!(["a1"])), ("b", 8, json!(["a1"])), ("c", 9, json!([]))] {
        let mut client = joined(&server, Encoding::Json, "anna").await;
        client.send(&json!({"op": "say", "d": say("lucy", turn)})).await;
        client.until("action.proposed").await;
        client.send(&json!({"op": "cancel", "d": {"turn": turn, "heard_offset": heard}})).await;
        let frames = client.until("turn.done").await;
        let ops = by_op(&frames);
        let cancelled = &ops["turn.cancelled"][0];
        assert_eq!(cancelled["retracted"], retracted, "{cancelled}");
        assert_eq!(cancelled["valid_through"]["text_offset"], heard);
        assert_eq!(ops["turn.done"][0]["reason"], "cancelled");
        // Nothing of the turn comes behind its cancel but its end.
        let at = frames.iter().position(|frame| frame["op"] == "turn.cancelled").unwrap();
        assert_eq!(frames[at + 1..].iter().map(|frame| &frame["op"]).collect::<Vec<_>>(), ["turn.done"]);
    }
}

fn act(id: &str, tasks: &[&str]) -> Value {
    let actions =
        json!([{"name": "sleep", "description": "Sleeps."}, {"name": "hunt", "description": "Hunts."}]);
    json!({"npc": "lucy", "act": id, "tasks": tasks, "context": "Night falls.", "actions": actions})
}

#[tokio::test]
async fn an_npc_acts_on_its_own_once() {
    let server = TestServer::scripted(&[]).await;
    for encoding in BOTH {
        let mut client = joined(&server, encoding, &format!("{encoding:?}")).await;
        let acted = client.ask("npc.act", act("x", &["action_policy", "emotional_response"])).await;
        assert_eq!((&acted["op"], &acted["d"]["act"]), (&json!("npc.acted"), &json!("x")), "{acted}");
        let results = acted["d"]["results"].as_object().unwrap();
        assert_eq!(results.len(), 2);
        let action = &results["action_policy"];
        assert!(["sleep", "hunt"].contains(&action["choice"].as_str().unwrap()), "{action}");
        let again = client.ask("npc.act", act("x", &["emotional_response"])).await;
        assert_eq!(again["d"], acted["d"], "an id is a key");
        for (wrong, field) in [
            (act("y", &["personality"]), "tasks"),
            (act("y", &["dreams"]), "tasks[0]"),
            (act("y", &[]), "tasks"),
        ] {
            let error = client.refused("npc.act", wrong, "bad_payload").await;
            assert_eq!(error["field"], field);
        }
        let mut nothing = act("y", &["action_policy"]);
        nothing["actions"] = json!([]);
        assert_eq!(client.refused("npc.act", nothing, "bad_payload").await["field"], "actions");
        let mut nobody = act("y", &["action_policy"]);
        nobody["npc"] = json!("nobody");
        client.refused("npc.act", nobody, "unknown_npc").await;
    }
}

#[tokio::test]
async fn who_speaks_in_between_is_answered_at_once() {
    let (_file, lines) =
        script("It was a dark night, and the wolves were out. It was a dark night, and the wolves were out.");
    let sets =
        [&lines, "engine.script_tokens_per_second=4", "npc.barge_in=interrupt", "turn.speech_rate=1000"];
    let server = TestServer::scripted(&sets).await;
    let mut anna = joined(&server, Encoding::Json, "anna").await;
    anna.send(&json!({"op": "say", "d": say("lucy", "first")})).await;
    anna.until("dialogue.delta").await;
    // Somebody else waits.
    let mut ben = joined(&server, Encoding::Json, "ben").await;
    ben.send(&json!({"op": "say", "d": say("lucy", "other")})).await;
    anna.until("dialogue.delta").await;
    anna.send(&json!({"op": "say", "d": say("lucy", "second")})).await;
    let frames = anna.until("turn.done").await;
    let ops = by_op(&frames);
    let (cancelled, done) = (&ops["turn.cancelled"][0], &ops["turn.done"][0]);
    assert_eq!(
        (&cancelled["turn"], &done["turn"], &done["reason"]),
        (&json!("first"), &json!("first"), &json!("cancelled"))
    );
    let kept = done["text"].as_str().unwrap();
    assert_eq!(cancelled["valid_through"]["text_offset"], kept.chars().count());
    assert!("It was a dark night, and the wolves".starts_with(kept), "{kept:?}");
    let frames = ben.until("turn.done").await;
    assert_ne!(frames.last().unwrap()["d"]["reason"], "cancelled", "it is not theirs to cut off");
}

/// A line is there long before it has been spoken: a cancel, or somebody who speaks in between, then comes after its end.
#[tokio::test]
async fn what_is_cut_while_it_is_spoken_is_cut_for_all_who_hear_it() {
    let (_file, lines) =
        script("It was a dark night, and the wolves were out, and nobody dared to go to the well.");
    let tracks = r#"turn.tracks=["face","action"]"#;
    let sets =
        [&lines, "engine.script_tokens_per_second=0", "npc.barge_in=interrupt", "turn.speech_rate=2", tracks];
    let server = TestServer::scripted(&sets).await;
    let mut anna = joined(&server, Encoding::Json, "anna").await;
    let mut ben = joined(&server, Encoding::Msgpack, "ben").await;
    for turn in ["first", "second"] {
        let mut line = say("lucy", turn);
        line["audience"] = json!(["ben"]);
        anna.send(&json!({"op": "say", "d": line})).await;
        if turn == "second" {
            // What the NPC was saying ends before it begins anew.
            let before = anna.until("turn.started").await;
            let ops = by_op(&before);
            let (cancelled, key) = (&ops["turn.cancelled"][0], &ops["face.key"][0]);
            assert_eq!((&cancelled["turn"], &key["turn"]), (&json!("first"), &json!("first")));
            assert_eq!(cancelled["retracted"], json!(["a1"]));
            assert!(cancelled["valid_through"]["text_offset"].as_u64().unwrap() < 60, "{cancelled}");
            assert_eq!(key["t_ms"], cancelled["valid_through"]["t_ms"]);
        }
        anna.until("turn.done").await;
    }
    anna.ask("cancel", json!({"turn": "second", "heard_offset": 2})).await;
    for turn in ["first", "second"] {
        let heard = by_op(&ben.until("turn.cancelled").await);
        assert_eq!(heard["turn.cancelled"][0]["turn"], turn);
        assert_eq!(ben.recv().await["op"], "face.key", "to neutral");
    }
}
