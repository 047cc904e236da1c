//! `npc.focus`: the prompt is warm when the player speaks.

use serde_json::json;

use crate::client::BOTH;
use crate::server::TestServer;

/// What the first line need not compute after a focus, on NPCs that nobody has spoken with.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_after_a_focus_computes_only_itself() {
    let server = TestServer::start(&[]).await;
    for (i, encoding) in BOTH.into_iter().enumerate() {
        let npc = format!("focused-{i}");
        let mut client = server.identified(encoding, &format!("focuser-{i}")).await;
        // A name of its own makes a persona of its own, from its first sentence on.
        let join = json!({"npc": npc, "archetype": "lich", "name": format!("Ozymandias the {i}th")});
        assert_eq!(client.ask("npc.join", join).await["op"], "npc.joined");
        client.send(&json!({"op": "npc.focus", "cid": 7, "d": {"npc": npc}})).await;
        let warm = client.recv().await;
        assert_eq!(
            (&warm["op"], &warm["cid"], &warm["d"]["npc"]),
            (&"npc.warm".into(), &7.into(), &npc.as_str().into())
        );
        let tokens = warm["d"]["tokens"].as_u64().unwrap();
        assert!(tokens > 40 && warm["d"]["ms"].is_u64(), "{warm}");

        let line = json!({"npc": npc, "turn": "t", "text": "Who are you?", "generation": {"max_tokens": 4}});
        client.send(&json!({"op": "say", "d": line})).await;
        let frames = client.until("turn.done").await;
        let started = &frames[0]["d"];
        assert_eq!(started["cached_tokens"].as_u64(), Some(tokens), "{started}");
        assert!(started["prompt_tokens"].as_u64().unwrap() > tokens);

        // Focused again, what was said since is warm too.
        let again = client.ask("npc.focus", json!({"npc": npc})).await;
        assert!(again["d"]["tokens"].as_u64().unwrap() > tokens + 8, "{again}");
        let line = json!({"npc": npc, "turn": "u", "text": "And I?", "generation": {"max_tokens": 4}});
        client.send(&json!({"op": "say", "d": line})).await;
        let frames = client.until("turn.done").await;
        assert_eq!(frames[0]["d"]["cached_tokens"], again["d"]["tokens"]);
    }
}

#[tokio::test]
async fn a_focus_needs_an_npc_that_was_joined() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.joined(encoding, "a", "focus-here").await;
        for npc in ["focus-nowhere", "never-heard-of"] {
            let error = client.refused("npc.focus", json!({"npc": npc}), "unknown_npc").await;
            assert_eq!((&error["npc"], &error["field"]), (&npc.into(), &"npc".into()));
            assert!(error.get("turn").is_none());
        }
        client.refused("npc.focus", json!({}), "bad_payload").await;
        client.is_alive().await;
    }
}

#[tokio::test]
async fn a_focus_takes_one_of_the_places_for_turns() {
    let server = TestServer::start(&["session.max_turns=1"]).await;
    let mut client = server.joined(BOTH[0], "busy", "focus-busy").await;
    let line = json!({"npc": "focus-busy", "turn": "t", "text": "Hello", "generation": {"max_tokens": 40}});
    client.send(&json!({"op": "say", "d": line})).await;
    client.send(&json!({"op": "npc.focus", "cid": "f", "d": {"npc": "focus-busy"}})).await;
    let frames = client.until("turn.done").await;
    let error = frames.iter().find(|frame| frame["op"] == "error").unwrap();
    assert_eq!((&error["cid"], &error["d"]["code"]), (&json!("f"), &json!("overloaded")), "{error}");
    assert_eq!(error["d"]["limit"], 1);
    assert_eq!(client.ask("npc.focus", json!({"npc": "focus-busy"})).await["op"], "npc.warm");
}
