//! NPCs are there after a restart, and what happened to them is recorded once.

use serde_json::{Value, json};

use crate::gateway::{Client, Gateway};

const QUICK: [&str; 2] = ["engine.script_tokens_per_second=0", "log.level=error"];

/// The `error` that answers a frame.
async fn refused(client: &mut Client, op: &str, payload: Value) -> Value {
    client.send(op, payload).await.unwrap();
    let (op, error) = client.next().await.unwrap();
    assert_eq!(op, "error", "{error}");
    error
}

/// The id under which something was recorded.
async fn recorded(client: &mut Client, op: &str, payload: Value) -> Value {
    client.send(op, payload).await.unwrap();
    let answer = client.until("event.recorded").await.unwrap();
    answer["interaction"].clone()
}

#[tokio::test]
async fn an_npc_is_who_it_was_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    // One at a time in memory, so that the others come from the store.
    let sets = [&QUICK[..], &["npc.max_npcs=1"]].concat();
    let gateway = Gateway::start(data.path(), &sets);
    let mut client = Client::identified(&gateway.address, "anna").await.unwrap();
    let define = json!({"npc": "lucy", "archetype": "vampire", "name": "Lucy", "seed": 7,
                        "personality": {"neo_modesty": 0.5}});
    client.send("npc.join", define.clone()).await.unwrap();
    let lucy = client.until("npc.joined").await.unwrap();
    assert_eq!((&lucy["npc"]["name"], &lucy["npc"]["seed"]), (&json!("Lucy"), &json!(7)));
    // At once: it is on the disk before it is told.
    gateway.kill();

    let gateway = Gateway::start(data.path(), &sets);
    assert_eq!(gateway.get("/api/v1/npcs/lucy").1["npc"], lucy["npc"]);
    assert_eq!(gateway.get("/api/v1/npcs/nobody").0, 404);
    let mut client = Client::identified(&gateway.address, "ben").await.unwrap();
    for (key, other) in [
        ("archetype", json!("lich")),
        ("name", json!("Mina")),
        ("seed", json!(8)),
        ("personality", json!({"neo_modesty": 0.25})),
    ] {
        let mut differs = define.clone();
        differs[key] = other;
        let error = refused(&mut client, "npc.join", differs).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("bad_payload"), &json!(key)));
    }
    for join in [json!({"npc": "lucy"}), define] {
        client.send("npc.join", join).await.unwrap();
        assert_eq!(client.until("npc.joined").await.unwrap()["npc"], lucy["npc"]);
    }
    // It makes room for others, and comes back.
    let crowded = refused(&mut client, "npc.join", json!({"npc": "mina", "archetype": "lich"})).await;
    assert_eq!(crowded["code"], "overloaded");
    client.send("npc.leave", json!({"npc": "lucy"})).await.unwrap();
    client.until("npc.left").await.unwrap();
    for npc in ["mina", "lucy", "mina"] {
        client
            .send(
                "npc.join",
                json!({"npc": npc, "archetype": if npc == "mina" { "lich" } else { "vampire" }}),
            )
            .await
            .unwrap();
        assert_eq!(client.until("npc.joined").await.unwrap()["npc"]["id"], npc);
        client.send("npc.leave", json!({"npc": npc})).await.unwrap();
        client.until("npc.left").await.unwrap();
    }
}

#[tokio::test]
async fn frames_behind_a_join_find_it_done() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    let mut client = Client::identified(&gateway.address, "anna").await.unwrap();
    for npc in 0..20 {
        let npc = format!("n{npc}");
        client.send("npc.join", json!({"npc": npc, "archetype": "ghoul"})).await.unwrap();
        client.send("say", json!({"npc": npc, "turn": npc, "text": "Hello!"})).await.unwrap();
        assert_eq!(client.until("npc.joined").await.unwrap()["npc"]["id"], npc);
        assert_eq!(client.until("turn.done").await.unwrap()["turn"], npc);
    }
}

#[tokio::test]
async fn events_and_outcomes_are_recorded_once() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let event = json!({"npc": "lucy", "event": "e1", "kind": "injury", "text": "A stone hit her cheek.",
                       "importance": 0.75, "witnesses": ["ben", "mina"]});
    let injury = recorded(&mut client, "event", event.clone()).await;
    let (_, done) = client.say("lucy", "t1", "Take this rose.").await.unwrap();
    let outcome = json!({"turn": "t1", "action": "a1", "ok": false, "reason": "her hands are full"});
    let action = recorded(&mut client, "action.result", outcome.clone()).await;
    // One id of a turn and of an event is two things.
    let twin =
        recorded(&mut client, "event", json!({"npc": "lucy", "event": "t1", "kind": "custom", "text": "?"}))
            .await;
    assert!(twin != done["interaction"]);
    // The first one stays.
    let otherwise = json!({"turn": "t1", "action": "a1", "ok": true});
    assert_eq!(recorded(&mut client, "action.result", otherwise).await, action);
    // Somebody else's event of the same name is another one.
    let mut ben = Client::identified(&gateway.address, "ben").await.unwrap();
    assert!(recorded(&mut ben, "event", event.clone()).await != injury);
    gateway.kill();

    let gateway = Gateway::start(data.path(), &QUICK);
    let mut client = Client::identified(&gateway.address, "anna").await.unwrap();
    // The NPC need not be joined, nor be in memory.
    assert_eq!(recorded(&mut client, "event", event.clone()).await, injury);
    let items = gateway.history("lucy");
    assert_eq!(items.len(), 5);
    let item = |id: &Value| items.iter().find(|item| item["id"] == *id).unwrap();
    let stored = item(&injury);
    assert_eq!(
        (&stored["kind"], &stored["event"], &stored["text"]),
        (&json!("injury"), &json!("e1"), &event["text"])
    );
    assert_eq!((&stored["importance"], &stored["witnesses"]), (&json!(0.75), &event["witnesses"]));
    assert_eq!((&stored["player"], &stored["turn"]), (&json!("anna"), &Value::Null));
    let stored = item(&action);
    assert_eq!(
        (&stored["kind"], &stored["turn"], &stored["action"]),
        (&json!("action"), &json!("t1"), &json!("a1"))
    );
    assert_eq!((&stored["ok"], &stored["reason"]), (&json!(false), &outcome["reason"]));
    assert_eq!(item(&twin)["event_kind"], "custom");

    let unknown =
        refused(&mut client, "event", json!({"npc": "nobody", "event": "e", "kind": "gift", "text": "?"}))
            .await;
    assert_eq!((&unknown["code"], &unknown["npc"]), (&json!("unknown_npc"), &json!("nobody")));
    let unknown =
        refused(&mut client, "action.result", json!({"turn": "t9", "action": "a", "ok": true})).await;
    assert_eq!((&unknown["code"], &unknown["turn"]), (&json!("unknown_turn"), &json!("t9")));
}
