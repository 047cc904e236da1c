//! A disk that is full, a database that somebody holds, a folder that cannot be used.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};

use crate::gateway::{Client, Gateway, output, scripted};

const QUICK: [&str; 2] = ["engine.script_tokens_per_second=0", "log.level=off"];

/// Waits until `readyz` says whether the journal can be written.
fn until_journal_is(gateway: &Gateway, writable: bool) {
    gateway.until(|gateway| {
        let (status, state) = gateway.get("/readyz");
        let wanted = status == if writable { 200 } else { 503 };
        if wanted && state["journal"] == writable { Ok(()) } else { Err(state) }
    });
}

fn is_temporary(error: &Value) {
    assert_eq!((&error["code"], &error["temporary"]), (&json!("storage_failed"), &json!(true)), "{error}");
    assert!(error["retry_after_ms"].is_u64(), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_turns_and_loses_none() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &[QUICK.as_slice(), &["history.max_mb=1"]].concat());
    until_journal_is(&gateway, true);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let long = "why ".repeat(490);
    let mut told = Vec::new();
    let refused = loop {
        let turn = format!("t{}", told.len());
        client.send("say", json!({"npc": "lucy", "turn": turn, "text": long})).await.unwrap();
        let mut error = None;
        let done = loop {
            match client.next().await.unwrap() {
                (op, payload) if op == "error" => error = Some(payload),
                (op, payload) if op == "turn.done" => break payload,
                _ => {}
            }
        };
        let Some(error) = error else {
            told.push(done);
            assert!(told.len() < 2000, "it does not fill");
            continue;
        };
        is_temporary(&error);
        assert_eq!((&error["turn"], &error["npc"]), (&json!(turn), &json!("lucy")));
        assert_eq!((&done["reason"], done.get("interaction")), (&json!("error"), None));
        break turn;
    };
    assert!(told.len() > 20);
    until_journal_is(&gateway, false);
    // From now on lines are refused before anything is said.
    for turn in [refused.as_str(), "another"] {
        client.send("say", json!({"npc": "lucy", "turn": turn, "text": "Hi"})).await.unwrap();
        let (op, error) = client.next().await.unwrap();
        assert_eq!(op, "error");
        is_temporary(&error);
    }
    // What is stored is known all the same.
    let (_, again) = client.say("lucy", "t0", &long).await.unwrap();
    assert_eq!(again, told[0]);
    gateway.stop();

    let gateway = Gateway::start(data.path(), &QUICK);
    let stored: Vec<_> = gateway.history("lucy").iter().rev().map(|item| item["id"].clone()).collect();
    let told: Vec<_> = told.iter().map(|done| done["interaction"].clone()).collect();
    assert_eq!(stored, told, "what was acknowledged, and nothing else");
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    let (_, done) = client.say("lucy", &refused, "Hi").await.unwrap();
    assert!(done["interaction"].is_string(), "an id that was refused may be used again: {done}");
}

#[tokio::test]
async fn a_journal_that_can_be_written_again_is_used_again() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.say("lucy", "t1", "Hi").await.unwrap();
    let path = data.path().join("journal.sqlite");
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let (seen, done) = client.say("lucy", "t2", "Are you there?").await.unwrap();
    assert_eq!(
        (seen.get("error"), &done["reason"], done.get("interaction")),
        (Some(&1), &json!("error"), None)
    );
    until_journal_is(&gateway, false);
    other.batch_execute("ROLLBACK").unwrap();
    until_journal_is(&gateway, true);
    let (_, done) = client.say("lucy", "t2", "Are you there?").await.unwrap();
    assert_eq!(done["reason"], "stop");
    let turns: Vec<_> = gateway.history("lucy").iter().map(|item| item["turn"].clone()).collect();
    assert_eq!(turns, ["t2", "t1"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let refused = |data: &Path| {
        let output = output(&mut scripted(data, &[]));
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    // Nobody can make a folder there, whatever their rights.
    let said = refused(Path::new("/dev/null/data"));
    assert!(said.contains("setting server.data: /dev/null/data"), "{said}");
    let data = tempfile::tempdir().unwrap();
    let _gateway = Gateway::start(data.path(), &QUICK);
    let said = refused(data.path());
    assert!(said.contains("setting server.data") && said.contains("is in use by another server"), "{said}");
}

#[test]
fn a_history_is_asked_for_in_good_order() {
    let data = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(data.path(), &QUICK);
    assert_eq!(gateway.get("/api/v1/npcs/nobody/history"), (200, json!({"items": []})));
    for (query, message) in [
        ("limit=0", "limit is \"0\", but must be a number, 1 to 500"),
        ("limit=many", "limit is \"many\", but must be a number, 1 to 500"),
        ("before=yesterday", "before must be the id of an item"),
    ] {
        let answer = gateway.get(&format!("/api/v1/npcs/nobody/history?{query}"));
        assert_eq!(answer, (400, json!({"error": message})));
    }
    assert_eq!(gateway.get("/api/v1/npcs").0, 404);
}
