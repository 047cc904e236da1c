//! Who may do what: the scopes, and that nobody reaches another player's session or turn, whatever id they name.

use serde_json::{Value, json};

use crate::client::{BOTH, Client, Encoding};
use crate::server::TestServer;
use crate::tokens::Issuer;

fn say(npc: &str, turn: &str) -> Value {
    json!({"npc": npc, "turn": turn, "text": "Good evening.", "generation": {"max_tokens": 4}})
}

fn with(mut d: Value, key: &str, value: Value) -> Value {
    d[key] = value;
    d
}

async fn open(server: &TestServer, encoding: Encoding, issuer: &Issuer, player: &str, scope: &str) -> Client {
    let mut client = server.connect(encoding).await;
    let ready = client.identify(&issuer.token(player, scope)).await;
    assert_eq!(ready["op"], "ready", "{ready}");
    client.ready = ready;
    client
}

/// A player and an NPC that a director has made.
async fn meet(server: &TestServer, encoding: Encoding, issuer: &Issuer, player: &str, npc: &str) -> Client {
    let mut director = open(server, encoding, issuer, "director", "director").await;
    let joined =
        director.ask("npc.join", json!({"npc": npc, "archetype": "vampire", "name": "Carmilla"})).await;
    assert_eq!(joined["op"], "npc.joined", "{joined}");
    let mut client = open(server, encoding, issuer, player, "play").await;
    let joined = client.ask("npc.join", json!({"npc": npc})).await;
    assert_eq!(joined["op"], "npc.joined", "{joined}");
    client
}

#[tokio::test]
async fn play_speaks_with_npcs_that_exist() {
    let issuer = Issuer::new();
    for encoding in BOTH {
        let server = issuer.server(&[]).await;
        let mut player = meet(&server, encoding, &issuer, "mina", "n").await;
        // The definition that it has is no new one.
        let joined =
            player.ask("npc.join", json!({"npc": "n", "archetype": "vampire", "name": "Carmilla"})).await;
        assert_eq!(joined["op"], "npc.joined", "{joined}");
        for (key, value) in [("archetype", json!("ghoul")), ("name", json!("Lucy")), ("seed", json!(5))] {
            let error =
                player.refused("npc.join", with(json!({"npc": "n"}), key, value), "bad_payload").await;
            assert_eq!(error["field"], key);
        }
        // All of it but what is the director's, with the keys that are not.
        assert_eq!(player.ask("npc.focus", json!({"npc": "n"})).await["op"], "npc.warm");
        let action = json!([{"name": "bow", "description": "bows"}]);
        player.send(&json!({"op": "say", "d": with(say("n", "t"), "actions", action)})).await;
        player.until("turn.done").await;
        player.send(&json!({"op": "playback", "d": {"turn": "t", "heard_offset": 1}})).await;
        assert_eq!(player.ask("cancel", json!({"turn": "t"})).await["op"], "turn.cancelled");
        assert_eq!(player.ask("npc.leave", json!({"npc": "n"})).await["op"], "npc.left");
    }
}

#[tokio::test]
async fn what_is_the_directors_is_forbidden_to_play() {
    let issuer = Issuer::new();
    for encoding in BOTH {
        let server = issuer.server(&[]).await;
        let mut player = meet(&server, encoding, &issuer, "mina", "n").await;
        let error = player.refused("npc.join", json!({"npc": "new", "archetype": "lich"}), "forbidden").await;
        assert_eq!((&error["field"], &error["npc"]), (&json!("archetype"), &json!("new")));
        player.refused("npc.join", json!({"npc": "new"}), "unknown_npc").await;
        for (key, value) in [
            ("mix", json!({"dialogue_style": 1.0})),
            ("mix", json!({})),
            ("context", json!("rain")),
            ("context", json!("")),
            ("audience", json!(["lucy"])),
            ("audience", json!([])),
        ] {
            let error = player.refused("say", with(say("n", "t"), key, value), "forbidden").await;
            assert_eq!((&error["field"], &error["temporary"]), (&json!(key), &json!(false)));
            assert_eq!((&error["turn"], &error["npc"]), (&json!("t"), &json!("n")));
        }
        let gift = json!({"npc": "n", "event": "e", "kind": "gift", "text": "A rose."});
        let error = player.refused("event", gift.clone(), "forbidden").await;
        assert_eq!(error["npc"], "n");
        // Nothing was begun, and null is no key.
        player.refused("cancel", json!({"turn": "t"}), "unknown_turn").await;
        player.send(&json!({"op": "say", "d": with(say("n", "t"), "mix", Value::Null)})).await;
        player.until("turn.done").await;
        // The director may.
        let mut director = open(&server, encoding, &issuer, "director", "director").await;
        director.ask("npc.join", json!({"npc": "n"})).await;
        assert_eq!(director.ask("event", gift).await["op"], "event.recorded");
        let d = with(with(say("n", "t"), "context", json!("rain")), "audience", json!(["mina"]));
        director.send(&json!({"op": "say", "d": with(d, "mix", json!({}))})).await;
        director.until("turn.done").await;
    }
}

