//! A player who is erased is gone from everything, and can begin anew.

use std::path::Path;

use serde_json::json;

use crate::gateway::{Client, Gateway};

const QUICK: [&str; 2] = ["engine.script_tokens_per_second=0", "log.level=error"];

/// What anna said, and her name: nowhere else.
const SECRET: &str = "The ring lies under the third step.";
const NAME: &str = "anna-of-the-well";

/// The files of a data folder in which a text stands.
fn files_with(data: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_left_of_a_player_who_is_erased() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    let mut anna = Client::joined(&gateway.address, NAME, "lucy").await.unwrap();
    let mut ben = Client::joined(&gateway.address, "ben", "lucy").await.unwrap();
    for turn in 0..30 {
        anna.say("lucy", &format!("t{turn}"), SECRET).await.unwrap();
    }
    let event = json!({"npc": "lucy", "event": "e", "kind": "gift", "text": SECRET});
    anna.send("event", event).await.unwrap();
    anna.until("event.recorded").await.unwrap();
    let told = json!({"npc": "lucy", "turn": "b1", "text": "All of you!", "audience": [NAME, "mina"]});
    ben.send("say", told).await.unwrap();
    ben.until("turn.done").await.unwrap();
    let seen =
        json!({"npc": "lucy", "event": "e", "kind": "threat", "text": "A storm.", "witnesses": [NAME]});
    ben.send("event", seen).await.unwrap();
    ben.until("event.recorded").await.unwrap();
    assert!(!files_with(data.path(), SECRET).is_empty() && !files_with(data.path(), NAME).is_empty());

    let (status, erased) = gateway.ask("DELETE", &format!("/api/v1/players/{NAME}"));
    assert_eq!(
        (status, &erased["interactions"], &erased["mentions"]),
        (200, &json!(31), &json!(2)),
        "{erased}"
    );
    assert_eq!(files_with(data.path(), SECRET), [""; 0]);
    let items = gateway.history("lucy");
    assert_eq!(items.iter().filter(|item| item["player"] == "ben").count(), items.len());
    let named = |id: &str| items.iter().find(|item| item["turn"] == id || item["event"] == id).unwrap();
    assert_eq!(named("b1")["audience"], json!(["mina"]));
    assert_eq!(named("e")["witnesses"], json!([]));
    // The socket is closed.
    while anna.next().await.is_ok() {}
    // Again there is nothing, and that is an answer too.
    let (status, erased) = gateway.ask("DELETE", &format!("/api/v1/players/{NAME}"));
    assert_eq!((status, &erased["interactions"]), (200, &json!(0)));

    // The same name is somebody new, whose turn ids are fresh, here and after a restart.
    let mut anna = Client::joined(&gateway.address, NAME, "lucy").await.unwrap();
    let (seen, done) = anna.say("lucy", "t1", "Do you know me?").await.unwrap();
    assert!(seen.contains_key("turn.started"), "{seen:?}");
    gateway.kill();
    let gateway = Gateway::start(data.path(), &QUICK);
    let items = gateway.history("lucy");
    let own: Vec<_> = items.iter().filter(|item| item["player"] == NAME).collect();
    assert_eq!((own.len(), &own[0]["id"]), (1, &done["interaction"]));
}

#[tokio::test]
async fn a_line_that_runs_is_not_stored_after_its_player_was_erased() {
    let data = tempfile::tempdir().unwrap();
    let slow = ["engine.script_tokens_per_second=5", "log.level=error"];
    let gateway = Gateway::start(data.path(), &slow);
    let mut clients = Vec::new();
    for session in 0..4 {
        let npc = format!("n{session}");
        let mut client = Client::joined(&gateway.address, NAME, &npc).await.unwrap();
        client.send("say", json!({"npc": npc, "turn": npc, "text": SECRET})).await.unwrap();
        client.until("dialogue.delta").await.unwrap();
        clients.push(client);
    }
    let (status, erased) = gateway.ask("DELETE", &format!("/api/v1/players/{NAME}"));
    assert_eq!(status, 200, "{erased}");
    for client in &mut clients {
        while client.next().await.is_ok() {}
    }
    gateway.stop();
    assert_eq!(files_with(data.path(), SECRET), [""; 0]);
    let gateway = Gateway::start(data.path(), &slow);
    for session in 0..4 {
        assert!(gateway.history(&format!("n{session}")).is_empty());
    }
}
