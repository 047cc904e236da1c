//! Every error code that has a cause in this version.

use serde_json::{Value, json};

use crate::client::{BOTH, Encoding};
use crate::server::TestServer;

fn say(npc: &str, turn: &str) -> Value {
    json!({"npc": npc, "turn": turn, "text": "Good evening.", "generation": {"max_tokens": 4}})
}

fn with(mut d: Value, key: &str, value: Value) -> Value {
    d[key] = value;
    d
}

#[tokio::test]
async fn unknown_op() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        for op in ["", "sing", "SAY", "hello", "ready", "turn.done", "heartbeat_ack"] {
            client.refused(op, json!({}), "unknown_op").await;
        }
        client.is_alive().await;
    }
}

#[tokio::test]
async fn bad_payload_names_the_field_and_the_limit() {
    let server = TestServer::start(&["session.max_actions=1"]).await;
    let action = json!({"name": "bow", "description": "bows"});
    let npc = || say("n", "t");
    let cases = [
        ("npc.join", json!({"npc": "a b"}), "npc", Value::Null),
        ("npc.join", json!({"npc": "x".repeat(65)}), "npc", json!(64)),
        ("npc.join", json!({"npc": "n", "archetype": "Vampire"}), "archetype", Value::Null),
        ("npc.join", json!({"npc": "n", "archetype": "x".repeat(33)}), "archetype", json!(32)),
        ("npc.join", json!({"npc": "n", "name": "x".repeat(65)}), "name", json!(64)),
        ("npc.join", json!({"npc": "n", "name": "a\tb"}), "name", Value::Null),
        ("npc.join", json!({"npc": "n", "seed": -1}), "seed", Value::Null),
        ("npc.join", json!({"npc": "n", "seed": 1.5}), "seed", Value::Null),
        ("npc.join", json!({"npc": "n", "personality": {"calm": 2}}), "personality.calm", json!(1.0)),
        (
            "npc.join",
            json!({"npc": "n", "personality": {"neo_calm": 0.5}}),
            "personality.neo_calm",
            Value::Null,
        ),
        // It exists, and is otherwise.
        ("npc.join", json!({"npc": "n", "archetype": "ghoul"}), "archetype", Value::Null),
        ("npc.join", json!({"npc": "n", "name": "Somebody Else"}), "name", Value::Null),
        ("npc.leave", json!({}), "npc", Value::Null),
        ("say", json!({"npc": "n", "turn": "t"}), "text", Value::Null),
        ("say", with(npc(), "turn", json!("")), "turn", json!(1)),
        ("say", with(npc(), "turn", json!("x".repeat(65))), "turn", json!(64)),
        ("say", with(npc(), "text", json!(["hi"])), "text", Value::Null),
        ("say", with(npc(), "generation", json!({"temperature": 2.5})), "generation.temperature", json!(2.0)),
        ("say", with(npc(), "generation", json!({"max_tokens": 0})), "generation.max_tokens", json!(1)),
        ("say", with(npc(), "generation", json!({"max_tokens": 2.0})), "generation.max_tokens", Value::Null),
        ("say", with(npc(), "generation", json!({"seed": -5})), "generation.seed", Value::Null),
        ("say", with(npc(), "generation", json!({"greedy": "yes"})), "generation.greedy", Value::Null),
        ("say", with(npc(), "mix", json!({"dialogue_style": -2.5})), "mix.dialogue_style", json!(-2.0)),
        ("say", with(npc(), "mix", json!({"juggling": 1})), "mix.juggling", Value::Null),
        ("say", with(npc(), "actions", json!([action, action])), "actions", json!(1)),
        ("say", with(npc(), "actions", json!([{"name": "bow"}])), "actions[0].description", Value::Null),
        ("say", with(npc(), "audience", json!([""])), "audience[0]", json!(1)),
        ("say", with(npc(), "audience", json!(vec!["p"; 65])), "audience", json!(64)),
        ("cancel", json!({"turn": "t", "heard_offset": -1}), "heard_offset", Value::Null),
        ("playback", json!({"turn": "t", "heard_offset": 0.5}), "heard_offset", Value::Null),
        ("heartbeat", json!({}), "seq", Value::Null),
        ("say", json!("text"), "d", Value::Null),
    ];
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "n").await;
        for (op, d, field, limit) in &cases {
            let error = client.refused(op, d.clone(), "bad_payload").await;
            assert_eq!(error["field"], *field, "{op} {d}");
            assert_eq!(error["limit"], *limit, "{op} {d}");
            assert_eq!(error["temporary"], false);
        }
        // A mark that is none cannot come back.
        client.send(&json!({"op": "heartbeat", "cid": [1], "d": {"seq": 0}})).await;
        let error = client.recv().await;
        assert_eq!((&error["d"]["code"], &error["d"]["field"]), (&json!("bad_payload"), &json!("cid")));
        assert_eq!(error.get("cid"), None);
        client.is_alive().await;
    }
}

#[tokio::test]
async fn weights_that_are_no_numbers_are_bad_payload() {
    use tokio_tungstenite::tungstenite::Message;
    let server = TestServer::start(&[]).await;
    let mut client = server.joined(Encoding::Msgpack, "a", "n").await;
    for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut frame = rmpv::ext::to_value(json!({"op": "say", "d": say("n", "t")})).unwrap();
        let rmpv::Value::Map(entries) = &mut frame else { unreachable!() };
        let d = entries.iter_mut().find(|(key, _)| key.as_str() == Some("d")).unwrap();
        let rmpv::Value::Map(d) = &mut d.1 else { unreachable!() };
        d.push(("mix".into(), rmpv::Value::Map(vec![("personality".into(), weight.into())])));
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &frame).unwrap();
        client.send_message(Message::binary(bytes)).await;
        let error = client.recv().await;
        assert_eq!(error["d"]["field"], "mix.personality", "{error}");
    }
}