#[tokio::test]
async fn the_server_may_grant_play_more() {
    let issuer = Issuer::new();
    for encoding in BOTH {
        let server = issuer.server(&["auth.play_grants=create,context,event,action"]).await;
        let mut player = open(&server, encoding, &issuer, "mina", "play").await;
        let joined = player.ask("npc.join", json!({"npc": "n", "archetype": "lich"})).await;
        assert_eq!(joined["op"], "npc.joined", "{joined}");
        player.refused("say", with(say("n", "t"), "mix", json!({})), "forbidden").await;
        player.refused("say", with(say("n", "t"), "audience", json!([])), "forbidden").await;
        player.send(&json!({"op": "say", "d": with(say("n", "t"), "context", json!("rain"))})).await;
        player.until("turn.done").await;
        let gift = json!({"npc": "n", "event": "e", "kind": "gift", "text": "A rose."});
        assert_eq!(player.ask("event", gift).await["op"], "event.recorded");
        let done = player.ask("action.result", json!({"turn": "t", "action": "a", "ok": true})).await;
        assert_eq!(done["op"], "event.recorded");
    }
}

/// Every frame that carries an id, with the ids of somebody else.
#[tokio::test]
async fn nobody_reaches_another_players_session_or_turn() {
    let issuer = Issuer::new();
    for encoding in BOTH {
        let server = issuer.server(&[]).await;
        let mut mina = meet(&server, encoding, &issuer, "mina", "n").await;
        let mut thief = open(&server, encoding, &issuer, "thief", "play").await;
        let d = with(say("n", "t"), "generation", json!({"max_tokens": 60}));
        mina.send(&json!({"op": "say", "d": d})).await;
        let mut heard = mina.until("dialogue.delta").await;

        // The turn, while it runs: nobody's but its player's.
        for _ in 0..2 {
            thief.refused("cancel", json!({"turn": "t"}), "unknown_turn").await;
            thief.refused("cancel", json!({"turn": "t", "heard_offset": 0}), "unknown_turn").await;
            thief.refused("playback", json!({"turn": "t", "heard_offset": 0}), "unknown_turn").await;
            // In the same place, too.
            thief.ask("npc.join", json!({"npc": "n"})).await;
        }
        // An NPC that somebody else has joined is not left for them.
        assert_eq!(thief.ask("npc.leave", json!({"npc": "n"})).await["op"], "npc.left");
        thief.refused("npc.leave", json!({"npc": "n"}), "unknown_npc").await;
        thief.refused("npc.focus", json!({"npc": "n"}), "unknown_npc").await;
        thief.refused("say", say("n", "t"), "unknown_npc").await;
        heard.extend(mina.until("turn.done").await);
        let done = heard.last().unwrap()["d"].clone();
        assert_ne!(done["reason"], "cancelled", "{done}");
        let text: String = heard
            .iter()
            .filter_map(|frame| frame["d"]["text"].as_str().filter(|_| frame["op"] == "dialogue.delta"))
            .collect();
        assert_eq!(done["text"], json!(text));

        // And after its end.
        thief.refused("cancel", json!({"turn": "t", "heard_offset": 0}), "unknown_turn").await;
        thief.refused("playback", json!({"turn": "t", "heard_offset": 0}), "unknown_turn").await;
        // The same id is another turn of another player, not a way to read the first.
        thief.ask("npc.join", json!({"npc": "n"})).await;
        thief.send(&json!({"op": "say", "d": say("n", "t")})).await;
        let own = thief.until("turn.done").await;
        assert!(own.iter().all(|frame| frame["d"]["player"] == "thief"), "{own:?}");
        assert_eq!(own[0]["op"], "turn.started", "{own:?}");
        mina.send(&json!({"op": "say", "d": say("n", "t")})).await;
        assert_eq!(mina.recv().await["d"], done, "her own is what it was");
        thief.refused("action.result", json!({"turn": "t", "action": "a", "ok": true}), "forbidden").await;

        // The session: neither with its id alone, nor with a token that was made for another one.
        let (hers, own) = (mina.ready["d"].clone(), thief.ready["d"].clone());
        for (session, token) in [
            (&hers["session"], &own["resume_token"]),
            (&hers["session"], &hers["session"]),
            (&hers["session"], &json!("")),
            (&hers["session"], &json!(issuer.token("mina", "play"))),
            (&own["session"], &json!("guess")),
            (&json!("guess"), &hers["resume_token"]),
        ] {
            let mut other = server.connect(encoding).await;
            let d = json!({"session": session, "resume_token": token, "epoch": hers["epoch"], "seq": 1});
            let failed = other.ask("resume", d).await;
            assert_eq!((&failed["op"], &failed["d"]["recovered"]), (&json!("resume_failed"), &json!(false)));
            let reason = failed["d"]["reason"].as_str().unwrap();
            assert!(["bad_token", "unknown_session"].contains(&reason), "{failed}");
            // Nothing of the session came before or comes behind it.
            assert_eq!(other.identify(&issuer.token("other", "play")).await["s"], 1);
        }
        // The token: neither on the other's session nor over it.
        let d = json!({"token": issuer.token("mina", "play")});
        assert_eq!(thief.refused("auth", d, "forbidden").await["field"], "token");
        let d = json!({"token": issuer.token("mina", "play"), "client": {"name": "x", "version": "1"}});
        thief.refused("identify", d, "bad_payload").await;
        mina.is_alive().await;
        thief.is_alive().await;
    }
}

