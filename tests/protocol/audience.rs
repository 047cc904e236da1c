//! Turns that others hear.

use serde_json::{Value, json};

use crate::client::{BOTH, Encoding};
use crate::server::TestServer;

fn say(turn: &str, max_tokens: u32, audience: &[&str]) -> Value {
    let generation = json!({"max_tokens": max_tokens, "greedy": true});
    json!({"op": "say", "cid": 1, "d": {"npc": "n", "turn": turn, "text": "Listen!", "generation": generation,
                                        "audience": audience}})
}

/// Frames without what is each session's own.
fn shared(frames: &[Value]) -> Vec<(Value, Value)> {
    frames.iter().map(|frame| (frame["op"].clone(), frame["d"].clone())).collect()
}

#[tokio::test]
async fn players_of_the_audience_who_joined_hear_the_whole_turn() {
    let server = TestServer::start(&[]).await;
    let mut speaker = server.joined(Encoding::Msgpack, "a", "n").await;
    let mut hears = server.joined(Encoding::Json, "b", "n").await;
    let mut hears_too = server.joined(Encoding::Msgpack, "b", "n").await;
    let mut not_named = server.joined(Encoding::Json, "c", "n").await;
    let mut not_there = server.joined(Encoding::Json, "d", "elsewhere").await;

    speaker.send(&say("t", 8, &["a", "b", "d", "nobody"])).await;
    let said = speaker.until("turn.done").await;
    assert_eq!(said[0]["cid"], 1);
    for listener in [&mut hears, &mut hears_too] {
        let heard = listener.until("turn.done").await;
        assert_eq!(shared(&heard), shared(&said));
        assert!(heard.iter().all(|frame| frame.get("cid").is_none()));
    }
    // A repeat is answered to the speaker alone.
    speaker.send(&say("t", 8, &["b"])).await;
    assert_eq!(speaker.recv().await["op"], "turn.done");
    for other in [&mut hears, &mut hears_too, &mut not_named, &mut not_there] {
        other.is_alive().await;
    }
}

#[tokio::test]
async fn without_an_audience_the_speaker_is_alone() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut speaker = server.joined(encoding, "a", "n").await;
        let mut other = server.joined(encoding, "b", "n").await;
        let mut frame = say(&format!("{encoding:?}"), 4, &[]);
        frame["d"].as_object_mut().unwrap().remove("audience");
        speaker.send(&frame).await;
        speaker.until("turn.done").await;
        other.is_alive().await;
    }
}

#[tokio::test]
async fn listeners_hear_a_cancel_and_the_end_when_the_speaker_vanishes() {
    let server = TestServer::start(&["session.resume_window_ms=200"]).await;
    let mut speaker = server.joined(Encoding::Msgpack, "a", "n").await;
    let mut hears = server.joined(Encoding::Json, "b", "n").await;
    let mut leaves = server.joined(Encoding::Json, "c", "n").await;

    speaker.send(&say("t1", 200, &["b", "c"])).await;
    leaves.until("dialogue.delta").await;
    leaves.send(&json!({"op": "npc.leave", "d": {"npc": "n"}})).await;
    leaves.until("npc.left").await;
    leaves.is_alive().await;
    speaker.send(&json!({"op": "cancel", "cid": 2, "d": {"turn": "t1"}})).await;
    assert_eq!(speaker.until("turn.cancelled").await.pop().unwrap()["cid"], 2);
    assert_eq!(hears.until("turn.cancelled").await.pop().unwrap().get("cid"), None);
    assert_eq!(hears.recv().await["d"]["reason"], "cancelled");

    speaker.until("turn.done").await;
    speaker.send(&say("t2", 200, &["b"])).await;
    hears.until("dialogue.delta").await;
    drop(speaker);
    hears.until("turn.cancelled").await;
    let done = hears.recv().await;
    assert_eq!((&done["op"], &done["d"]["reason"]), (&json!("turn.done"), &json!("cancelled")));
    leaves.is_alive().await;
}