#[tokio::test]
async fn unknown_npc_and_unknown_archetype() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let npc = format!("n-{encoding:?}");
        let mut client = server.identified(encoding, "a").await;
        client.refused("npc.join", json!({"npc": npc}), "unknown_npc").await;
        client.refused("npc.leave", json!({"npc": npc}), "unknown_npc").await;
        let error = client.refused("say", say(&npc, "t"), "unknown_npc").await;
        assert_eq!((&error["npc"], &error["turn"]), (&json!(npc), &json!("t")));
        client.refused("npc.join", json!({"npc": npc, "archetype": "dentist"}), "unknown_archetype").await;
        // Somebody else's NPC has to be joined as well.
        let _other = server.joined(encoding, "b", &npc).await;
        client.refused("say", say(&npc, "t"), "unknown_npc").await;
        assert_eq!(client.ask("npc.join", json!({"npc": npc})).await["op"], "npc.joined");
        assert_eq!(client.ask("npc.leave", json!({"npc": npc})).await["op"], "npc.left");
        client.refused("npc.leave", json!({"npc": npc}), "unknown_npc").await;
    }
}

#[tokio::test]
async fn unknown_turn() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        let error = client.refused("cancel", json!({"turn": "t"}), "unknown_turn").await;
        assert_eq!(error["turn"], "t");
        client.refused("playback", json!({"turn": "t", "heard_offset": 1}), "unknown_turn").await;
    }
}

#[tokio::test]
async fn text_too_long_counts_characters() {
    let server = TestServer::start(&["session.max_text_chars=20", "session.max_context_chars=5"]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "n").await;
        for (field, limit) in [("text", 20), ("context", 5)] {
            let d = with(say("n", "t"), field, json!("🦇".repeat(limit + 1)));
            let error = client.refused("say", d, "text_too_long").await;
            assert_eq!((&error["field"], &error["limit"]), (&json!(field), &json!(limit)));
            assert_eq!((&error["npc"], &error["turn"]), (&json!("n"), &json!("t")));
        }
    }
}

#[tokio::test]
async fn a_line_that_the_model_cannot_hold_is_too_long() {
    let server = TestServer::start(&["session.max_text_chars=8000", "session.max_frame_bytes=65536"]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    let d = with(say("n", "t"), "text", json!("word ".repeat(1500)));
    let error = client.refused("say", d, "text_too_long").await;
    assert!(error["limit"].is_u64(), "{error}");
    // The id is free again.
    client.send(&json!({"op": "say", "d": say("n", "t")})).await;
    assert_eq!(client.until("turn.done").await.last().unwrap()["d"]["turn"], "t");
}

#[tokio::test]
async fn too_many_npcs() {
    let server = TestServer::start(&["session.max_npcs=2"]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        for npc in ["1", "2", "1"] {
            let joined = client.ask("npc.join", json!({"npc": npc, "archetype": "zombie"})).await;
            assert_eq!(joined["op"], "npc.joined");
        }
        let error =
            client.refused("npc.join", json!({"npc": "3", "archetype": "zombie"}), "too_many_npcs").await;
        assert_eq!(error["limit"], 2);
        client.ask("npc.leave", json!({"npc": "2"})).await;
        assert_eq!(
            client.ask("npc.join", json!({"npc": "3", "archetype": "zombie"})).await["op"],
            "npc.joined"
        );
    }
}

#[tokio::test]
async fn overloaded_when_the_turns_of_a_session_are_taken() {
    let server = TestServer::start(&["session.max_turns=2"]).await;
    let mut client = server.joined(Encoding::Msgpack, "a", "n").await;
    // The first is long, and the second waits for it.
    for turn in ["1", "2", "3"] {
        let d = with(say("n", turn), "generation", json!({"max_tokens": 60}));
        client.send(&json!({"op": "say", "cid": turn, "d": d})).await;
    }
    let mut refused = Value::Null;
    let mut done = 0;
    while done < 2 || refused.is_null() {
        let frame = client.recv().await;
        match frame["op"].as_str().unwrap() {
            "error" => refused = frame,
            "turn.done" => done += 1,
            _ => assert_ne!(frame["d"]["turn"], "3"),
        }
    }
    assert_eq!((&refused["cid"], &refused["d"]["code"]), (&json!("3"), &json!("overloaded")));
    assert_eq!((&refused["d"]["limit"], &refused["d"]["temporary"]), (&json!(2), &json!(true)));
    assert!(refused["d"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    // As advised, again.
    client.send(&json!({"op": "say", "d": say("n", "3")})).await;
    client.until("turn.done").await;
}

#[tokio::test]
async fn overloaded_when_an_npc_has_no_room_for_lines() {
    let server = TestServer::start(&["npc.mailbox=1", "npc.on_overload=error"]).await;
    let mut client = server.joined(Encoding::Json, "a", "n").await;
    for turn in ["1", "2"] {
        let d = with(say("n", turn), "generation", json!({"max_tokens": 60}));
        client.send(&json!({"op": "say", "cid": turn, "d": d})).await;
    }
    let mut frames = Vec::new();
    while !(frames.iter().any(|f: &Value| f["op"] == "error")
        && frames.iter().any(|f| f["op"] == "turn.done"))
    {
        frames.push(client.recv().await);
    }
    let error = frames.iter().find(|frame| frame["op"] == "error").unwrap();
    assert_eq!((&error["cid"], &error["d"]["code"]), (&json!("2"), &json!("overloaded")), "{error}");
    assert_eq!((&error["d"]["turn"], &error["d"]["temporary"]), (&json!("2"), &json!(true)));
    assert!(error["d"]["retry_after_ms"].is_u64(), "{error}");
}