#[tokio::test]
async fn turns_of_others_are_not_heard_without_being_asked() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    let mut mina = meet(&server, Encoding::Json, &issuer, "mina", "n").await;
    let mut thief = open(&server, Encoding::Msgpack, &issuer, "thief", "play").await;
    thief.ask("npc.join", json!({"npc": "n"})).await;
    mina.send(&json!({"op": "say", "d": say("n", "t")})).await;
    mina.until("turn.done").await;
    // The next frame is the answer to this one, and none of the turn's.
    thief.is_alive().await;
    assert_eq!(thief.last_s, 2);
}

#[tokio::test]
async fn an_id_stands_for_one_turn_with_an_npc() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let player = format!("p-{}", encoding.name());
        let mut client = server.joined(encoding, &player, "one").await;
        client.ask("npc.join", json!({"npc": "two", "archetype": "vampire"})).await;
        let long = |npc: &str| with(say(npc, "t"), "generation", json!({"max_tokens": 60}));
        client.send(&json!({"op": "say", "d": long("one")})).await;
        client.until("turn.started").await;
        // While it runs, of any of the player's sessions; not with another NPC either, whose frames could not be told
        // apart.
        let mut again = server.joined(encoding, &player, "one").await;
        let error = again.refused("say", say("one", "t"), "duplicate_turn").await;
        assert_eq!((&error["turn"], &error["npc"]), (&json!("t"), &json!("one")));
        again.ask("npc.join", json!({"npc": "two", "archetype": "vampire"})).await;
        let error = again.refused("say", say("two", "t"), "duplicate_turn").await;
        assert_eq!((&error["turn"], &error["npc"]), (&json!("t"), &json!("two")));
        let done = client.until("turn.done").await.pop().unwrap();
        again.send(&json!({"op": "say", "d": say("two", "t")})).await;
        assert_eq!(again.until("turn.done").await[0]["op"], "turn.started");
        // After its end the answer is what was stored, whatever is said now, and alone.
        for client in [&mut client, &mut again] {
            let d = with(long("one"), "text", json!("Something else."));
            client.send(&json!({"op": "say", "cid": 1, "d": d})).await;
            let repeated = client.recv().await;
            assert_eq!((&repeated["op"], &repeated["cid"]), (&json!("turn.done"), &json!(1)));
            assert_eq!(repeated["d"], done["d"]);
            client.is_alive().await;
        }
    }
}
