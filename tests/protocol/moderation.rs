//! What comes in and what goes out is looked at: by a pack's lists, and by a service over HTTP.

use std::sync::Arc;

use axum::routing::post;
use axum::{Json, Router};
use npc_gateway::metrics::{Blocker, ModerationMetrics, Side, Verdict};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::client::{Client, Encoding};
use crate::server::TestServer;
use crate::tracks::script;

const LINES: &str = "The sun is a lie. Drink this silver bullet, my friend. Good night.";

/// A pack with lists of what is blocked.
fn pack(blocked: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let imp = folder.path().join("imp");
    std::fs::create_dir(&imp).unwrap();
    let text = format!(
        r#"
        name = "imp"
        title = "Imp"
        names = ["Pip"]
        persona = "You are {{name}}."
        overload_lines = ["Hee."]
        {blocked}
        "#
    );
    std::fs::write(imp.join("pack.toml"), text).unwrap();
    let setting = format!("packs.path={}", folder.path().display());
    (folder, setting)
}

/// A service that refuses what holds a word; it notes what it is asked.
async fn service(refused: &'static str) -> (String, Arc<Mutex<Vec<Value>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let answer = move |Json(checked): Json<Value>| async move {
        let allow = !checked["text"].as_str().unwrap().contains(refused);
        notes.lock().push(checked);
        Json(json!({ "allow": allow }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/check", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/check", post(answer))).await });
    (format!("moderation.url={url}"), asked)
}

/// Says something; returns the text that came, and the turn's end.
async fn said(client: &mut Client, turn: &str, text: &str) -> (String, Value) {
    client.send(&json!({"op": "say", "d": {"npc": "n", "turn": turn, "text": text}})).await;
    let frames = client.until("turn.done").await;
    let deltas = frames.iter().filter(|frame| frame["op"] == "dialogue.delta");
    let text = deltas.map(|delta| delta["d"]["text"].as_str().unwrap()).collect();
    (text, frames.last().unwrap()["d"].clone())
}

fn moderation(server: &TestServer) -> &ModerationMetrics {
    &server.gateway.turns().metrics().moderation
}

async fn joined(server: &TestServer, archetype: &str) -> Client {
    let mut client = server.identified(Encoding::Json, "anna").await;
    client.ask("npc.join", json!({"npc": "n", "archetype": archetype})).await;
    client
}

#[tokio::test]
async fn a_packs_words_are_neither_answered_nor_said() {
    let (_file, lines) = script(LINES);
    let (_folder, packs) = pack("[blocked]\ninput = [\"Crown Jewels\"]\noutput = [\"silver bullet\"]");
    let server = TestServer::scripted(&[&lines, &packs, "turn.tracks=[\"emotion\"]"]).await;
    let mut client = joined(&server, "imp").await;
    let (text, done) = said(&mut client, "t1", "Where are the crown... JEWELS?").await;
    assert_eq!((text.as_str(), &done["reason"], &done["text"]), ("", &json!("blocked"), &json!("")));
    assert!(done["interaction"].is_string(), "it is recorded: {done}");
    let (text, done) = said(&mut client, "t2", "Where is the crown?").await;
    assert_eq!((text.as_str(), &done["reason"]), ("The sun is a lie. Drink this", &json!("blocked")));
    assert_eq!(done["text"], text);
    for side in [Side::Input, Side::Output] {
        assert_eq!(moderation(&server).blocked.of(Blocker::Phrases, side).get(), 1);
    }
}

#[tokio::test]
async fn a_service_is_asked_about_lines_and_sentences() {
    let (_file, lines) = script(LINES);
    let (url, asked) = service("bullet").await;
    let server = TestServer::scripted(&[&lines, &url]).await;
    let mut client = joined(&server, "vampire").await;
    let (text, done) = said(&mut client, "t1", "Who shot the bullet?").await;
    assert_eq!((text.as_str(), &done["reason"]), ("", &json!("blocked")));
    let (text, done) = said(&mut client, "t2", "Who are you?").await;
    assert_eq!((text.as_str(), &done["reason"]), ("The sun is a lie.", &json!("blocked")));
    let counted = moderation(&server);
    for side in [Side::Input, Side::Output] {
        assert_eq!(counted.requests.of(side, Verdict::Allowed).get(), 1);
        assert_eq!(counted.requests.of(side, Verdict::Blocked).get(), 1);
        assert_eq!(counted.blocked.of(Blocker::Service, side).get(), 1);
    }
    assert_eq!(counted.request.count(), 4);
    let asked = asked.lock();
    let texts: Vec<_> = asked
        .iter()
        .map(|checked| (checked["direction"].as_str().unwrap(), checked["text"].as_str().unwrap().trim()))
        .collect();
    assert_eq!(
        texts,
        [
            ("input", "Who shot the bullet?"),
            ("input", "Who are you?"),
            ("output", "The sun is a lie."),
            ("output", "Drink this silver bullet, my friend."),
        ]
    );
    let first = &asked[0];
    let named = (&first["npc"], &first["player"], &first["turn"], &first["archetype"]);
    assert_eq!(named, (&json!("n"), &json!("anna"), &json!("t1"), &json!("vampire")));
}

#[tokio::test]
async fn every_sentence_passes_that_is_allowed() {
    let (_file, lines) = script(LINES);
    let (url, asked) = service("nothing of this").await;
    let server = TestServer::scripted(&[&lines, &url, "moderation.checks=[\"output\"]"]).await;
    let mut client = joined(&server, "vampire").await;
    let (text, done) = said(&mut client, "t1", "Who are you?").await;
    assert_eq!((text.as_str(), &done["reason"]), (LINES, &json!("stop")));
    assert_eq!(asked.lock().len(), 3);
}

#[tokio::test]
async fn a_service_that_does_not_answer_lets_nothing_through_unless_it_is_to() {
    let (_file, lines) = script(LINES);
    // Nobody listens there.
    let url = "moderation.url=http://127.0.0.1:9/check";
    for (on_failure, reason) in [("closed", "blocked"), ("open", "stop")] {
        let setting = format!("moderation.on_failure={on_failure}");
        let server = TestServer::scripted(&[&lines, url, &setting]).await;
        let mut client = joined(&server, "vampire").await;
        let (text, done) = said(&mut client, "t1", "Who are you?").await;
        assert_eq!(done["reason"], reason);
        assert_eq!(text.is_empty(), reason == "blocked", "{text}");
        let counted = moderation(&server);
        assert!(counted.requests.of(Side::Input, Verdict::Failed).get() == 1);
        let blocked = u64::from(reason == "blocked");
        assert_eq!(counted.blocked.of(Blocker::Service, Side::Input).get(), blocked);
    }
}
