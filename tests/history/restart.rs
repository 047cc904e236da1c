//! A conversation goes on after a restart, with what was heard.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{Client, Gateway, scripted};

const SLOW: [&str; 2] = ["engine.script_tokens_per_second=20", "log.level=error"];

/// The newest item of an NPC's history, once it is as wanted.
fn newest(gateway: &Gateway, npc: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    gateway.until(|gateway| {
        let item = gateway.history(npc).first().cloned().unwrap_or_default();
        if wanted(&item) { Ok(item) } else { Err(item) }
    })
}

fn chars(text: &Value, count: usize) -> String {
    text.as_str().unwrap().chars().take(count).collect()
}

#[tokio::test]
async fn what_was_heard_later_is_in_the_record() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &["engine.script_tokens_per_second=0", "log.level=error"]);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, heard) = client.say("lucy", "t1", "Who are you?").await.unwrap();
    let item = newest(&gateway, "lucy", |item| item["turn"] == "t1");
    assert_eq!((&item["id"], &item["heard"]), (&heard["interaction"], &heard["text"]));
    assert_eq!((&item["text"], &item["kind"]), (&json!("Who are you?"), &json!("dialogue")));

    client.send("playback", json!({"turn": "t1", "heard_offset": 3})).await.unwrap();
    client.send("playback", json!({"turn": "t1", "heard_offset": 5})).await.unwrap();
    client.send("playback", json!({"turn": "t1", "heard_offset": 4})).await.unwrap();
    let five = chars(&heard["text"], 5);
    let item = newest(&gateway, "lucy", |item| item["heard"] == five.as_str());
    assert_eq!(item["said"], heard["text"], "what was said stays");

    let (_, cut) = client.say("lucy", "t2", "And then?").await.unwrap();
    client.send("cancel", json!({"turn": "t2", "heard_offset": 4})).await.unwrap();
    client.until("turn.cancelled").await.unwrap();
    let four = chars(&cut["text"], 4);
    newest(&gateway, "lucy", |item| item["said"] == four.as_str() && item["heard"] == four.as_str());
    gateway.stop();

    let gateway = Gateway::start(data.path(), &SLOW);
    let items = gateway.history("lucy");
    assert_eq!((&items[0]["heard"], &items[1]["heard"]), (&json!(four), &json!(five)));
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (seen, again) = client.say("lucy", "t2", "And then?").await.unwrap();
    assert_eq!(seen, BTreeMap::from([("turn.done".to_owned(), 1)]));
    assert_eq!((&again["text"], &again["interaction"]), (&json!(four), &cut["interaction"]));
}

#[tokio::test]
async fn a_cancelled_line_keeps_what_was_heard() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &SLOW);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.send("say", json!({"npc": "lucy", "turn": "t1", "text": "Tell me all."})).await.unwrap();
    let first = client.until("dialogue.delta").await.unwrap();
    client.send("cancel", json!({"turn": "t1", "heard_offset": 2})).await.unwrap();
    let done = client.until("turn.done").await.unwrap();
    assert_eq!((&done["reason"], &done["text"]), (&json!("cancelled"), &json!(chars(&first["text"], 2))));
    // At once: it is durable before it is told.
    gateway.kill();
    let gateway = Gateway::start(data.path(), &SLOW);
    let items = gateway.history("lucy");
    assert_eq!(items.len(), 1);
    assert_eq!((&items[0]["id"], &items[0]["reason"]), (&done["interaction"], &json!("cancelled")));
    assert_eq!((&items[0]["said"], &items[0]["heard"]), (&done["text"], &done["text"]));
}

#[tokio::test]
async fn a_conversation_goes_on_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    let model = std::env::var("NPC_GATEWAY_TEST_MODEL").expect("run the tests with `cargo xtask test`");
    let start = || {
        let mut command: Command =
            scripted(data.path(), &["turn.max_tokens=8", "turn.queue_timeout_ms=600000"]);
        command.args(["--set", "engine.kind=model", "--set", "engine.rows=2", "--model", &model]);
        Gateway::spawn(command)
    };
    let warm = async |client: &mut Client| {
        client.send("npc.focus", json!({"npc": "lucy"})).await.unwrap();
        client.until("npc.warm").await.unwrap()["tokens"].as_u64().unwrap()
    };
    let gateway = start();
    let mut anna = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let stranger = warm(&mut anna).await;
    for turn in ["t1", "t2"] {
        let (_, done) = anna.say("lucy", turn, "I lost my silver ring by the well.").await.unwrap();
        assert!(done["interaction"].is_string(), "{done}");
    }
    let friend = warm(&mut anna).await;
    assert!(friend > stranger, "{friend} {stranger}");
    gateway.stop();
    let gateway = start();
    let mut anna = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    assert_eq!(warm(&mut anna).await, friend, "the prompt is the same again");
    let mut ben = Client::joined(&gateway.address, "ben", "lucy").await.unwrap();
    assert_eq!(warm(&mut ben).await, stranger, "and nobody else's");
}
